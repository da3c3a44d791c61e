# SPDX-License-Identifier: Apache-2.0
"""Seconds for the pictures of one moment: six cameras with their JPEG files, on one core.

    python -m benchmarks.simulation [--drives 2] [--moments 3]

Times are CPU times of this process with one thread; prints one JSON object. The drives are those
of the simulator, so the number of bodies is what a data set has.
"""

import argparse
import json
import statistics
import time
from typing import Any

import cv2
import numpy as np

from imkd_core.simulation.camera.cameras import render
from imkd_core.simulation.rig import make_cameras
from imkd_core.simulation.world.drive import plan_drive
from imkd_core.simulation.world.scene import CONDITIONS

SIZES_PX = ((1600, 900), (704, 256))


def bench_cameras(drives: int, moments: int) -> dict[str, Any]:
    """Return condition and size -> median seconds of six pictures, encoded at quality 90."""
    seconds: dict[str, list[float]] = {}
    bodies: list[int] = []
    for condition in CONDITIONS:
        for seed in range(drives):
            drive = plan_drive(seed, condition)
            for number in range(moments + 1):
                for size in SIZES_PX:
                    snapshot = drive.snapshot(2.0 + 5.0 * number)
                    bodies.append(len(snapshot.placed))
                    start = time.process_time()
                    for index, camera in enumerate(make_cameras(size).values()):
                        pose = snapshot.global_from_ego @ camera.ego_from_cam
                        seen = render(snapshot, camera, pose, np.random.default_rng(index))
                        cv2.imencode(".jpg", seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
                    if number:  # the first moment packs shapes and filters the ground
                        name = f"{condition} {size[0]}x{size[1]}"
                        seconds.setdefault(name, []).append(time.process_time() - start)
    figures: dict[str, Any] = {
        name: round(statistics.median(values), 3) for name, values in seconds.items()
    }
    return {"bodies": round(statistics.mean(bodies)), "seconds": figures}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drives", type=int, default=2)
    parser.add_argument("--moments", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(json.dumps(bench_cameras(args.drives, args.moments), indent=2))


if __name__ == "__main__":
    main()
