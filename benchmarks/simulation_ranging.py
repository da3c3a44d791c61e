# SPDX-License-Identifier: Apache-2.0
"""CPU time and counts of made-up LiDAR sweeps and radar scans.

    OMP_NUM_THREADS=1 python -m benchmarks.simulation_ranging [--drives 3] [--moments 6]

Prints one JSON object: for each kind of weather the mean milliseconds of a sweep and of a scan
(after a first pass that prepares the shapes, once for a drive), the mean number of LiDAR points
and of returns per radar, and the share of returns that the nuscenes-devkit's filter keeps. Beside
it the mean counts of the 404 key frames of nuScenes mini.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from typing import Any

import numpy as np

from imkd_core.data.point_clouds import RADAR_FILE_FIELDS, RadarFilter
from imkd_core.simulation.ranging import lidar, radar
from imkd_core.simulation.rig import lidar_mount, make_radars
from imkd_core.simulation.world.drive import Drive, plan_drive
from imkd_core.simulation.world.scene import CONDITIONS, Snapshot

#: Mean returns of a scan in nuScenes mini.
NUSCENES = {
    "RADAR_FRONT": 120,
    "RADAR_FRONT_LEFT": 32,
    "RADAR_FRONT_RIGHT": 54,
    "RADAR_BACK_LEFT": 106,
    "RADAR_BACK_RIGHT": 109,
}


def measure(drive: Drive, moments: int, found: dict[str, list[float]]) -> None:
    """Add the figures of one drive to `found`."""
    snapshots = [drive.snapshot(t) for t in np.linspace(1.0, drive.duration_s - 1.0, moments)]
    for snapshot in snapshots:
        _sweep(snapshot)
    for snapshot in snapshots:
        begin = time.process_time()
        points = _sweep(snapshot)
        found["lidar_ms"].append(1e3 * (time.process_time() - begin))
        found["bodies"].append(len(snapshot.placed))
        found["lidar_points"].append(points)
        for name, ego_from_radar in make_radars().items():
            begin = time.process_time()
            pose = snapshot.global_from_ego @ ego_from_radar
            records = radar.scan(snapshot, pose, np.random.default_rng(0))
            found["radar_ms"].append(1e3 * (time.process_time() - begin))
            found[name].append(len(records))
            raw = np.column_stack([records[n].astype(np.float32) for n in RADAR_FILE_FIELDS])
            found["kept"].extend(RadarFilter().mask(raw).astype(float))


def _sweep(snapshot: Snapshot) -> int:
    pose = snapshot.global_from_ego @ lidar_mount()
    return len(lidar.scan(snapshot, pose, np.random.default_rng(0)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--drives", type=int, default=3)
    parser.add_argument("--moments", type=int, default=6)
    options = parser.parse_args()
    report: dict[str, Any] = {"nuscenes_mini": NUSCENES}
    for condition in CONDITIONS:
        found: dict[str, list[float]] = defaultdict(list)
        for seed in range(options.drives):
            measure(plan_drive(seed, condition), options.moments, found)
        report[condition] = {name: round(statistics.fmean(v), 2) for name, v in found.items()}
        report[condition]["radar_sum"] = round(sum(report[condition][n] for n in NUSCENES), 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
