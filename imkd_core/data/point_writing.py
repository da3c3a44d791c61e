# SPDX-License-Identifier: Apache-2.0
"""Writes nuScenes point files: radar `.pcd` and LiDAR `.pcd.bin` (read by `point_clouds`)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.point_clouds import (
    LIDAR_FILE_COLUMNS,
    MAX_RADAR_POINTS,
    RADAR_FILE_FIELDS,
    RADAR_LAYOUT,
    RADAR_RECORD,
)
from imkd_core.errors import SensorError
from imkd_core.evaluation.results import write_atomic
from imkd_core.types import RADAR_FIELDS, RadarCloud

#: A radar file is this much longer than its returns: the header, and padding behind them.
_BESIDE_RETURNS_BYTES = 4096


def to_radar_records(cloud: RadarCloud) -> NDArray[np.void]:
    """Return the returns of any radar as records of a nuScenes file.

    States say that each return is valid, unambiguous and of unknown motion, so nuScenes' filter
    keeps it: what is unwanted is left out before. Velocities over ground stand in `vx` and `vy`
    too, for what the radar measured is not known here; the age of a return is not kept.
    """
    records = np.zeros(len(cloud.points), dtype=RADAR_RECORD)
    columns = dict(zip(RADAR_FIELDS, cloud.points.T, strict=True))
    for name, field in (("x", "x_m"), ("y", "y_m"), ("z", "z_m"), ("rcs", "rcs_dbsm")):
        records[name] = columns[field]
    for axis in "xy":
        records[f"v{axis}"] = records[f"v{axis}_comp"] = columns[f"v{axis}_mps"]
    records["id"] = np.arange(len(records)) % (1 << 15)
    records["dyn_prop"], records["ambig_state"], records["is_quality_valid"] = 4, 3, 1
    return records


def write_radar_pcd(
    path: Path, records: NDArray[np.void], max_points: int = MAX_RADAR_POINTS
) -> None:
    """Write a nuScenes radar file; it appears under its name when it is whole.

    The file has 4096 + 43 N bytes: header, returns, padding. A scan without returns is written as
    one return of NaN, as the nuscenes-devkit expects it.

    Args:
        path: the `.pcd` file; its folder is made.
        records: (N,) of `point_clouds.RADAR_RECORD`.
        max_points: nuScenes' radars give no more; others may.

    Raises:
        SensorError: records of another type, or too many.
        DataError: the file cannot be written.
    """
    if records.dtype != RADAR_RECORD or records.ndim != 1 or len(records) > max_points:
        raise SensorError(
            f"{path}: expected at most {max_points} records of RADAR_RECORD, got "
            f"{records.shape} of {records.dtype}"
        )
    if len(records) == 0:
        records = np.zeros(1, dtype=RADAR_RECORD)
        for name, (kind, _) in RADAR_LAYOUT.items():
            if kind == "F":
                records[name] = np.nan
    content = _radar_header(len(records)) + records.tobytes()
    size = _BESIDE_RETURNS_BYTES + records.nbytes
    write_atomic(path, content.ljust(size, b"\0"))


def write_lidar_bin(path: Path, points: NDArray[np.float32]) -> None:
    """Write a nuScenes LiDAR file; it appears under its name when it is whole.

    Args:
        path: the `.pcd.bin` file; its folder is made.
        points: (N, 5) float32: x, y, z (metres, LiDAR frame), intensity 0..255, ring.

    Raises:
        SensorError: another shape.
        DataError: the file cannot be written.
    """
    if points.ndim != 2 or points.shape[1] != LIDAR_FILE_COLUMNS:
        raise SensorError(f"{path}: expected (N, {LIDAR_FILE_COLUMNS}) points, got {points.shape}")
    write_atomic(path, points.astype("<f4").tobytes())


def _radar_header(count: int) -> bytes:
    columns = {
        "FIELDS": RADAR_FILE_FIELDS,
        "SIZE": [str(size) for _, size in RADAR_LAYOUT.values()],
        "TYPE": [kind for kind, _ in RADAR_LAYOUT.values()],
        "COUNT": ["1"] * len(RADAR_LAYOUT),
    }
    lines = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7"]
    lines += [" ".join([name, *values]) for name, values in columns.items()]
    lines += [f"WIDTH {count}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {count}"]
    return "\n".join([*lines, "DATA binary", ""]).encode("ascii")
