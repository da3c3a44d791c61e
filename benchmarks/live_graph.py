# SPDX-License-Identifier: Apache-2.0
"""The real graph at full rate: player, detector node and recorder on the same two cores.

    python -m benchmarks.live_graph [--seconds 10] [--repeat 6] [--model DIR] [--set NAME=VALUE]

Plays a made-up drive (six JPEG cameras of 1600 x 900 at 12 Hz, five radars at 13 Hz, TF and
odometry) through the processes that `imkd demo` starts, over the real DDS, with the student that
ships. The drive is simulated once and kept (minutes); give `--bag` to play another one.

"Last sensor to publish" is measured from outside: from the moment at which the player hands the
newest image of a frame to DDS until another process holds the frame's boxes, so both hops are in
it. "Everything but inference" is that time without the run of the session. Both are taken on the
steady clock, frame by frame.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Report, run_benchmark
from benchmarks.live_drive import DRIVES, live_bag, quick_bag
from benchmarks.live_figures import LiveRun, figures, goals, warnings
from benchmarks.machine import idle_warnings
from benchmarks.process_stats import ProcessStats, keep_to_cores, read_stats
from imkd_core.cli.proof.latency import read_stages
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError
from imkd_core.resources import bundle_folder, sensors_file
from imkd_core.runtime.bundle import Bundle, load_bundle
from imkd_core.runtime.roles import AUTO_ROLE, RUNNERS, role_for
from imkd_ros.bridge.sensors import load_sensor_set
from imkd_ros.graph.observer import GraphObserver
from imkd_ros.graph.options import GraphOptions, GraphResult
from imkd_ros.graph.sent_log import read_sent_log
from imkd_ros.supervisor import run_graph

CORES = 2

#: How often processes are looked at, seconds.
LOOK_S = 0.5

NODE = "imkd_detector"


class Watch(GraphObserver):
    """Keeps what the supervisor and /proc tell.

    Attributes:
        answers: (stamp, arrival) of each frame's boxes, nanoseconds.
        activation_s: from the request to configure to being active.
        first, last: process -> its first and its last look, with the time of the look.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, int]] = []
        self.activation_s = 0.0
        self.first: dict[str, tuple[float, ProcessStats]] = {}
        self.last: dict[str, tuple[float, ProcessStats]] = {}
        self._due_s = 0.0

    def on_active(self, seconds: float) -> None:
        """Keep it."""
        self.activation_s = seconds

    def on_answer(self, stamp_ns: int, arrived_ns: int) -> None:
        """Keep it."""
        self.answers.append((stamp_ns, arrived_ns))

    def on_poll(self, process_ids: Mapping[str, int]) -> None:
        """Look at the processes now and then."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_S
        for name, process_id in process_ids.items():
            stats = read_stats(process_id)
            if stats is not None:
                self.first.setdefault(name, (now_s, stats))
                self.last[name] = (now_s, stats)

    def cores_used(self) -> dict[str, float]:
        """Return process -> cores that it kept busy between its first and its last look."""
        found = {}
        for name, (end_s, last) in self.last.items():
            begin_s, first = self.first[name]
            if end_s > begin_s:
                span_s = end_s - begin_s
                found[name] = (last.cpu_s - first.cpu_s) / span_s
                if name == "detector":
                    main_s = last.main_cpu_s - first.main_cpu_s
                    found["detector's executor"] = main_s / span_s
        return found


def measure(options: argparse.Namespace) -> Report:
    """Play the drive and return what came of it.

    Raises:
        DataError: the graph failed, or gave no answer.
    """
    cores = keep_to_cores(CORES)
    busy = idle_warnings()
    bag = options.bag or (
        quick_bag() if options.quick else live_bag(options.seconds, options.repeat)
    )
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    run = play(bag, output, options)
    return Report(
        name="live_graph",
        figures=figures(run),
        goals=goals(run),
        facts={
            "cores": cores,
            "bag": bag.name,
            "model": run.model,
            "parameters": dict(options.overrides),
            "frames_answered": len(run.answers),
            "warnings": [*busy, *warnings(run)],
        },
    )


def play(bag: Path, output: Path, options: argparse.Namespace) -> LiveRun:
    """Run the graph once.

    Raises:
        DataError: it failed, or gave no answer.
    """
    watch, bundle = Watch(), bundle_folder(options.model)
    for file in bundle.iterdir():
        file.read_bytes()  # what "warm" means: the files are in memory
    sent_log, recording = output / "sent.txt", output / "recording"
    result = run_graph(
        GraphOptions(
            bag=bag,
            recording=recording,
            bundle=bundle,
            overrides=dict(options.overrides),
            overwrite=True,
            log_folder=output / "logs",
            sent_log=sent_log,
        ),
        watch,
    )
    if not result.is_ok or not watch.answers:
        raise DataError(f"{result.failure or 'no frame was answered'}; logs: {result.log_folder}")
    sensors = load_sensor_set(sensors_file(""))
    model = model_line(result.log_folder)
    values = last_diagnostics(recording)
    cameras = {name: camera.compressed_topic for name, camera in sensors.cameras.items()}
    return LiveRun(
        sent=read_sent_log(sent_log),
        answers=watch.answers,
        stages=read_stages(recording),
        image_topics=cameras,
        accepted={name: count_of(values.get(name, {}), "received") for name in cameras},
        dropped={name: dropped_of(values.get(name, {})) for name in cameras},
        frames=frame_counts(values.get("frames", {})),
        activation_s=watch.activation_s,
        peak_rss_mb=watch.last["detector"][1].peak_rss_mb,
        cores_used=watch.cores_used(),
        latest_s=player_delay_s(result),
        model=model,
        role=role_of(load_bundle(bundle), options.overrides, model),
    )


def last_diagnostics(recording: Path, node: str = NODE) -> dict[str, dict[str, str]]:
    """Return part -> values of the node's last word on /diagnostics; empty without one.

    Raises:
        DataError: the recording is damaged.
    """
    found: dict[str, dict[str, str]] = {}
    with open_bag(recording) as bag:
        for message in bag.messages(["/diagnostics"]):
            for status in bag.decode(message).status:
                owner, _, part = status.name.partition(": ")
                if owner == node:
                    found[part] = {pair.key: pair.value for pair in status.values}
    return found


def count_of(values: Mapping[str, str], key: str) -> int:
    """Return a counter of a status; 0 where it is not told."""
    return int(values.get(key, "0"))


def dropped_of(values: Mapping[str, str]) -> int:
    """Return the messages of a sensor that the node dropped, for whatever reason."""
    return sum(int(count) for key, count in values.items() if key.startswith("dropped: "))


def frame_counts(values: Mapping[str, str]) -> dict[str, int]:
    """Return how many frames went in, out, and were suppressed, by reason."""
    keys = [key for key in values if key.startswith(("frames ", "dropped: "))]
    return {
        key.removeprefix("frames ").replace("dropped: ", "without: "): int(values[key])
        for key in keys
    }


def player_delay_s(result: GraphResult) -> float:
    """Return how late the player was at worst, by the last line that it wrote."""
    text = (result.log_folder / "player.out").read_text(encoding="utf-8")
    found = re.search(r'"largest_delay_s": ([0-9.]+)', text)
    return float(found[1]) if found else 0.0


def model_line(log_folder: Path) -> str:
    """Return what the node says that it runs; empty where it does not."""
    text = (log_folder / "detector.log").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"configured: (.*)", text)
    return found[1] if found else ""


def role_of(bundle: Bundle, overrides: Iterable[tuple[str, Any]], model: str) -> str:
    """Return the file of a bundle that the node ran.

    Args:
        bundle: that it was given.
        overrides: its parameters.
        model: what it says that it runs.
    """
    asked = str(dict(overrides).get("model.precision", AUTO_ROLE))
    runner = next((name for name in RUNNERS if name in model.lower()), "cpu")
    return role_for(bundle, asked, runner)


def parameter(text: str) -> tuple[str, Any]:
    """Read "model.threads=1", for argparse."""
    import yaml

    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got '{text}'")
    return name, yaml.safe_load(value)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark has beside --quick and --json."""
    add = parser.add_argument
    add("--seconds", type=float, default=10.0, help="of the drive (default: 10)")
    add("--repeat", type=int, default=6, help="how often it is driven (default: 6)")
    add("--bag", type=Path, help="play this bag instead")
    add("--model", default="", help="bundle (default: the one that ships)")
    add("--output", type=Path, default=DRIVES.parent / "live_graph", help="recording and logs")
    add(
        "--set",
        dest="overrides",
        type=parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the node",
    )


def main() -> int:
    """Measure and report."""
    return run_benchmark("live_graph", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
