# SPDX-License-Identifier: Apache-2.0
"""Files of View-of-Delft: calibration, labels, poses, radar and LiDAR points (method.md 9.4).

Frames: the camera's (x right, y down, z forward), the LiDAR's and the radar's (x forward, y left,
z up). LiDAR and radar meet through the camera alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import CalibrationError, DataError
from imkd_core.geometry import Float64, checked_transform, rigid_transform

#: Columns of a radar file: radial speeds relative to the car, and over ground; time is the scan,
#: 0 for the newest, -2 for the third last.
VOD_RADAR_COLUMNS = ("x", "y", "z", "rcs", "v_r", "v_r_compensated", "time")

#: Columns of a LiDAR file; reflectance is 0..255.
VOD_LIDAR_COLUMNS = ("x", "y", "z", "reflectance")

#: Numbers behind the class name of a label line; the last, a score, is sometimes left out.
_LABEL_NUMBERS = (14, 15)

#: Largest deviation of a printed rotation from a true one that is put right.
_ROTATION_TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True, eq=False)
class VodCalibration:
    """One sensor's file in `calib/`.

    Attributes:
        pixel_from_cam: (3, 3) intrinsic matrix, P2 without its fourth column.
        cam_from_sensor: (4, 4) `Tr_velo_to_cam`: from the LiDAR in `lidar/`, the radar in `radar/`.
    """

    pixel_from_cam: Float64
    cam_from_sensor: Float64


@dataclass(frozen=True, kw_only=True)
class VodLabel:
    """One line of a label file.

    Attributes:
        name: class as written ("Car", "Pedestrian", "Cyclist", "rider", "bicycle", ...).
        track: the second column: truncation, or a track's number.
        occlusion: 0 to 2 (larger: more hidden).
        box_px: (left, top, right, bottom) in the image.
        size_m: length, width, height.
        bottom_cam_m: (3,) bottom centre in the camera frame.
        rotation_rad: about the LiDAR's -z axis.
        score: 1 where the file has none.
    """

    name: str
    track: float
    occlusion: int
    box_px: tuple[float, float, float, float]
    size_m: tuple[float, float, float]
    bottom_cam_m: tuple[float, float, float]
    rotation_rad: float
    score: float = 1.0

    @property
    def yaw_lidar_rad(self) -> float:
        """Heading in the LiDAR frame, counter-clockwise from x (data.md 2)."""
        return -(self.rotation_rad + np.pi / 2)


def read_calibration(path: Path) -> VodCalibration:
    """Read a KITTI-style calibration file.

    Raises:
        DataError: missing, or P2 or Tr_velo_to_cam is not what it should be.
    """
    entries = {}
    for line in _read_text(path).splitlines():
        key, separator, text = line.partition(":")
        if separator and text.strip():
            entries[key.strip()] = text.split()
    projection = _matrix(path, entries, "P2")
    cam_from_sensor = _matrix(path, entries, "Tr_velo_to_cam")
    try:
        checked = _nearest_rigid(cam_from_sensor)
    except CalibrationError as error:
        raise DataError(f"{path}: Tr_velo_to_cam: {error}") from None
    return VodCalibration(pixel_from_cam=projection[:, :3], cam_from_sensor=checked)


def read_labels(path: Path) -> tuple[VodLabel, ...]:
    """Read a label file; empty lines are skipped.

    Raises:
        DataError: missing, or a line has the wrong number of columns or a broken number.
    """
    labels = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if line.strip():
            labels.append(_label(f"{path}, line {number}", line.split()))
    return tuple(labels)


def read_pose(path: Path) -> Float64:
    """Return (4, 4) `cam_from_odom` of a pose file (three JSON objects, a line each).

    Raises:
        DataError: missing, no JSON, or no rigid transform.
    """
    values: dict[str, object] = {}
    for line in _read_text(path).splitlines():
        if line.strip():
            try:
                values |= json.loads(line)
            except (ValueError, TypeError):
                raise DataError(f"{path}: a line is no JSON object; get the file again") from None
    numbers = values.get("odomToCamera")
    try:
        return _nearest_rigid(np.asarray(numbers, dtype=np.float64).reshape(4, 4)[:3])
    except (ValueError, TypeError, CalibrationError) as error:
        raise DataError(f"{path}: odomToCamera is no transform of 16 numbers ({error})") from None


def read_points(path: Path, columns: tuple[str, ...]) -> NDArray[np.float32]:
    """Read a file of float32 points; returns (N, columns).

    Raises:
        DataError: missing, cut off, or a value is not finite.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); the folder is incomplete"
        ) from None
    if len(raw) % (4 * len(columns)):
        raise DataError(
            f"{path}: {len(raw)} bytes are no whole number of points of {len(columns)} floats; it "
            "is cut off, get it again"
        )
    points = np.frombuffer(raw, "<f4").astype(np.float32).reshape(-1, len(columns))
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a point is not finite; the file is damaged, get it again")
    return points


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); the folder is incomplete"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text file; get it again") from None


def _matrix(path: Path, entries: dict[str, list[str]], key: str) -> Float64:
    try:
        matrix = np.array([float(text) for text in entries.get(key, [])]).reshape(3, 4)
    except ValueError:
        raise DataError(f"{path}: {key} must be 12 numbers, got {entries.get(key)}") from None
    if not np.isfinite(matrix).all():
        raise DataError(f"{path}: {key} holds a number that is not finite")
    return matrix


def _nearest_rigid(matrix: Float64) -> Float64:
    """Return the rigid (4, 4) transform next to a (3, 4) one that was printed with few digits."""
    u, _, vt = np.linalg.svd(matrix[:, :3])
    rotation = u @ vt
    if np.abs(rotation - matrix[:, :3]).max() > _ROTATION_TOLERANCE:
        raise CalibrationError("its rotation is scaled, sheared or mirrored")
    return checked_transform(rigid_transform(rotation, matrix[:, 3]), "transform")


def _label(where: str, columns: list[str]) -> VodLabel:
    if len(columns) - 1 not in _LABEL_NUMBERS:
        raise DataError(f"{where}: a label has 15 or 16 columns, this has {len(columns)}")
    try:
        values = [float(text) for text in columns[1:]]
    except ValueError:
        raise DataError(f"{where}: a column is no number") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: a number is not finite")
    height, width, length = values[7:10]
    if min(height, width, length) <= 0:
        raise DataError(f"{where}: the size {height} x {width} x {length} m is not positive")
    return VodLabel(
        name=columns[0],
        track=values[0],
        occlusion=int(values[1]),
        box_px=(values[3], values[4], values[5], values[6]),
        size_m=(length, width, height),
        bottom_cam_m=(values[10], values[11], values[12]),
        rotation_rad=values[13],
        score=values[14] if len(values) > 14 else 1.0,
    )
