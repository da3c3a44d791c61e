# SPDX-License-Identifier: Apache-2.0
"""Sensor messages -> values of imkd_core. No ROS in here: messages are read by their fields.

rclpy's messages and those of the library rosbags serve alike. Whatever a message claims about
itself is checked before any of its bytes are touched. `convert_out` is the way back.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.encoded_image import MAX_PIXELS, check_encoded, decode_pixels
from imkd_core.errors import SensorError
from imkd_core.geometry import Float64
from imkd_core.types import RADAR_FIELDS, CameraImage, RadarCloud
from imkd_ros.bridge.decoding import PendingImage
from imkd_ros.bridge.point_cloud2 import bytes_of, view_fields
from imkd_ros.bridge.sensors import RadarSource

#: Encoding -> bytes a pixel, and OpenCV's conversion to RGB (None: it is RGB). OpenCV names a
#: Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
ENCODINGS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {
        "rgb8": (3, None),
        "bgr8": (3, cv2.COLOR_BGR2RGB),
        "rgba8": (4, cv2.COLOR_RGBA2RGB),
        "bgra8": (4, cv2.COLOR_BGRA2RGB),
        "mono8": (1, cv2.COLOR_GRAY2RGB),
        "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
        "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
        "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
        "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
        "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
        "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
        "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
        "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    }
)

#: Encodings that come in pairs of columns; the Bayer ones in pairs of rows as well.
_PAIRED = ("yuv", "uyvy", "yuyv", "bayer")

#: Returns beyond these are a driver's fault, not an object: metres, metres a second, dBsm, seconds.
MAX_RANGE_M, MAX_SPEED_MPS, MAX_RCS_DBSM, MAX_AGE_S = 1000.0, 150.0, 100.0, 10.0

#: A LiDAR sweep with more points is refused.
MAX_LIDAR_POINTS = 2_000_000


class RadarScan(NamedTuple):
    """A scan and what was left out of it.

    Attributes:
        cloud: the returns that are kept.
        dropped: reason ("not finite", "implausible", "filtered") -> number of returns.
    """

    cloud: RadarCloud
    dropped: Mapping[str, int]


def stamp_ns(header: Any, sensor: str) -> int:
    """Return a header's stamp in nanoseconds.

    Raises:
        SensorError: it is zero, negative, or has a billion nanoseconds or more.
    """
    seconds, nanoseconds = int(header.stamp.sec), int(header.stamp.nanosec)
    if seconds < 0 or not 0 <= nanoseconds < 1_000_000_000 or seconds + nanoseconds == 0:
        raise SensorError(
            f"sensor '{sensor}': header.stamp of {seconds} s and {nanoseconds} ns is not a time; "
            "the driver must stamp its messages with the time of measurement"
        )
    return seconds * 1_000_000_000 + nanoseconds


def to_camera_image(message: Any, sensor: str, stamp_offset_ns: int = 0) -> CameraImage:
    """Return a `sensor_msgs/Image` as RGB; see `admit_image`.

    Raises:
        SensorError: as by `admit_image`.
    """
    return admit_image(message, sensor, stamp_offset_ns).image()


def to_camera_image_compressed(
    message: Any, sensor: str, target_width_px: int | None = None, stamp_offset_ns: int = 0
) -> CameraImage:
    """Return a `sensor_msgs/CompressedImage` (JPEG or PNG) as RGB; see `admit_compressed`.

    Raises:
        SensorError: data that are not a whole JPEG or PNG image, or an impossible stamp.
    """
    return admit_compressed(message, sensor, target_width_px, stamp_offset_ns).image()


def admit_image(
    message: Any,
    sensor: str,
    stamp_offset_ns: int = 0,
    on_refusal: Callable[[str], None] | None = None,
) -> PendingImage:
    """Check a `sensor_msgs/Image`; it becomes RGB later, rgb8 at once and without a copy.

    Args:
        message: the image; rows may be longer than their pixels (`step`). Its bytes are kept.
        sensor: name of the camera.
        stamp_offset_ns: added to the stamp.
        on_refusal: see `PendingImage`.

    Raises:
        SensorError: an encoding that is not in `ENCODINGS`, sizes that do not fit the data or
            each other, an empty or absurdly large image, or an impossible stamp.
    """
    stamp = stamp_ns(message.header, sensor) + stamp_offset_ns
    height, width, step = int(message.height), int(message.width), int(message.step)
    pixel_bytes, conversion = _checked_encoding(message, sensor)
    data = bytes_of(message.data, f"camera '{sensor}'")[: height * step]
    rows = data.reshape(height, step)[:, : width * pixel_bytes]
    raw = rows if pixel_bytes == 1 else rows.reshape(height, width, pixel_bytes)
    pending = PendingImage(sensor, stamp, partial(_to_rgb, raw, conversion), on_refusal)
    if conversion is None:
        pending.settle(wait=True)
    return pending


def admit_compressed(
    message: Any,
    sensor: str,
    target_width_px: int | None = None,
    stamp_offset_ns: int = 0,
    on_refusal: Callable[[str], None] | None = None,
) -> PendingImage:
    """Check header and length of a `sensor_msgs/CompressedImage` (JPEG or PNG).

    What it is, is judged by its bytes; `format` is not believed.

    Args:
        message: the image; its bytes are kept until they are decoded.
        sensor: name of the camera.
        target_width_px: see `imkd_core.imaging.decode_jpeg`.
        stamp_offset_ns: added to the stamp.
        on_refusal: see `PendingImage`; for data that are corrupt behind a good header.

    Raises:
        SensorError: not a whole JPEG or PNG image by its header and length, or an impossible
            stamp.
    """
    stamp = stamp_ns(message.header, sensor) + stamp_offset_ns
    data = bytes_of(message.data, f"camera '{sensor}'")
    encoded = check_encoded(data, sensor, target_width_px)
    return PendingImage(sensor, stamp, partial(decode_pixels, encoded), on_refusal)


def _to_rgb(raw: NDArray[np.uint8], conversion: int | None) -> NDArray[np.uint8]:
    pixels = raw if conversion is None else cv2.cvtColor(raw, conversion)
    return np.asarray(pixels, dtype=np.uint8)


def to_radar_scan(
    message: Any,
    sensor: str,
    source: RadarSource,
    radar_velocity_mps: ArrayLike | None = None,
    stamp_offset_ns: int = 0,
) -> RadarScan:
    """Return a radar's `sensor_msgs/PointCloud2`, with its velocities over ground.

    Args:
        message: the scan.
        sensor: name of the radar.
        source: names and units of the fields, returns to keep, cap of points.
        radar_velocity_mps: (3,) velocity of the radar itself over ground, in its own frame;
            needed where `source.velocity_is_compensated` is false.
        stamp_offset_ns: added to the stamp.

    Raises:
        SensorError: the message does not hold the fields or is malformed, an impossible stamp,
            or own motion is in the velocities and not known.
    """
    stamp = stamp_ns(message.header, sensor) + stamp_offset_ns
    if not source.velocity_is_compensated and radar_velocity_mps is None:
        raise SensorError(
            f"radar '{sensor}': its velocities hold the vehicle's own motion, which is not known; "
            "start the odometry, or set velocity_is_compensated if the driver takes it out"
        )
    columns = view_fields(message, source.needed_fields, f"radar '{sensor}'", source.max_points)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped below
        points = _radar_points(columns, source)
        if radar_velocity_mps is not None and not source.velocity_is_compensated:
            points[:, 4:6] = _over_ground(points, radar_velocity_mps)
    is_wanted = np.ones(len(points), dtype=np.bool_)
    for name, values in source.keep.items():
        is_wanted &= _is_one_of(columns[name], values)
    is_finite = np.isfinite(points).all(axis=1)
    is_plausible = is_finite & _is_plausible(points)
    dropped = {
        "not finite": int((~is_finite).sum()),
        "implausible": int((is_finite & ~is_plausible).sum()),
        "filtered": int((is_plausible & ~is_wanted).sum()),
    }
    kept = points[is_wanted & is_plausible].astype(np.float32)
    cloud = RadarCloud(sensor=sensor, stamp_ns=stamp, points=kept)
    return RadarScan(cloud, {reason: n for reason, n in dropped.items() if n})


def to_lidar_points(
    message: Any, sensor: str, intensity_scale: float = 1.0, max_points: int = MAX_LIDAR_POINTS
) -> NDArray[np.float32]:
    """Return the points of a LiDAR's `sensor_msgs/PointCloud2`, as a nuScenes file holds them.

    Args:
        message: the sweep, with x, y, z and, where there are such, intensity and ring.
        sensor: name of the LiDAR.
        intensity_scale: intensities times this are 0..255.
        max_points: larger clouds are refused.

    Returns:
        (N, 5) float32: x, y, z (metres, LiDAR frame), intensity cut to 0..255 and ring, both 0
        where they are not told. Points that are not finite (no echo) are left out.

    Raises:
        SensorError: the message is malformed.
    """
    told = {item.name for item in message.fields} & {"intensity", "ring"}
    columns = view_fields(message, ["x", "y", "z", *sorted(told)], f"LiDAR '{sensor}'", max_points)
    points = np.zeros((len(columns["x"]), 5), dtype=np.float64)
    # Beyond float32 is as little an echo as infinity, or as a NaN that signals.
    with np.errstate(over="ignore", invalid="ignore"):
        for i, name in enumerate(("x", "y", "z", "intensity", "ring")):
            if name in columns:
                points[:, i] = columns[name]
        points[:, 3] = np.clip(points[:, 3] * intensity_scale, 0.0, 255.0)
        found = points.astype(np.float32)
    return found[np.isfinite(found).all(axis=1)]


def _checked_encoding(message: Any, sensor: str) -> tuple[int, int | None]:
    """Return bytes a pixel and the conversion; refuse what does not fit, before any copy."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    encoding = str(message.encoding).lower()
    if encoding not in ENCODINGS:
        raise SensorError(
            f"camera '{sensor}': encoding '{str(message.encoding)[:40]}' is not supported; set the "
            f"driver to one of {', '.join(ENCODINGS)}"
        )
    if not 0 < width * height <= MAX_PIXELS:
        raise SensorError(
            f"camera '{sensor}': image of {width} x {height} px refused; 1 to {MAX_PIXELS} pixels "
            "are accepted"
        )
    pixel_bytes, conversion = ENCODINGS[encoding]
    is_bayer = encoding.startswith("bayer")
    if (encoding.startswith(_PAIRED) and width % 2) or (is_bayer and (height % 2 or height < 4)):
        raise SensorError(
            f"camera '{sensor}': {encoding} needs even sides, got {width} x {height} px"
        )
    if step < width * pixel_bytes or len(message.data) != step * height:
        raise SensorError(
            f"camera '{sensor}': {len(message.data)} bytes in {height} rows of step {step} do not "
            f"hold {width} x {height} px of {pixel_bytes} bytes; the message is cut off or its "
            "size fields are wrong"
        )
    return pixel_bytes, conversion


def _radar_points(columns: Mapping[str, NDArray[Any]], source: RadarSource) -> Float64:
    """Return (N, 7) with columns `RADAR_FIELDS`; velocities as the radar measured them."""
    fields = source.fields
    points = np.zeros((len(columns[fields.x]), len(RADAR_FIELDS)))
    for column, name in enumerate((fields.x, fields.y, fields.z, fields.rcs)):
        if name:
            points[:, column] = columns[name]
    if fields.age:
        points[:, 6] = columns[fields.age]
    if fields.radial:
        speed_mps = columns[fields.radial].astype(np.float64) * source.velocity_scale
        points[:, 4:6] = speed_mps[:, None] * _line_of_sight(points)[:, :2]
    else:
        for column, name in ((4, fields.vx), (5, fields.vy)):
            points[:, column] = columns[name].astype(np.float64) * source.velocity_scale
    return points


def _is_one_of(column: NDArray[Any], values: Sequence[int]) -> NDArray[np.bool_]:
    """Return `np.isin` of a short list, which takes a tenth of its time for a radar's returns."""
    found = np.zeros(len(column), dtype=np.bool_)
    for value in values:
        found |= column == value
    return found


def _line_of_sight(points: Float64) -> Float64:
    """Return (N, 3) unit vectors from the radar to each return; NaN for one at the radar."""
    range_m = np.linalg.norm(points[:, :3], axis=1, keepdims=True)
    lines: Float64 = np.divide(
        points[:, :3], range_m, out=np.full((len(points), 3), np.nan), where=range_m > 0
    )
    return lines


def _over_ground(points: Float64, radar_velocity_mps: ArrayLike) -> Float64:
    """Return (N, 2) radial velocities over ground from those that the moving radar measured.

    Across the line of sight a radar measures nothing: what a driver gives there (nuScenes' vx and
    vy: the radar's own motion) is not kept.
    """
    lines = _line_of_sight(points)
    across = np.stack([-lines[:, 1], lines[:, 0]], axis=1)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    own_mps = lines @ np.asarray(radar_velocity_mps, dtype=np.float64).reshape(3)
    measured_across = (points[:, 4:6] * across).sum(axis=1, keepdims=True) * across
    over_ground: Float64 = points[:, 4:6] - measured_across + own_mps[:, None] * lines[:, :2]
    return over_ground


def _is_plausible(points: Float64) -> NDArray[np.bool_]:
    plausible: NDArray[np.bool_] = (
        (np.abs(points[:, :3]).max(axis=1, initial=0) <= MAX_RANGE_M)
        & (np.abs(points[:, 4:6]).max(axis=1, initial=0) <= MAX_SPEED_MPS)
        & (np.abs(points[:, 3]) <= MAX_RCS_DBSM)
        & (np.abs(points[:, 6]) <= MAX_AGE_S)
    )
    return plausible
