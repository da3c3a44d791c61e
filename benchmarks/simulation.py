# SPDX-License-Identifier: Apache-2.0
"""Key frames per second and core that `imkd simulate` makes, and where the time goes.

    OMP_NUM_THREADS=1 python -m benchmarks.simulation [--duration 20] [--conditions clear,night]

Writes whole drives (images of key frames, all sweeps of radars and LiDAR, tables) to a temporary
folder and prints one JSON object. Times are CPU times of this process with one thread; planning a
drive is part of the total. `goal_ratio` is 1 or more where the goal is met.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", choices=["704x256", "1600x900"], action="append")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    report = {}
    for width, height in GOALS:
        name = f"{width}x{height}"
        if options.size and name not in options.size:
            continue
        for condition in options.conditions.split(","):
            found = bench(condition, options.seed, (width, height), options.duration)
            report[f"{name} {condition}"] = found
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
