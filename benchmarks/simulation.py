# SPDX-License-Identifier: Apache-2.0
"""Key frames per second and core that `imkd simulate` makes, and where the time goes.

    OMP_NUM_THREADS=1 python -m benchmarks.simulation [--duration 20] [--conditions clear,night]

Writes whole drives (images of key frames, all sweeps of radars and LiDAR, tables) to a temporary
folder. Times are CPU times of this process with one thread; planning a drive is part of the total.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
from imkd_core.simulation import writer
from imkd_core.simulation.camera import cameras
from imkd_core.simulation.ranging import lidar, radar
from imkd_core.simulation.schedule import key_count
from imkd_core.simulation.world.drive import Drive, plan_drive
from imkd_core.simulation.world.scene import CONDITIONS

#: Size of images -> key frames per second and core.
GOALS = {(704, 256): 1.5, (1600, 900): 0.5}

#: What is clocked: name -> holder and attribute of the function.
PARTS = {
    "cameras": (cameras, "render"),
    "jpeg": (writer, "_as_jpeg"),
    "lidar": (lidar, "scan"),
    "radar": (radar, "scan"),
    "annotations": (writer, "sight"),
    "snapshots": (Drive, "snapshot"),
}


@contextmanager
def clocked(seconds: Counter[str]) -> Iterator[None]:
    """Add the CPU time of each part of the simulation to `seconds`."""

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            found = function(*args, **kwargs)
            seconds[name] += time.process_time() - begin  # type: ignore[assignment]
            return found

        return timed

    with ExitStack() as stack:
        for name, (holder, attribute) in PARTS.items():
            function = wrap(name, getattr(holder, attribute))
            stack.enter_context(patch.object(holder, attribute, function))
        yield


def bench(condition: str, seed: int, size_px: tuple[int, int], duration_s: float) -> dict[str, Any]:
    """Return seconds per key frame by part and in all, and the rate beside its goal."""
    seconds: Counter[str] = Counter()
    begin = time.process_time()
    drive = plan_drive(seed, condition, duration_s=duration_s)
    seconds["planning"] = time.process_time() - begin  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, clocked(seconds):
        writer.write_drive(drive, Path(folder), writer.WriteOptions(size_px=size_px), 0)
        total = time.process_time() - begin
    seconds["files, tables"] = total - sum(seconds.values())  # type: ignore[assignment]
    keys = key_count(duration_s)
    rate = keys / total
    return {
        "key_frames_per_s": round(rate, 2),
        "goal_ratio": round(rate / GOALS[size_px], 2),
        "s_per_key_frame": {name: round(value / keys, 3) for name, value in seconds.items()},
        "s_total": round(total / keys, 3),
    }


def figures_of(name: str, found: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of one kind of drive."""
    note = f"{found['goal_ratio']} of its goal"
    rate = found["key_frames_per_s"]
    yield Figure(name=f"{name}: key frames a second and core", value=rate, unit="1/s", note=note)
    for part, seconds in found["s_per_key_frame"].items():
        yield Figure(name=f"{name}: {part}", value=seconds, unit="s")


def measure(options: argparse.Namespace) -> Report:
    """Measure all conditions and sizes."""
    cv2.setNumThreads(1)
    warned = idle_warnings()
    sizes = [size for size in GOALS if not options.size or f"{size[0]}x{size[1]}" in options.size]
    conditions, duration_s = options.conditions.split(","), options.duration
    if options.quick:
        sizes, conditions, duration_s = sizes[:1], conditions[:1], 1.0
    figures: list[Figure] = []
    for width, height in sizes:
        for condition in conditions:
            found = bench(condition, options.seed, (width, height), duration_s)
            figures += figures_of(f"{width}x{height} {condition}", found)
    facts = {"seed": options.seed, "duration_s": duration_s, "warnings": warned}
    return Report(name="simulation", figures=tuple(figures), facts=facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", choices=["704x256", "1600x900"], action="append")


def main() -> int:
    """Measure and print."""
    return run_benchmark("simulation", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
