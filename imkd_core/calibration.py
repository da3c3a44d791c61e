# SPDX-License-Identifier: Apache-2.0
"""Calibration of a vehicle's sensors. Everybody imports these values from `imkd_core.types`.

They are frozen and checked once, on construction; lengths are metres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from imkd_core.errors import CalibrationError
from imkd_core.geometry import Float64, checked_transform, numbers

#: Distortion models of sensor_msgs/CameraInfo that the camera model understands, with the
#: numbers of coefficients each may have.
DISTORTION_MODELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"none": (0,), "plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
)

#: Longest side of an image, and how many times longer than the other it may be.
MAX_SIDE_PX, MAX_ASPECT = 65_535, 32

#: Focal lengths lie in this range, the other entries of the matrix within +- its end.
FOCAL_RANGE_PX = (1e-2, 1e6)

#: No lens has a larger distortion coefficient.
MAX_COEFFICIENT = 1e6


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
        k = numbers(self.pixel_from_cam, "camera intrinsics")
        self._check_size()
        is_pinhole = k.shape == (3, 3) and np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0
        if not is_pinhole or k[1, 0] != 0 or k[2].tolist() != [0, 0, 1]:
            raise CalibrationError(
                "camera intrinsics must be a finite (3, 3) matrix with fx, fy > 0 and the last row "
                f"0 0 1, got {k.tolist()}; publish a calibrated CameraInfo (K all zeros means "
                "uncalibrated)"
            )
        shortest_px, longest_px = FOCAL_RANGE_PX
        if min(k[0, 0], k[1, 1]) < shortest_px or np.abs(k).max() > longest_px:
            raise CalibrationError(
                f"camera intrinsics {k.tolist()} are no camera's: focal lengths are "
                f"{shortest_px:g}..{longest_px:g} px, and no entry is larger; publish a calibrated "
                "CameraInfo, in pixels"
            )
        self._check_distortion()
        k.flags.writeable = False
        object.__setattr__(self, "pixel_from_cam", k)
        object.__setattr__(
            self, "ego_from_cam", checked_transform(self.ego_from_cam, "ego_from_cam")
        )

    def _check_size(self) -> None:
        shorter, longer = sorted((self.width_px, self.height_px))
        if shorter < 1:
            raise CalibrationError(
                f"camera image size {self.width_px} x {self.height_px} px is empty; "
                "CameraInfo must carry the width and height of the calibrated image"
            )
        if longer > min(MAX_SIDE_PX, MAX_ASPECT * shorter):
            raise CalibrationError(
                f"camera image size {self.width_px} x {self.height_px} px is no camera's: a side "
                f"has at most {MAX_SIDE_PX} px and {MAX_ASPECT} times those of the other; "
                "CameraInfo must carry the width and height of the calibrated image"
            )

    def _check_distortion(self) -> None:
        coefficients = tuple(float(value) for value in self.distortion)
        allowed = DISTORTION_MODELS.get(self.distortion_model)
        if allowed is None:
            raise CalibrationError(
                f"unknown distortion model '{self.distortion_model}'; use one of "
                f"{', '.join(DISTORTION_MODELS)}"
            )
        is_small = all(abs(value) <= MAX_COEFFICIENT for value in coefficients)  # False for NaN
        if len(coefficients) not in allowed or not is_small:
            raise CalibrationError(
                f"distortion model '{self.distortion_model}' takes {allowed} finite coefficients "
                f"within +-{MAX_COEFFICIENT:g}, got {coefficients}"
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
