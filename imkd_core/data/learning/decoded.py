# SPDX-License-Identifier: Apache-2.0
"""A recorded sample as training keeps it in memory, and the memory that holds some of them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.data.changes.augmentation import visible_in
from imkd_core.data.changes.image_change import Picture, keep_picture
from imkd_core.data.changes.sensor_dropout import STALE_SCANS, RadarReturns, collect_returns
from imkd_core.data.learning.doppler import returns_in_boxes
from imkd_core.data.learning.targets import camera_points, depth_bins
from imkd_core.data.samples import HasHistory, Sample
from imkd_core.errors import DataError, SensorError
from imkd_core.geometry import Float64, transform_points
from imkd_core.imaging import fit_window
from imkd_core.preprocess import effective_cameras
from imkd_core.recipe import AugmentConfig
from imkd_core.types import CameraModel, Detections, Frame, SensorRig

#: Camera pictures older than this are not shown as stale ones.
MAX_STALE_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class LidarDepth:
    """Depth of LiDAR returns as the cameras see them.

    Attributes:
        bins: (N, Hf, Wf) int64 depth bins of the unchanged network images.
        points: camera -> (P, 3) float32 u, v (pixels of the unchanged network image), depth.
    """

    bins: NDArray[np.int64]
    points: Mapping[str, NDArray[np.float32]]

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.bins.nbytes + sum(points.nbytes for points in self.points.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedSample:
    """What training needs of a sample's files.

    Attributes:
        rig: calibration of its sensors.
        pictures: camera -> image; cameras that did not deliver are missing.
        cameras: calibration and effective pose of each camera of the rig.
        returns: of all radars.
        boxes: true objects with a LiDAR or radar return, ego frame of the reference time.
        annotation_tokens: of these boxes.
        visible: camera -> (N,) which boxes it shows.
        on_box: (N, P) which of `returns` lie on which box.
        depth: from LiDAR; None where the teachers give it, or nobody.
    """

    rig: SensorRig
    pictures: Mapping[str, Picture]
    cameras: tuple[tuple[CameraModel, Float64], ...]
    returns: RadarReturns
    boxes: Detections
    annotation_tokens: tuple[str, ...]
    visible: Mapping[str, NDArray[np.bool_]]
    on_box: NDArray[np.bool_]
    depth: LidarDepth | None

    @property
    def nbytes(self) -> int:
        """Size in memory, nearly."""
        size = sum(picture.pixels.nbytes for picture in self.pictures.values())
        size += self.on_box.nbytes
        returns = self.returns
        size += returns.points.nbytes + returns.origin_m.nbytes + returns.scan.nbytes
        return size + (self.depth.nbytes if self.depth is not None else 0)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What is read of a sample's files.

    Attributes:
        spec: what the network expects.
        is_cut_later: whether whole images are kept, for changes that zoom or turn.
        radar_scans: scans of each radar.
        with_lidar: whether depth comes from the LiDAR file.
    """

    spec: InputSpec
    is_cut_later: bool
    radar_scans: int
    with_lidar: bool

    @classmethod
    def of(cls, spec: InputSpec, augment: AugmentConfig, with_lidar: bool) -> "Decoding":
        """Return what samples need that are changed as `augment` says."""
        return cls(
            spec=spec,
            is_cut_later=augment.zoom > 0 or augment.rotation_deg > 0,
            radar_scans=spec.radar_sweeps + (STALE_SCANS if augment.stale_radar > 0 else 0),
            with_lidar=with_lidar,
        )

    @property
    def exact(self) -> "Decoding":
        """The same, with images that are the vehicle's bit by bit."""
        return replace(self, is_cut_later=False)


def decode(sample: Sample, decoding: Decoding) -> DecodedSample:
    """Read a sample's files.

    Raises:
        DataError: a file is missing or malformed, or does not fit its calibration.
    """
    spec = decoding.spec
    try:
        frame = sample.frame(decoding.radar_scans, spec.image_width_px)
        rig, truth = sample.rig, sample.truth()
        pictures = {
            name: keep_picture(image, rig.cameras[name], spec, decoding.is_cut_later)
            for name, image in frame.cameras.items()
        }
    except SensorError as error:
        raise DataError(f"sample '{sample.token}': {error}") from None
    keep = truth.num_lidar_points + truth.num_radar_points > 0
    boxes = truth.detections.select(keep)
    returns = collect_returns(frame, rig.radars)
    with_lidar = decoding.with_lidar and getattr(sample, "has_lidar", True)
    return DecodedSample(
        rig=rig,
        pictures=pictures,
        cameras=tuple(effective_cameras(frame, rig)),
        returns=returns,
        boxes=boxes,
        annotation_tokens=tuple(truth.annotation_tokens[i] for i in np.flatnonzero(keep)),
        visible=visible_in(boxes, frame, rig, spec),
        on_box=returns_in_boxes(returns, boxes),
        depth=_lidar_depth(sample, frame, spec) if with_lidar else None,
    )


def _lidar_depth(sample: Sample, frame: Frame, spec: InputSpec) -> LidarDepth:
    cloud, ego_from_lidar = sample.lidar()
    reference_from_lidar = frame.motion_at(cloud.stamp_ns) @ ego_from_lidar
    points_ego = transform_points(reference_from_lidar, cloud.points[:, :3])
    cameras = [
        (fit_window(camera, spec).pixel_from_cam, pose)
        for camera, pose in effective_cameras(frame, sample.rig)
    ]
    points = [camera_points(points_ego, *camera) for camera in cameras]
    return LidarDepth(
        bins=depth_bins(points_ego, cameras, spec),
        points=dict(zip(sample.rig.cameras, points, strict=True)),
    )


def stale_picture(
    sample: Sample, camera: str, decoding: Decoding
) -> tuple[Picture, Float64] | None:
    """Return the picture before a sample's, and the camera's effective pose then.

    None where the sample knows no earlier picture, or only one that is too old.

    Raises:
        DataError: the file is missing or malformed.
    """
    if not isinstance(sample, HasHistory):
        return None
    readings = sample.history(camera, 2)
    if len(readings) < 2 or sample.stamp_ns - readings[1].stamp_ns > MAX_STALE_NS:
        return None
    model, reading = sample.rig.cameras[camera], readings[1]
    try:
        image = reading.image(decoding.spec.image_width_px)
        picture = keep_picture(image, model, decoding.spec, decoding.is_cut_later)
    except SensorError as error:
        raise DataError(f"sample '{sample.token}': {error}") from None
    return picture, sample.reference_from_ego(reading) @ model.ego_from_cam


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


_V = TypeVar("_V", bound=_Sized)


class ByteCache(Generic[_V]):
    """The values used last, as many as fit into a number of bytes; for several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes, self._used_bytes = limit_bytes, 0
        self._values: OrderedDict[Hashable, _V] = OrderedDict()
        self._lock = Lock()

    @property
    def used_bytes(self) -> int:
        """Size of what is held."""
        return self._used_bytes

    def get(self, key: Hashable, make: Callable[[], _V]) -> _V:
        """Return the value of a key, made now unless it is held."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values and value.nbytes <= self._limit_bytes:
                self._values[key] = value
                self._used_bytes += value.nbytes
            while self._used_bytes > self._limit_bytes:
                _, oldest = self._values.popitem(last=False)
                self._used_bytes -= oldest.nbytes
        return value
