# SPDX-License-Identifier: Apache-2.0
"""The values that cross module borders: measurements, calibration, frames and detections.

All are frozen and checked once, on construction; arrays inside are read-only views, and two
values are equal only when they are the same object. Lengths are metres, angles radians, speeds
metres a second, and time is one integer of nanoseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import CalibrationError, SensorError
from imkd_core.geometry import Float64, checked_transform

#: Columns of `RadarCloud.points`. Velocity is the measured (radial) velocity over ground as a
#: vector in the radar frame, own motion already taken out; age is the time before `stamp_ns`.
RADAR_FIELDS = ("x_m", "y_m", "z_m", "rcs_dbsm", "vx_mps", "vy_mps", "age_s")

#: Columns of `LidarCloud.points`; intensity is 0..255 as nuScenes stores it.
LIDAR_FIELDS = ("x_m", "y_m", "z_m", "intensity", "ring", "age_s")

#: Distortion models of sensor_msgs/CameraInfo that the camera model understands, with the
#: numbers of coefficients each may have.
DISTORTION_MODELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"none": (0,), "plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
)

#: Stamps outside (0, this) are refused: 2106-02-07, where 32-bit seconds end.
MAX_STAMP_NS = (1 << 32) * 1_000_000_000


def _frozen(array: NDArray[np.generic], dtype: type) -> NDArray:
    """Return a read-only view (a copy only where the dtype differs)."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def _check_stamp(sensor: str, stamp_ns: int) -> None:
    if not isinstance(stamp_ns, int) or not 0 < stamp_ns < MAX_STAMP_NS:
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
        _check_stamp(self.sensor, self.stamp_ns)
        shape, dtype = np.shape(self.pixels), getattr(self.pixels, "dtype", None)
        if len(shape) != 3 or shape[2] != 3 or min(shape) < 1 or dtype != np.uint8:
            raise SensorError(
                f"camera '{self.sensor}': expected (H, W, 3) uint8 RGB, got {shape} {dtype}"
            )
        object.__setattr__(self, "pixels", _frozen(self.pixels, np.uint8))


@dataclass(frozen=True, kw_only=True, eq=False)
class RadarCloud:
    """The returns of one radar scan, or of several merged ones.

    Attributes:
        sensor: name of the radar in the rig.
        stamp_ns: time of the newest scan.
        points: (N, 7) float32 with columns `RADAR_FIELDS`, in the radar frame. N may be 0.

    Raises:
        SensorError: wrong shape, a value that is not finite, or an impossible stamp.
    """

    sensor: str
    stamp_ns: int
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shape, finiteness and stamp."""
        _check_stamp(self.sensor, self.stamp_ns)
        _check_points("radar", self.sensor, self.points, RADAR_FIELDS)
        object.__setattr__(self, "points", _frozen(self.points, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class LidarCloud:
    """The returns of one LiDAR sweep, or of several merged ones. Training only.

    Attributes:
        sensor: name of the LiDAR.
        stamp_ns: time of the newest sweep.
        points: (N, 6) float32 with columns `LIDAR_FIELDS`, in the LiDAR frame.

    Raises:
        SensorError: wrong shape, a value that is not finite, or an impossible stamp.
    """

    sensor: str
    stamp_ns: int
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shape, finiteness and stamp."""
        _check_stamp(self.sensor, self.stamp_ns)
        _check_points("lidar", self.sensor, self.points, LIDAR_FIELDS)
        object.__setattr__(self, "points", _frozen(self.points, np.float32))


def _check_points(
    kind: str, sensor: str, points: NDArray[np.float32], fields: tuple[str, ...]
) -> None:
    shape = np.shape(points)
    if len(shape) != 2 or shape[1] != len(fields):
        raise SensorError(
            f"{kind} '{sensor}': expected (N, {len(fields)}) as {fields}, got {shape}"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        raise SensorError(
            f"{kind} '{sensor}': {bad.size} of {shape[0]} points are not finite (first: row "
            f"{bad[0]}); drop them before building the cloud"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraModel:
    """Calibration of one camera.

    Attributes:
        width_px, height_px: size of the calibrated image.
        pixel_from_cam: (3, 3) intrinsic matrix for that size; the centre of the top-left pixel
            is (0, 0).
        ego_from_cam: (4, 4) rigid transform from the optical frame (x right, y down, z forward).
        distortion_model: a key of `DISTORTION_MODELS`.
        distortion: its coefficients in OpenCV's order.

    Raises:
        CalibrationError: a number is impossible; the message names it.
    """

    width_px: int
    height_px: int
    pixel_from_cam: Float64
    ego_from_cam: Float64
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the size, the intrinsic matrix, the distortion and the pose."""
        k = np.array(self.pixel_from_cam, dtype=np.float64)
        if self.width_px < 1 or self.height_px < 1:
            raise CalibrationError(
                f"camera image size {self.width_px} x {self.height_px} px is empty; "
                "CameraInfo must carry the width and height of the calibrated image"
            )
        if k.shape != (3, 3) or not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise CalibrationError(
                "camera intrinsics must be a finite (3, 3) matrix with fx, fy > 0, got "
                f"{k.tolist()}; publish a calibrated CameraInfo (K all zeros means uncalibrated)"
            )
        self._check_distortion()
        k.flags.writeable = False
        object.__setattr__(self, "pixel_from_cam", k)
        pose = checked_transform(self.ego_from_cam, "ego_from_cam")
        object.__setattr__(self, "ego_from_cam", pose)

    def _check_distortion(self) -> None:
        coefficients = tuple(float(value) for value in self.distortion)
        allowed = DISTORTION_MODELS.get(self.distortion_model)
        if allowed is None:
            raise CalibrationError(
                f"unknown distortion model '{self.distortion_model}'; use one of "
                f"{', '.join(DISTORTION_MODELS)}"
            )
        if len(coefficients) not in allowed or not np.isfinite(coefficients).all():
            raise CalibrationError(
                f"distortion model '{self.distortion_model}' takes {allowed} finite coefficients, "
                f"got {coefficients}"
            )
        object.__setattr__(self, "distortion", coefficients)

    @property
    def is_distorted(self) -> bool:
        """Whether images must be undistorted."""
        return self.distortion_model != "none" and any(self.distortion)

    def same_as(self, other: "CameraModel") -> bool:
        """Whether both calibrations are equal, number by number."""
        return (
            (self.width_px, self.height_px, self.distortion_model, self.distortion)
            == (other.width_px, other.height_px, other.distortion_model, other.distortion)
            and np.array_equal(self.pixel_from_cam, other.pixel_from_cam)
            and np.array_equal(self.ego_from_cam, other.ego_from_cam)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SensorRig:
    """Calibration of all sensors of a vehicle. The order of `cameras` is that of the model input.

    Attributes:
        cameras: name -> `CameraModel`.
        radars: name -> (4, 4) rigid transform `ego_from_radar`.

    Raises:
        CalibrationError: a transform is not rigid.
    """

    cameras: Mapping[str, CameraModel]
    radars: Mapping[str, Float64]

    def __post_init__(self) -> None:
        """Freeze the mappings and check the radar poses."""
        radars = {
            name: checked_transform(pose, f"ego_from_radar of '{name}'")
            for name, pose in self.radars.items()
        }
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))
        object.__setattr__(self, "radars", MappingProxyType(radars))

    def same_as(self, other: "SensorRig") -> bool:
        """Whether both rigs hold the same sensors, in the same order, equally calibrated."""
        return (
            tuple(self.cameras) == tuple(other.cameras)
            and tuple(self.radars) == tuple(other.radars)
            and all(self.cameras[name].same_as(other.cameras[name]) for name in self.cameras)
            and all(np.array_equal(self.radars[name], other.radars[name]) for name in self.radars)
        )


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

    Raises:
        SensorError: a reading stands under another sensor's name.
        CalibrationError: a transform is not rigid.
    """

    stamp_ns: int
    cameras: Mapping[str, CameraImage]
    radars: Mapping[str, tuple[RadarCloud, ...]]
    reference_from_ego: Mapping[int, Float64] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings; check names and transforms."""
        _check_stamp("frame", self.stamp_ns)
        readings = [(name, image.sensor) for name, image in self.cameras.items()]
        readings += [(name, c.sensor) for name, clouds in self.radars.items() for c in clouds]
        for name, sensor in readings:
            if name != sensor:
                raise SensorError(f"a reading of '{sensor}' was filed under '{name}'")
        motion = {
            stamp_ns: checked_transform(pose, f"reference_from_ego at {stamp_ns} ns")
            for stamp_ns, pose in self.reference_from_ego.items()
        }
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))
        object.__setattr__(self, "radars", MappingProxyType(dict(self.radars)))
        object.__setattr__(self, "reference_from_ego", MappingProxyType(motion))

    def motion_at(self, stamp_ns: int) -> Float64:
        """Return `reference_from_ego` of a reading's stamp; identity where it is unknown."""
        return self.reference_from_ego.get(stamp_ns, np.eye(4))


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
        shapes = {
            "center_m": (n, 3),
            "size_m": (n, 3),
            "yaw_rad": (n,),
            "velocity_mps": (n, 2),
            "scores": (n,),
            "labels": (n,),
        }
        for name, shape in shapes.items():
            value = _frozen(getattr(self, name), np.int64 if name == "labels" else np.float32)
            if value.shape != shape:
                raise SensorError(f"detections: {name} must be {shape}, got {value.shape}")
            if name != "velocity_mps" and not np.isfinite(value).all():
                raise SensorError(f"detections: {name} holds a value that is not finite")
            object.__setattr__(self, name, value)
        if n and (self.size_m.min() <= 0 or self.scores.min() < 0 or self.scores.max() > 1):
            raise SensorError("detections: sizes must be positive and scores within 0..1")
        if n and (self.labels.min() < 0 or self.labels.max() >= len(self.class_names)):
            raise SensorError(f"detections: a label is outside 0..{len(self.class_names) - 1}")
        object.__setattr__(self, "reliability", MappingProxyType(dict(self.reliability)))
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
        return Detections(
            stamp_ns=self.stamp_ns,
            class_names=self.class_names,
            center_m=self.center_m[keep],
            size_m=self.size_m[keep],
            yaw_rad=self.yaw_rad[keep],
            velocity_mps=self.velocity_mps[keep],
            scores=self.scores[keep],
            labels=self.labels[keep],
            reliability=self.reliability,
            stage_ms=self.stage_ms,
        )
