# SPDX-License-Identifier: Apache-2.0
"""Radars in the wrong place, found by how standing things move past them, on made-up drives.

    python -m benchmarks.radar_doppler --data FOLDER [FOLDER ...] --json FILE

Every radar of every drive is judged with its calibration as it is, with its yaw off by a little,
turned by 180 degrees (a left and a right one swapped), and with speeds in km/h. Drives in which the
vehicle is too slow or the scans too poor are not judged, and counted. Without --data, drives are
made first.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.harness import AT_MOST, Figure, Goal, Report, run_benchmark
from imkd_core.cli.common import open_nuscenes
from imkd_core.data.nuscenes.reading import Reading
from imkd_core.data.point_clouds import RADAR_FILE_FIELDS, read_radar_pcd
from imkd_core.geometry import Float64, invert_transform
from imkd_core.health.doppler import DopplerSettings, MotionError, motion_error, verdict
from imkd_core.simulation.simulate import SimulationOptions, simulate

#: Wrong calibrations: degrees that the radar is turned by against it, and factor of its speeds.
_WRONG = {
    "yaw off by 3 degrees": (3.0, 1.0),
    "yaw off by 5 degrees": (5.0, 1.0),
    "left and right swapped": (180.0, 1.0),
    "speeds in km/h": (0.0, 3.6),
}

_RIGHT = "as it is"
_SEED = 9700


def measure(options: argparse.Namespace) -> Report:
    """Judge all radars of all drives."""
    judged: Counter[str] = Counter()
    told: Counter[str] = Counter()
    errors_rad, left_out = [], 0
    settings = DopplerSettings()
    with tempfile.TemporaryDirectory() as folder:
        for scans in _radars(options, Path(folder)):
            errors = _errors(scans, 0.0, 1.0, settings)
            if len(errors) < settings.least_scans:
                left_out += 1
                continue
            errors_rad.append(float(np.median([error.yaw_rad for error in errors])))
            for name, (degrees, factor) in {_RIGHT: (0.0, 1.0), **_WRONG}.items():
                judged[name] += 1
                told[name] += bool(verdict(_errors(scans, degrees, factor, settings), settings))
    rates = {name: round(100 * told[name] / max(judged[name], 1), 2) for name in judged}
    figures = [
        Figure(name=f"{name}, told", value=rate, unit="%", note=f"of {judged[name]}")
        for name, rate in rates.items()
    ]
    spread = float(np.degrees(np.max(np.abs(errors_rad)))) if errors_rad else None
    return Report(
        name="radar_doppler",
        figures=(
            *figures,
            Figure(name="largest error of yaw", value=spread, unit="deg", note="as it is"),
            Figure(name="not judged", value=float(left_out), unit="", note="radars of drives"),
        ),
        goals=(
            Goal(
                name="radar in the wrong place told, worst case",
                value=min((rates[name] for name in _WRONG if name in rates), default=None),
                goal=95.0,
                unit="%",
                reason="" if rates else "no drive could be judged",
            ),
            Goal(
                name="radar in its place blamed",
                value=rates.get(_RIGHT),
                goal=1.0,
                unit="%",
                comparison=AT_MOST,
                reason="" if rates else "no drive could be judged",
            ),
        ),
    )


def _radars(options: argparse.Namespace, folder: Path) -> Iterator[list[Reading]]:
    """Yield the scans of one radar of one drive after another, in the order of time."""
    roots = options.data
    if not roots:
        made = SimulationOptions(
            seed=_SEED, size_px=(64, 32), duration_s=4.0 if options.quick else 8.0
        )
        simulate(folder, 1 if options.quick else 8, made)
        roots = [folder]
    for root in roots:
        reader = open_nuscenes(root, None)
        for scene in reader.scenes[: 1 if options.quick else options.drives]:
            scans: dict[str, list[Reading]] = {}
            for reading in reader.readings(scene):
                if reading.modality == "radar":
                    scans.setdefault(reading.sensor, []).append(reading)
            yield from scans.values()


def _errors(
    scans: list[Reading], degrees: float, factor: float, settings: DopplerSettings
) -> list[MotionError]:
    """Return what each scan shows, the radar turned and its speeds scaled against the truth."""
    found = []
    for before, scan in pairwise(scans):
        points = read_radar_pcd(scan.path, max_points=scan.max_points)
        column = {name: points[:, RADAR_FILE_FIELDS.index(name)] for name in ("x", "y", "vx", "vy")}
        azimuth = np.arctan2(column["y"], column["x"])
        radial = column["vx"] * np.cos(azimuth) + column["vy"] * np.sin(azimuth)
        foretold = _turned(_velocity(before, scan), np.radians(degrees))
        error = motion_error(azimuth, factor * radial, foretold, settings)
        if error is not None:
            found.append(error)
    return found


def _velocity(before: Reading, scan: Reading) -> Float64:
    """Return the (2,) velocity of a radar by its poses, in its own frame."""
    pose = scan.global_from_ego @ scan.ego_from_sensor
    moved = pose[:3, 3] - (before.global_from_ego @ before.ego_from_sensor)[:3, 3]
    seconds = (scan.stamp_ns - before.stamp_ns) * 1e-9
    return np.asarray(invert_transform(pose)[:2, :3] @ moved / seconds)


def _turned(vector: Float64, angle_rad: float) -> Float64:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, nargs="+", metavar="FOLDER", help="drives in the nuScenes layout"
    )
    parser.add_argument("--drives", type=int, default=100, help="of each folder, at most")


def main() -> int:
    """Run from the command line."""
    return run_benchmark("radar_doppler", __doc__, measure, _add_options)


if __name__ == "__main__":
    raise SystemExit(main())
