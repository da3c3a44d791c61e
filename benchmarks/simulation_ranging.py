# SPDX-License-Identifier: Apache-2.0
"""CPU time and counts of made-up LiDAR sweeps and radar scans.

    OMP_NUM_THREADS=1 python -m benchmarks.simulation_ranging [--drives 3] [--moments 6]

For each kind of weather the mean milliseconds of a sweep and of a scan
(after a first pass that prepares the shapes, once for a drive), the mean number of LiDAR points
and of returns per radar, and the share of returns that the nuscenes-devkit's filter keeps. Beside
it the mean counts of the 404 key frames of nuScenes mini.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
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


def measure_drive(drive: Drive, moments: int, found: dict[str, list[float]]) -> None:
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


def figures_of(condition: str, values: dict[str, list[float]]) -> Iterator[Figure]:
    """Yield the means of one kind of weather."""
    means = {name: statistics.fmean(found) for name, found in values.items()}
    means["radar_sum"] = sum(means[name] for name in NUSCENES)
    for name, value in means.items():
        real = f"nuScenes mini: {NUSCENES[name]}" if name in NUSCENES else ""
        unit = "ms" if name.endswith("_ms") else ""
        label = f"{condition}: {name.removesuffix('_ms')}"
        yield Figure(name=label, value=round(value, 2), unit=unit, note=real)


def measure(options: argparse.Namespace) -> Report:
    """Measure all kinds of weather."""
    warned = idle_warnings()
    drives, moments = (1, 1) if options.quick else (options.drives, options.moments)
    figures: list[Figure] = []
    for condition in CONDITIONS[:1] if options.quick else CONDITIONS:
        found: dict[str, list[float]] = defaultdict(list)
        for seed in range(drives):
            measure_drive(plan_drive(seed, condition), moments, found)
        figures += figures_of(condition, found)
    facts = {"drives": drives, "moments": moments, "warnings": warned}
    return Report(name="simulation_ranging", figures=tuple(figures), facts=facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--drives", type=int, default=3)
    parser.add_argument("--moments", type=int, default=6)


def main() -> int:
    """Measure and print."""
    return run_benchmark("simulation_ranging", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
