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

#: A radar file is this much longer than its returns: the header, and padding behind them.
_BESIDE_RETURNS_BYTES = 4096


def write_radar_pcd(path: Path, records: NDArray[np.void]) -> None:
    """Write a nuScenes radar file; it appears under its name when it is whole.

    The file has 4096 + 43 N bytes: header, returns, padding. A scan without returns is written as
    one return of NaN, as the nuscenes-devkit expects it.

    Args:
        path: the `.pcd` file; its folder is made.
        records: (N,) of `point_clouds.RADAR_RECORD`, 125 at most.

    Raises:
        SensorError: records of another type, or too many.
        DataError: the file cannot be written.
    """
    if records.dtype != RADAR_RECORD or records.ndim != 1 or len(records) > MAX_RADAR_POINTS:
        raise SensorError(
            f"{path}: expected at most {MAX_RADAR_POINTS} records of RADAR_RECORD, got "
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
