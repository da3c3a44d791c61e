# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras and radars -> facts, message by message. No ROS in here."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.encoded_image import check_encoded
from imkd_core.errors import CalibrationError, ImkdError
from imkd_core.geometry import Float64
from imkd_core.health import radar as radar_health
from imkd_core.types import CameraModel
from imkd_ros.bridge.calibration import intrinsics_from_camera_info
from imkd_ros.bridge.convert import admit_image, stamp_ns, to_radar_scan
from imkd_ros.bridge.point_cloud2 import bytes_of, view_fields
from imkd_ros.bridge.sensors import RadarSource
from imkd_ros.doctor.facts import CameraFacts, RadarFacts

#: Different sizes or reasons of one sensor that are told; a broken driver must not fill memory.
_MOST_KINDS = 8

#: Scans of a radar whose returns are kept for percentiles.
_KEPT_SCANS = 500

_PERCENTILES = (5, 50, 95)
_NOTHING = (float("nan"), float("nan"), float("nan"))


class CameraLog:
    """Gathers what a camera's messages say.

    Args:
        sensor: name of the camera.
        is_rectified: see `CameraSource`.
    """

    def __init__(self, sensor: str, is_rectified: bool) -> None:
        self._sensor, self._is_rectified = sensor, is_rectified
        self._model: CameraModel | None = None
        self._info_frame = self._info_refusal = ""
        self._sizes_px: dict[tuple[int, int], None] = {}
        self._refusals: Counter[str] = Counter()

    def on_info(self, message: Any) -> None:
        """Take in a CameraInfo."""
        try:
            found = intrinsics_from_camera_info(message, self._sensor, self._is_rectified)
        except CalibrationError as error:
            self._info_refusal = str(error)
            return
        self._model, self._info_frame = found.model, found.frame_id

    def on_image(self, message: Any) -> bool:
        """Take in an Image or a CompressedImage; its pixels are not decoded.

        Returns:
            Whether the node would take it, as far as its header tells.
        """
        try:
            size_px = self._size_px(message)
        except ImkdError as error:
            _count(self._refusals, str(error))
            return False
        if len(self._sizes_px) < _MOST_KINDS:
            self._sizes_px[size_px] = None
        return True

    def facts(self) -> CameraFacts:
        """Return what was said."""
        return CameraFacts(
            model=self._model,
            info_frame=self._info_frame,
            info_refusal=self._info_refusal,
            sizes_px=tuple(self._sizes_px),
            refusals=dict(self._refusals),
        )

    def _size_px(self, message: Any) -> tuple[int, int]:
        if hasattr(message, "encoding"):
            admit_image(message, self._sensor)
            return int(message.width), int(message.height)
        stamp_ns(message.header, self._sensor)
        data = bytes_of(message.data, f"camera '{self._sensor}'")
        encoded = check_encoded(data, self._sensor)
        return encoded.width_px, encoded.height_px


class RadarLog:
    """Gathers what a radar's scans say.

    Args:
        sensor: name of the radar.
        source: how its scans are read.
    """

    def __init__(self, sensor: str, source: RadarSource) -> None:
        self._sensor, self._source = sensor, source
        self._fields: tuple[str, ...] = ()
        self._counts: list[tuple[int, int]] = []
        self._raw: list[Float64] = []
        self._dropped: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._health = radar_health.RadarState()
        self._settings = radar_health.RadarSettings()

    def on_scan(self, message: Any) -> None:
        """Take in a PointCloud2; velocities are looked at as the driver gives them."""
        self._fields = tuple(str(item.name) for item in message.fields)
        try:
            scan = to_radar_scan(message, self._sensor, self._source, np.zeros(3))
            raw = raw_returns(message, self._sensor, self._source)
        except ImkdError as error:
            _count(self._refusals, str(error))
            return
        if len(self._raw) < _KEPT_SCANS:
            self._raw.append(raw)
        self._counts.append((len(raw), len(scan.cloud.points)))
        self._dropped.update(scan.dropped)
        self._health = radar_health.advance(
            self._health, scan.cloud.stamp_ns, scan.cloud.points, self._settings
        )

    def facts(self) -> RadarFacts:
        """Return what was said."""
        raw = np.concatenate([np.zeros((0, 4)), *self._raw])
        raw = raw[np.isfinite(raw[:, :2]).all(axis=1)]
        counts = np.array(self._counts, dtype=np.int64).reshape(-1, 2)
        range_m, azimuth = np.hypot(raw[:, 0], raw[:, 1]), np.arctan2(raw[:, 1], raw[:, 0])
        edges = np.percentile(azimuth, (1, 99)).tolist() if len(azimuth) else _NOTHING[:2]
        return RadarFacts(
            fields=self._fields,
            returns=counts[:, 0],
            kept=counts[:, 1],
            range_m=_percentiles(range_m),
            speed_mps=_percentiles(np.abs(raw[:, 2])),
            rcs_dbsm=_percentiles(raw[:, 3]),
            azimuth_rad=(edges[0], edges[1]),
            dropped=dict(self._dropped),
            refusals=dict(self._refusals),
            faults=dict(self._health.faults),
        )


def raw_returns(message: Any, sensor: str, source: RadarSource) -> Float64:
    """Return (N, 4) x, y, radial speed and cross-section as the fields say them, none left out.

    Args:
        message: a PointCloud2.
        sensor: name of the radar.
        source: names of the fields; speeds are scaled by its `velocity_scale`.

    Raises:
        SensorError: the fields are not there, or the message is malformed.
    """
    fields = source.fields
    names = sorted({name for name in asdict(fields).values() if name})
    columns = view_fields(message, names, f"radar '{sensor}'", source.max_points)
    found = np.zeros((len(columns[fields.x]), 4))
    found[:, 0], found[:, 1] = columns[fields.x], columns[fields.y]
    if fields.rcs:
        found[:, 3] = columns[fields.rcs]
    if fields.radial:
        found[:, 2] = columns[fields.radial]
    else:
        vx, vy = columns[fields.vx].astype(np.float64), columns[fields.vy].astype(np.float64)
        range_m = np.hypot(found[:, 0], found[:, 1])
        along = vx * found[:, 0] + vy * found[:, 1]
        found[:, 2] = np.divide(along, range_m, out=np.zeros(len(found)), where=range_m > 0)
    found[:, 2] *= source.velocity_scale
    return found


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return _NOTHING
    low, middle, high = np.percentile(finite, _PERCENTILES).tolist()
    return low, middle, high


def _count(counter: Counter[str], reason: str) -> None:
    if reason in counter or len(counter) < _MOST_KINDS:
        counter[reason] += 1
