# SPDX-License-Identifier: Apache-2.0
"""CameraInfo and TF -> the rig in force. No ROS in here: messages are read by their fields.

Calibration may come late, and may change at any time: `CalibrationStore.refresh` makes a new
`SensorRig` when a number changed and keeps the old object when none did. A sensor that lacks
something is left out of the rig, with the reason and the remedy in `missing`.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from imkd_core.errors import CalibrationError
from imkd_core.geometry import Float64
from imkd_core.runtime.transform_tree import TransformTree
from imkd_core.types import CameraModel, SensorRig
from imkd_ros.bridge.sensors import SensorSet

#: Names that drivers use for distortion models, and ours.
_MODEL_NAMES = MappingProxyType(
    {
        "": "none",
        "none": "none",
        "plumb_bob": "plumb_bob",
        "rational_polynomial": "rational_polynomial",
        "equidistant": "equidistant",
        "fisheye": "equidistant",
    }
)


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """What one CameraInfo says: a camera model that still lacks its pose.

    Attributes:
        frame_id: optical frame that the message names.
        model: the camera, at the origin of its own frame.
    """

    frame_id: str
    model: CameraModel

    def placed(self, ego_from_cam: Float64) -> CameraModel:
        """Return the camera at a pose in the ego frame."""
        return CameraModel(
            width_px=self.model.width_px,
            height_px=self.model.height_px,
            pixel_from_cam=self.model.pixel_from_cam,
            ego_from_cam=ego_from_cam,
            distortion_model=self.model.distortion_model,
            distortion=self.model.distortion,
        )


def intrinsics_from_camera_info(info: Any, sensor: str, is_rectified: bool = False) -> Intrinsics:
    """Read a `sensor_msgs/CameraInfo` (REP-104), with its binning and region of interest.

    Args:
        info: the message.
        sensor: name of the camera, for messages.
        is_rectified: the images are rectified: P holds, K and D do not.

    Raises:
        CalibrationError: a number is missing or impossible; the message names the sensor.
    """
    try:
        pixel_from_cam = (
            np.asarray(info.p, dtype=np.float64).reshape(3, 4)[:, :3]
            if is_rectified
            else np.asarray(info.k, dtype=np.float64).reshape(3, 3)
        )
        offset_px, size_px = _region(info)
        binning = np.array([max(int(info.binning_x), 1), max(int(info.binning_y), 1)])
        model_name, distortion = _distortion(info, is_rectified)
        width_px, height_px = (size_px // binning).tolist()
        model = CameraModel(
            width_px=width_px,
            height_px=height_px,
            pixel_from_cam=_binned(pixel_from_cam, offset_px, binning),
            ego_from_cam=np.eye(4),
            distortion_model=model_name,
            distortion=distortion,
        )
    except (ValueError, TypeError, CalibrationError) as error:
        raise CalibrationError(f"CameraInfo of '{sensor}' refused: {error}") from None
    return Intrinsics(frame_id=str(info.header.frame_id), model=model)


def _region(info: Any) -> tuple[Any, Any]:
    """Return offset and size (x, y) of the region of interest, in unbinned pixels."""
    roi = info.roi
    if roi.width == 0 or roi.height == 0:
        return np.zeros(2), np.array([int(info.width), int(info.height)])
    end_px = (int(roi.x_offset) + int(roi.width), int(roi.y_offset) + int(roi.height))
    if end_px[0] > info.width or end_px[1] > info.height:
        raise CalibrationError(
            f"its region of interest ends at {end_px}, outside {info.width} x {info.height} px"
        )
    return (
        np.array([float(roi.x_offset), float(roi.y_offset)]),
        np.array([int(roi.width), int(roi.height)]),
    )


def _binned(pixel_from_cam: Float64, offset_px: Any, binning: Any) -> Float64:
    """Return the matrix of the image that is really sent; half pixels kept right."""
    scale = np.diag([1.0 / binning[0], 1.0 / binning[1], 1.0])
    scale[:2, 2] = (0.5 - offset_px) / binning - 0.5
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite then is refused
        matrix: Float64 = scale @ pixel_from_cam
    return matrix


def _distortion(info: Any, is_rectified: bool) -> tuple[str, tuple[float, ...]]:
    coefficients = tuple(float(value) for value in info.d)
    if is_rectified or (not coefficients and info.distortion_model in ("", "plumb_bob")):
        return "none", ()
    name = _MODEL_NAMES.get(info.distortion_model, info.distortion_model)
    return name, () if name == "none" and not any(coefficients) else coefficients


class CalibrationStore:
    """Gathers intrinsics and extrinsics and makes the rig of what is complete."""

    def __init__(self, sensors: SensorSet, tree: TransformTree, base_frame: str) -> None:
        self._sensors = sensors
        self._tree = tree
        self._base_frame = base_frame
        self._infos: dict[str, tuple[object, ...]] = {}
        self._intrinsics: dict[str, Intrinsics] = {}
        frames = {name: camera.frame_id for name, camera in sensors.cameras.items()}
        frames |= {name: radar.frame_id for name, radar in sensors.radars.items()}
        self._frames = {name: frame for name, frame in frames.items() if frame}
        self._rig = SensorRig(cameras={}, radars={})
        self._missing: dict[str, str] = {}
        self._told = 0
        self._settled: tuple[int, int] | None = None

    @property
    def rig(self) -> SensorRig:
        """The rig in force; holds the sensors that are completely calibrated."""
        return self._rig

    @property
    def missing(self) -> MappingProxyType[str, str]:
        """Sensor -> what is missing and what to start."""
        return MappingProxyType(self._missing)

    def on_camera_info(self, sensor: str, info: Any) -> None:
        """Take in a CameraInfo; an unchanged one costs next to nothing.

        Raises:
            CalibrationError: the message is impossible; the last good one stays in force.
        """
        fingerprint = _fingerprint(info)
        if self._infos.get(sensor) == fingerprint:
            return
        is_rectified = self._sensors.cameras[sensor].is_rectified
        intrinsics = intrinsics_from_camera_info(info, sensor, is_rectified)
        self._infos[sensor] = fingerprint
        self._intrinsics[sensor] = intrinsics
        self._told += 1
        if not self._sensors.cameras[sensor].frame_id:
            self._frames[sensor] = intrinsics.frame_id

    def on_radar_frame(self, sensor: str, frame_id: str) -> None:
        """Take in the frame that a radar's scans name, unless the sensor file names one."""
        if not self._sensors.radars[sensor].frame_id and self._frames.get(sensor) != frame_id:
            self._frames[sensor] = frame_id
            self._told += 1

    def refresh(self) -> str:
        """Bring the rig up to date; costs next to nothing where nothing can have changed.

        Returns:
            One line that says what changed; empty where nothing did.
        """
        version = (self._told, self._tree.revision)
        if version == self._settled:
            return ""
        is_fixed = all(self._tree.is_fixed(self._base_frame, f) for f in self._frames.values())
        self._settled = version if is_fixed else None
        self._missing = {}
        cameras = {}
        for name in self._sensors.cameras:
            pose = self._pose(name)
            if pose is not None and name in self._intrinsics:
                cameras[name] = self._intrinsics[name].placed(pose)
        radars = {}
        for name in self._sensors.radars:
            pose = self._pose(name)
            if pose is not None:
                radars[name] = pose
        rig = SensorRig(cameras=cameras, radars=radars)
        if rig.same_as(self._rig):
            return ""
        text = _difference(self._rig, rig)
        self._rig = rig
        return text

    def _pose(self, name: str) -> Float64 | None:
        """Return `ego_from_sensor`, or None with the reason filed under `missing`."""
        source = self._sensors.cameras.get(name)
        if source is not None and name not in self._intrinsics:
            self._missing[name] = (
                f"no usable CameraInfo on {source.camera_info}; start the camera's driver with "
                "its calibration, or correct the topic in the sensor file"
            )
            return None
        frame = self._frames.get(name, "")
        if not frame:
            self._missing[name] = (
                "no scan has said its frame_id yet; start the radar's driver, or name frame_id "
                "in the sensor file"
                if source is None
                else "its CameraInfo has an empty frame_id; mend the driver, or name frame_id in "
                "the sensor file"
            )
            return None
        try:
            return self._tree.lookup(self._base_frame, frame, None)
        except CalibrationError as error:
            self._missing[name] = (
                f"no transform {self._base_frame} <- {frame} ({error}); start the vehicle "
                "description that publishes it on /tf_static, or set base_frame"
            )
            return None


def _fingerprint(info: Any) -> tuple[object, ...]:
    roi = info.roi
    return (
        info.header.frame_id,
        info.width,
        info.height,
        info.distortion_model,
        np.asarray(info.d, dtype=np.float64).tobytes(),
        np.asarray(info.k, dtype=np.float64).tobytes(),
        np.asarray(info.p, dtype=np.float64).tobytes(),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def _difference(old: SensorRig, new: SensorRig) -> str:
    """Say in one line which sensors came, went or changed."""
    before: dict[str, CameraModel | Float64] = {**old.cameras, **old.radars}
    after: dict[str, CameraModel | Float64] = {**new.cameras, **new.radars}
    changed = [name for name in after if name in before and not _same(before[name], after[name])]
    parts = (
        ("calibrated", [name for name in after if name not in before]),
        ("changed", changed),
        ("lost", [name for name in before if name not in after]),
    )
    words = "; ".join(f"{verb}: {', '.join(names)}" for verb, names in parts if names)
    return f"rig rebuilt ({words})"


def _same(first: CameraModel | Float64, second: CameraModel | Float64) -> bool:
    if isinstance(first, CameraModel) and isinstance(second, CameraModel):
        return first.same_as(second)
    return np.array_equal(first, second)  # type: ignore[arg-type]
