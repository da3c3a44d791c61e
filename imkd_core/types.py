# SPDX-License-Identifier: Apache-2.0
"""The values that cross module borders: measurements, calibration, frames and detections.

All are frozen and checked once, on construction; arrays inside are read-only views, and two
values are equal only when they are the same object. Lengths are metres, angles radians, speeds
metres a second, and time is one integer of nanoseconds. The calibration, which `calibration`
holds, is imported from here as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.calibration import DISTORTION_MODELS, CameraModel, SensorRig
from imkd_core.errors import SensorError
from imkd_core.geometry import Float64, checked_transform

__all__ = [
    "DISTORTION_MODELS",
    "LIDAR_FIELDS",
    "MAX_STAMP_NS",
    "RADAR_FIELDS",
    "CameraImage",
    "CameraModel",
    "Detections",
    "Frame",
    "LidarCloud",
    "RadarCloud",
    "SensorRig",
    "check_stamp",
]

_T = TypeVar("_T", bound=np.generic)

#: Columns of `RadarCloud.points`. Velocity is the measured (radial) velocity over ground as a
#: vector in the radar frame, own motion already taken out; age is the time before `stamp_ns`.
RADAR_FIELDS = ("x_m", "y_m", "z_m", "rcs_dbsm", "vx_mps", "vy_mps", "age_s")

#: Columns of `LidarCloud.points`; intensity is 0..255 as nuScenes stores it.
LIDAR_FIELDS = ("x_m", "y_m", "z_m", "intensity", "ring", "age_s")

#: Stamps outside (0, this) are refused: 2106-02-07, where 32-bit seconds end.
MAX_STAMP_NS = (1 << 32) * 1_000_000_000


def _frozen(array: ArrayLike, dtype: type[_T]) -> NDArray[_T]:
    """Return a read-only view (a copy only where the dtype differs)."""
    # What leaves the range of float32 is refused as infinite; a signalling NaN is a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def check_stamp(sensor: str, stamp_ns: int) -> None:
    """Refuse what is no time of a measurement.

    Raises:
        SensorError: not a whole number of nanoseconds after 1970 and before 2106.
    """
    if type(stamp_ns) is not int or not 0 < stamp_ns < MAX_STAMP_NS:
        raise SensorError(
            f"sensor '{sensor}': stamp {stamp_ns} ns is not a time after 1970 and before 2106; "
            "check the driver's clock and its header.stamp"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraImage:
    """One decoded image.

    Attributes:
        sensor: name of the camera in the rig.
        stamp_ns: time of exposure.
        pixels: (H, W, 3) uint8, RGB. May be smaller than the calibrated image (a reduced JPEG
            decode) by the same factor in both directions; never cropped.

    Raises:
        SensorError: wrong shape or dtype, an empty image, or an impossible stamp.
    """

    sensor: str
    stamp_ns: int
    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check shape, dtype and stamp."""
        check_stamp(self.sensor, self.stamp_ns)
        shape, dtype = np.shape(self.pixels), getattr(self.pixels, "dtype", None)
        if len(shape) != 3 or shape[2] != 3 or min(shape) < 1 or dtype != np.uint8:
            raise SensorError(
                f"camera '{self.sensor}': expected (H, W, 3) uint8 RGB, got {shape} {dtype}"
            )
        object.__setattr__(self, "pixels", _frozen(self.pixels, np.uint8))


@dataclass(frozen=True, kw_only=True, eq=False)
class _PointCloud:
    """The returns of one scan, or of several merged ones; N may be 0.

    Attributes:
        sensor: name of the sensor in the rig.
        stamp_ns: time of the newest scan.
        points: (N, columns) float32, in the sensor's frame.

    Raises:
        SensorError: wrong shape, a value that is not finite, or an impossible stamp.
    """

    sensor: str
    stamp_ns: int
    points: NDArray[np.float32]

    _kind: ClassVar[str]
    _fields: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Check shape, finiteness and stamp."""
        check_stamp(self.sensor, self.stamp_ns)
        name, shape = f"{self._kind} '{self.sensor}'", np.shape(self.points)
        columns = len(self._fields)
        if len(shape) != 2 or shape[1] != columns:
            raise SensorError(f"{name}: expected (N, {columns}) as {self._fields}, got {shape}")
        points = _frozen(self.points, np.float32)
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if bad.size:
            raise SensorError(
                f"{name}: {bad.size} of {shape[0]} points are not finite (first: row {bad[0]}); "
                "drop them before building the cloud"
            )
        object.__setattr__(self, "points", points)


@dataclass(frozen=True, kw_only=True, eq=False)
class RadarCloud(_PointCloud):
    """Radar returns; `points` is (N, 7) with columns `RADAR_FIELDS`, in the radar frame."""

    _kind = "radar"
    _fields = RADAR_FIELDS


@dataclass(frozen=True, kw_only=True, eq=False)
class LidarCloud(_PointCloud):
    """LiDAR points, training only; (N, 6) with columns `LIDAR_FIELDS`, in the LiDAR frame."""

    _kind = "lidar"
    _fields = LIDAR_FIELDS


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What the sensors saw around one moment; a sensor that is missing is simply not in it.

    Attributes:
        stamp_ns: the reference time; boxes are in the ego frame of this time.
        cameras: name -> image.
        radars: name -> scans, newest first.
        reference_from_ego: stamp_ns of a reading -> (4, 4) transform from the ego frame at that
            stamp to the ego frame at the reference time. A stamp without an entry had no known
            ego motion and is taken as not moved.
        odom_from_ego: (4, 4) pose of the ego frame at the reference time in a frame that stands
            still and does not jump between two frames; None where it is not known.

    Raises:
        SensorError: a reading stands under another sensor's name.
        CalibrationError: a transform is not rigid.
    """

    stamp_ns: int
    cameras: Mapping[str, CameraImage]
    radars: Mapping[str, tuple[RadarCloud, ...]]
    reference_from_ego: Mapping[int, Float64] = field(default_factory=dict)
    odom_from_ego: Float64 | None = None

    def __post_init__(self) -> None:
        """Freeze the mappings; check names and transforms."""
        check_stamp("frame", self.stamp_ns)
        readings = [(name, image.sensor) for name, image in self.cameras.items()]
        readings += [(name, c.sensor) for name, clouds in self.radars.items() for c in clouds]
        for name, sensor in readings:
            if name != sensor:
                raise SensorError(f"a reading of '{sensor}' was filed under '{name}'")
        motion = {
            stamp_ns: checked_transform(pose, f"reference_from_ego at {stamp_ns} ns")
            for stamp_ns, pose in self.reference_from_ego.items()
        }
        radars = {name: tuple(clouds) for name, clouds in self.radars.items()}
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))
        object.__setattr__(self, "radars", MappingProxyType(radars))
        object.__setattr__(self, "reference_from_ego", MappingProxyType(motion))
        if self.odom_from_ego is not None:
            pose = checked_transform(self.odom_from_ego, f"odom_from_ego at {self.stamp_ns} ns")
            object.__setattr__(self, "odom_from_ego", pose)

    def motion_at(self, stamp_ns: int) -> Float64:
        """Return `reference_from_ego` of a reading's stamp; identity where it is unknown."""
        return self.reference_from_ego.get(stamp_ns, np.eye(4))


#: Columns of `Detections` -> sizes of their axes behind the first.
_PER_BOX: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"center_m": (3,), "size_m": (3,), "yaw_rad": (), "velocity_mps": (2,)}
    | {"scores": (), "labels": ()}
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Objects found in one frame, or true objects; in the ego frame of `stamp_ns`.

    Attributes:
        stamp_ns: the frame's reference time.
        class_names: names that `labels` index.
        center_m: (N, 3) float32 geometric centres (z too).
        size_m: (N, 3) float32 length, width, height.
        yaw_rad: (N,) float32 heading, counter-clockwise from x.
        velocity_mps: (N, 2) float32 over ground; NaN where it is unknown (truth only).
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64.
        reliability: name ("camera", "radar") -> (Y, X) float32 fusion gate in (0, 1).
        stage_ms: stage -> milliseconds.

    Raises:
        SensorError: lengths disagree, a number is not finite, or a size is not positive.
    """

    stamp_ns: int
    class_names: tuple[str, ...]
    center_m: NDArray[np.float32]
    size_m: NDArray[np.float32]
    yaw_rad: NDArray[np.float32]
    velocity_mps: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    reliability: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    stage_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check lengths, finiteness and ranges."""
        n = len(self.scores)
        if n and np.asarray(self.labels).dtype.kind not in "iu":
            raise SensorError("detections: labels must be whole numbers")
        for name, axes in _PER_BOX.items():
            value = _frozen(getattr(self, name), np.int64 if name == "labels" else np.float32)
            if value.shape != (n, *axes):
                raise SensorError(f"detections: {name} must be {(n, *axes)}, got {value.shape}")
            is_bad = np.isinf(value) if name == "velocity_mps" else ~np.isfinite(value)
            if is_bad.any():
                raise SensorError(f"detections: {name} holds a value that is not finite")
            object.__setattr__(self, name, value)
        if n and (self.size_m.min() <= 0 or self.scores.min() < 0 or self.scores.max() > 1):
            raise SensorError("detections: sizes must be positive and scores within 0..1")
        if n and (self.labels.min() < 0 or self.labels.max() >= len(self.class_names)):
            raise SensorError(f"detections: a label is outside 0..{len(self.class_names) - 1}")
        gates = {name: _frozen(gate, np.float32) for name, gate in self.reliability.items()}
        object.__setattr__(self, "reliability", MappingProxyType(gates))
        object.__setattr__(self, "stage_ms", MappingProxyType(dict(self.stage_ms)))

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.class_names[label] for label in self.labels]

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        """Return the boxes of a mask or of indices, in that order; the rest is kept."""
        return replace(self, **{name: getattr(self, name)[keep] for name in _PER_BOX})
