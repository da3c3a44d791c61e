# SPDX-License-Identifier: Apache-2.0
"""nuScenes point files: radar `.pcd` (PCD 0.7, binary, 18 fields) and LiDAR `.pcd.bin`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ConfigError, DataError
from imkd_core.geometry import transform_points
from imkd_core.types import LidarCloud, RadarCloud

#: name -> PCD type and size in bytes of the fields of a nuScenes radar file, in order.
RADAR_LAYOUT: Mapping[str, tuple[str, int]] = {
    "x": ("F", 4),
    "y": ("F", 4),
    "z": ("F", 4),
    "dyn_prop": ("I", 1),
    "id": ("I", 2),
    "rcs": ("F", 4),
    "vx": ("F", 4),
    "vy": ("F", 4),
    "vx_comp": ("F", 4),
    "vy_comp": ("F", 4),
    "is_quality_valid": ("I", 1),
    "ambig_state": ("I", 1),
    "x_rms": ("I", 1),
    "y_rms": ("I", 1),
    "invalid_state": ("I", 1),
    "pdh0": ("I", 1),
    "vx_rms": ("I", 1),
    "vy_rms": ("I", 1),
}

#: The 18 columns of a raw radar cloud.
RADAR_FILE_FIELDS = tuple(RADAR_LAYOUT)

#: One record of a radar file, 43 bytes without padding.
RADAR_RECORD = np.dtype(
    [(n, f"<{'f' if kind == 'F' else 'i'}{size}") for n, (kind, size) in RADAR_LAYOUT.items()]
)

#: Returns a scan of the nuScenes radars can hold; a header that claims more is refused.
MAX_RADAR_POINTS = 125

#: The header ends well before this many bytes (370 in nuScenes).
_MAX_HEADER_BYTES = 4096

_HEADER: Mapping[str, str] = {
    "FIELDS": " ".join(RADAR_FILE_FIELDS),
    "SIZE": " ".join(str(size) for _, size in RADAR_LAYOUT.values()),
    "TYPE": " ".join(kind for kind, _ in RADAR_LAYOUT.values()),
    "COUNT": " ".join("1" for _ in RADAR_LAYOUT),
    "HEIGHT": "1",
    "DATA": "binary",
}

#: Columns of a LiDAR file: x, y, z (metres), intensity 0..255, ring; float32.
LIDAR_FILE_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class RadarFilter:
    """Which radar returns are kept; the defaults are the nuscenes-devkit's. None keeps all.

    Attributes:
        invalid_states: 0 valid; 4, 8-12 and 15-17 valid with a remark (low RCS, artefact, ...);
            the others invalid.
        dynprop_states: 0 moving, 1 stationary, 2 oncoming, 3 stationary candidate, 4 unknown,
            5 crossing stationary, 6 crossing moving, 7 stopped.
        ambig_states: 0 invalid, 1 ambiguous, 2 staggered ramp, 3 unambiguous, 4 stationary
            candidates (ambiguity of the Doppler speed).
        min_distance_m: returns with |x| and |y| both below are dropped. The devkit drops none
            in a single scan, and below 1 m when it merges scans.

    Raises:
        ConfigError: the distance is negative or not finite.
    """

    invalid_states: tuple[int, ...] | None = (0,)
    dynprop_states: tuple[int, ...] | None = (0, 1, 2, 3, 4, 5, 6)
    ambig_states: tuple[int, ...] | None = (3,)
    min_distance_m: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an impossible distance."""
        if not 0 <= self.min_distance_m < np.inf:
            raise ConfigError(
                f"radar filter: min_distance_m must be 0 or more, got {self.min_distance_m}"
            )

    @classmethod
    def none(cls) -> "RadarFilter":
        """Return a filter that keeps every return."""
        return cls(invalid_states=None, dynprop_states=None, ambig_states=None)

    def mask(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which of (N, 18) raw returns are kept."""
        keep = ~_is_close(points, self.min_distance_m)
        for name, allowed in (
            ("invalid_state", self.invalid_states),
            ("dyn_prop", self.dynprop_states),
            ("ambig_state", self.ambig_states),
        ):
            if allowed is not None:
                keep &= np.isin(points[:, RADAR_FILE_FIELDS.index(name)], allowed)
        return keep


def read_radar_pcd(
    path: Path, radar_filter: RadarFilter | None = None, max_points: int = MAX_RADAR_POINTS
) -> NDArray[np.float32]:
    """Read a nuScenes radar file.

    The number of returns is the header's WIDTH; the payload starts right after the header, and
    bytes behind it (nuScenes pads its files) are ignored. NaN in the first return means that the
    scan is empty.

    Args:
        path: the `.pcd` file.
        radar_filter: which returns to keep; the devkit's defaults where it is None.
        max_points: a header that claims more returns is refused.

    Returns:
        (N, 18) float32 with columns `RADAR_FILE_FIELDS`, in the radar frame.

    Raises:
        DataError: missing file, malformed header, other fields, short payload, or a value that
            is not finite in a return that is kept.
    """
    raw = _read_file(path)
    header, start = _parse_header(path, raw)
    count = _width(path, header, max_points)
    available = len(raw) - start
    if available < count * RADAR_RECORD.itemsize:
        raise DataError(
            f"{path}: the header promises {count} returns of {RADAR_RECORD.itemsize} bytes, the "
            f"file holds {available} bytes of them; it is cut off, get it again"
        )
    records = np.frombuffer(raw, dtype=RADAR_RECORD, count=count, offset=start)
    points = np.column_stack([records[name].astype(np.float32) for name in RADAR_FILE_FIELDS])
    if count == 0 or np.isnan(points[0]).any():
        return np.zeros((0, len(RADAR_FILE_FIELDS)), dtype=np.float32)
    points = points[(radar_filter or RadarFilter()).mask(points)]
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a return is not finite; the file is damaged, get it again")
    return points


def read_lidar_bin(path: Path) -> NDArray[np.float32]:
    """Read a nuScenes LiDAR file.

    Returns:
        (N, 5) float32: x, y, z (metres, LiDAR frame), intensity 0..255, ring.

    Raises:
        DataError: missing file, a size that is no whole number of points, or a value that is not
            finite.
    """
    raw = _read_file(path)
    if len(raw) % (4 * LIDAR_FILE_COLUMNS):
        raise DataError(
            f"{path}: {len(raw)} bytes are no whole number of points of "
            f"{4 * LIDAR_FILE_COLUMNS} bytes; it is cut off, get it again"
        )
    points = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(-1, LIDAR_FILE_COLUMNS)
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a point is not finite; the file is damaged, get it again")
    return points


def to_radar_cloud(points: NDArray[np.float32], sensor: str, stamp_ns: int) -> RadarCloud:
    """Return raw (N, 18) returns as a `RadarCloud`: compensated velocity, age 0."""
    columns = [RADAR_FILE_FIELDS.index(n) for n in ("x", "y", "z", "rcs", "vx_comp", "vy_comp")]
    age_s = np.zeros((len(points), 1), dtype=np.float32)
    values = np.concatenate([points[:, columns], age_s], axis=1)
    return RadarCloud(sensor=sensor, stamp_ns=stamp_ns, points=values.astype(np.float32))


def to_lidar_cloud(
    sweeps: list[tuple[NDArray[np.float32], NDArray[np.float64], float]],
    sensor: str,
    stamp_ns: int,
    min_distance_m: float = 0.0,
) -> LidarCloud:
    """Merge LiDAR sweeps into the frame of the newest.

    Args:
        sweeps: newest first: (N, 5) points, (4, 4) `newest_from_sweep`, and age in seconds.
        sensor: name of the LiDAR.
        stamp_ns: time of the newest sweep.
        min_distance_m: points with |x| and |y| both below, in their own sweep, are dropped.
    """
    merged = []
    for points, newest_from_sweep, age_s in sweeps:
        kept = points[~_is_close(points, min_distance_m)]
        values = np.full((len(kept), 6), age_s, dtype=np.float32)
        values[:, :3] = transform_points(newest_from_sweep, kept[:, :3])
        values[:, 3:5] = kept[:, 3:5]
        merged.append(values)
    return LidarCloud(sensor=sensor, stamp_ns=stamp_ns, points=np.concatenate(merged))


def _is_close(points: NDArray[np.float32], distance_m: float) -> NDArray[np.bool_]:
    return (np.abs(points[:, 0]) < distance_m) & (np.abs(points[:, 1]) < distance_m)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no file {path}; the dataroot is incomplete") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _parse_header(path: Path, raw: bytes) -> tuple[dict[str, str], int]:
    """Return the header's entries and where the payload starts; refuse all other layouts."""
    header: dict[str, str] = {}
    start = 0
    while "DATA" not in header:
        end = raw.find(b"\n", start, _MAX_HEADER_BYTES)
        if end < 0:
            raise DataError(f"{path}: no PCD header (no line 'DATA binary'); not a radar file")
        key, _, value = raw[start:end].decode("ascii", "replace").strip().partition(" ")
        header[key] = " ".join(value.split())
        start = end + 1
    for key, expected in _HEADER.items():
        if header.get(key) != expected:
            raise DataError(
                f"{path}: header line {key} is '{header.get(key, '')}', a nuScenes radar file has "
                f"'{expected}'"
            )
    return header, start


def _width(path: Path, header: Mapping[str, str], max_points: int) -> int:
    text = header.get("WIDTH", "")
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not 0 <= count <= max_points or header.get("POINTS", text) != text:
        raise DataError(
            f"{path}: WIDTH '{text}' and POINTS '{header.get('POINTS', '')}' must be one number "
            f"from 0 to {max_points}"
        )
    return count
