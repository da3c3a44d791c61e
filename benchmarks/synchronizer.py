# SPDX-License-Identifier: Apache-2.0
"""Frames and time per message: our synchroniser against a search of all combinations.

    python -m benchmarks.synchronizer [--seconds 30] [--seeds 5]

Six cameras of 12 Hz and five radars of 13 Hz at free phases, stamps shaken by +-20 ms, up to
30 ms of latency. `slots` is ours; `combinations` is the rule of ROS's ApproximateTimeSynchronizer
written plainly; `message_filters` is the real one, where it can be imported. All see the same
messages in the same run. Frames are counted of those that the cameras could give; the goals hold
those with every live sensor in them. Times are CPU times of this process; beyond `--give-up` s
a run of `combinations` or `message_filters` ends and says so.
"""

import argparse
import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from benchmarks.goals import judged
from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
from imkd_core.errors import ConfigError
from imkd_core.runtime.slots import Slot, SyncSettings
from imkd_core.runtime.synchronizer import SlotSynchronizer
from imkd_ros.bridge.message_filters_sync import MessageFiltersSynchronizer
from tests.core.runtime.streams import CAMERAS, RADARS, Reading, rig_stream

CAMERA_HZ = 12.0

#: Name -> what befalls the rig; `tolerance_ms` where it is not the default of 120.
CASES: dict[str, dict[str, Any]] = {
    "all alive": {},
    "one camera dead": {"dead": ("CAM_2",)},
    "one radar dead": {"dead": ("RADAR_1",)},
    "two cameras lose half": {"loss": {"CAM_1": 0.5, "CAM_4": 0.5}},
    "and late by up to 150 ms, tolerance 300 ms": {
        "loss": {"CAM_1": 0.5, "CAM_4": 0.5},
        "latency_ms": 150.0,
        "tolerance_ms": 300,
    },
}


OURS = "slots"

#: Figure -> unit, and what it is called.
UNITS = {"frames": "%", "complete": "%", "mean_us": "us", "p99_us": "us", "worst_us": "us"}
LABELS = {
    "frames": "frames given",
    "complete": "frames with every live sensor",
    "mean_us": "mean of a message",
    "p99_us": "p99 of a message",
    "worst_us": "worst message",
}


class Synchronizer(Protocol):
    """What is measured."""

    @property
    def next_deadline_ns(self) -> int | None:
        """When `poll` is due."""

    def push(self, sensor: str, stamp_ns: int, reading: Any, now_ns: int) -> list[Slot]:
        """Take in one reading."""

    def poll(self, now_ns: int) -> list[Slot]:
        """Let time pass."""


class Combinations:
    """Walk all combinations of the waiting readings; take the first whose stamps fit together."""

    next_deadline_ns: int | None = None

    def __init__(self, settings: SyncSettings) -> None:
        self._slop_ns = settings.tolerance_ns
        self._keep = settings.queue
        self._queues: dict[str, dict[int, Any]] = {
            name: {} for name in (*settings.cameras, *settings.radars)
        }

    def poll(self, now_ns: int) -> list[Slot]:
        """Nothing is due by time alone."""
        del now_ns
        return []

    def push(self, sensor: str, stamp_ns: int, reading: Any, now_ns: int) -> list[Slot]:
        """Take in one reading."""
        del now_ns
        queue = self._queues[sensor]
        queue[stamp_ns] = reading
        while len(queue) > self._keep:
            del queue[min(queue)]
        candidates = []
        for name, other in self._queues.items():
            near = [stamp_ns] if name == sensor else [s for s in other if self._fits(s, stamp_ns)]
            candidates.append(sorted(near, key=lambda s: abs(s - stamp_ns)))
        for stamps_ns in itertools.product(*candidates):
            if max(stamps_ns) - min(stamps_ns) < self._slop_ns:
                return [self._take(stamps_ns)]
        return []

    def _fits(self, first_ns: int, second_ns: int) -> bool:
        return abs(first_ns - second_ns) <= self._slop_ns

    def _take(self, stamps_ns: tuple[int, ...]) -> Slot:
        chosen = dict(zip(self._queues, stamps_ns, strict=True))
        readings = {name: self._queues[name].pop(stamp) for name, stamp in chosen.items()}
        return Slot(stamp_ns=max(stamps_ns), readings=readings, missing={}, stamps_ns=chosen)


def run(
    sync: Synchronizer, stream: list[Reading], give_up_s: float
) -> tuple[list[Slot], list[float], bool]:
    """Return slots, seconds of each message, and whether all messages were taken in."""
    slots: list[Slot] = []
    spent_s: list[float] = []
    for sensor_reading in stream:
        begin = time.process_time_ns()
        while (due_ns := sync.next_deadline_ns) is not None and due_ns < sensor_reading.arrival_ns:
            slots += sync.poll(due_ns)
        slots += sync.push(
            sensor_reading.sensor, sensor_reading.stamp_ns, None, sensor_reading.arrival_ns
        )
        spent_s.append((time.process_time_ns() - begin) * 1e-9)
        if len(spent_s) % 100 == 0 and sum(spent_s) > give_up_s:
            return slots, spent_s, False
    return slots, spent_s, True


def measure_one(
    make: Callable[[SyncSettings], Synchronizer],
    settings: SyncSettings,
    case: dict[str, Any],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return the figures of one synchroniser in one case, over all seeds."""
    alive = set(CAMERAS + RADARS) - set(case.get("dead", ()))
    frames, complete, possible, spent_s, finished = 0, 0, 0.0, [], True
    for seed in range(options.seeds):
        stream = rig_stream(seed, options.seconds, CAMERA_HZ, **case)
        slots, times_s, is_whole = run(make(settings), stream, options.give_up)
        finished &= is_whole
        frames += len(slots)
        complete += sum(alive <= set(slot.readings) for slot in slots)
        possible += CAMERA_HZ * options.seconds * len(times_s) / len(stream)
        spent_s += times_s
    return {
        "frames": round(frames / possible, 4),
        "complete": round(complete / possible, 4),
        "mean_us": round(1e6 * statistics.fmean(spent_s), 1),
        "p99_us": round(1e6 * statistics.quantiles(spent_s, n=100)[-1], 1),
        "worst_us": round(1e6 * max(spent_s), 1),
        "finished": finished,
    }


def makers() -> dict[str, tuple[Callable[[SyncSettings], Synchronizer], int]]:
    """Return name -> how it is made and its queue; message_filters where it is installed."""
    found: dict[str, tuple[Callable[[SyncSettings], Synchronizer], int]] = {
        OURS: (SlotSynchronizer, 4),
        "combinations": (Combinations, 10),
    }
    with contextlib.suppress(ConfigError):
        MessageFiltersSynchronizer(SyncSettings(cameras=CAMERAS))
        found["message_filters"] = (MessageFiltersSynchronizer, 10)
    return found


def measure_case(name: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the figures of every synchroniser in one case."""
    given = CASES[name]
    case = {key: value for key, value in given.items() if key != "tolerance_ms"}
    tolerance_ns = given.get("tolerance_ms", 120) * 1_000_000
    found = {}
    for maker, (make, queue) in makers().items():
        settings = SyncSettings(
            cameras=CAMERAS, radars=RADARS, tolerance_ns=tolerance_ns, queue=queue
        )
        found[maker] = measure_one(make, settings, case, options)
    return found


def figures_of(case: str, found: dict[str, dict[str, Any]]) -> Iterator[Figure]:
    """Yield the figures of one case."""
    for maker, values in found.items():
        end = "" if values["finished"] else ", gave up"
        note = f"{values['mean_us'] / found[OURS]['mean_us']:.1f} times the time of {OURS}{end}"
        for key, unit in UNITS.items():
            scale = 100 if unit == "%" else 1
            value = round(values[key] * scale, 2)
            yield Figure(
                name=f"{case}: {maker}, {LABELS[key]}",
                value=value,
                unit=unit,
                note=note if maker != OURS and key == "mean_us" else "",
            )


def measure(options: argparse.Namespace) -> Report:
    """Measure all cases."""
    if options.quick:
        options.seconds, options.seeds, options.give_up = 3.0, 1, 0.5
    warned = idle_warnings()
    found = {name: measure_case(name, options) for name in CASES}
    ours = {name: values[OURS] for name, values in found.items()}
    dead = [values["complete"] for name, values in ours.items() if name.endswith("dead")]
    missing = [] if "message_filters" in makers() else ["message_filters is not installed"]
    return Report(
        name="synchronizer",
        figures=tuple(
            figure for name, values in found.items() for figure in figures_of(name, values)
        ),
        goals=(
            judged("sync_frames", 100 * ours["all alive"]["complete"]),
            judged("sync_dead", 100 * min(dead)),
            judged("sync_time", max(values["mean_us"] for values in ours.values())),
        ),
        facts={
            "seconds": options.seconds,
            "seeds": options.seeds,
            "cases": found,
            "warnings": warned + missing,
        },
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stream (default: 30)")
    parser.add_argument("--seeds", type=int, default=5, help="streams of each case (default: 5)")
    parser.add_argument(
        "--give-up", type=float, default=5.0, help="s for a baseline's stream (default: 5)"
    )


def main() -> int:
    """Measure and print."""
    return run_benchmark("synchronizer", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
