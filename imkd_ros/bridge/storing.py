# SPDX-License-Identifier: Apache-2.0
"""One message of a sensor -> the content of its file in a data set. No ROS in here."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.data.bags.recorded_scene import Mount
from imkd_core.data.point_writing import to_radar_records, write_lidar_bin, write_radar_pcd
from imkd_core.errors import SensorError
from imkd_core.evaluation.results import write_atomic
from imkd_core.geometry import Float64
from imkd_ros.bridge.convert import (
    to_camera_image,
    to_camera_image_compressed,
    to_lidar_points,
    to_radar_scan,
)
from imkd_ros.bridge.point_cloud2 import bytes_of
from imkd_ros.bridge.sensors import RadarSource

JPEG_QUALITY = 95

_PNG_MAGIC = b"\x89PNG"


class FileContent(NamedTuple):
    """What is stored of one message.

    Attributes:
        data: bytes of an image, records of a radar scan, or (N, 5) points of a LiDAR.
        suffix: of the file's name.
        points: (N, 3) metres, in the sensor's frame; none of an image.
    """

    data: NDArray[Any] | bytes
    suffix: str
    points: NDArray[np.float32]


def image_content(message: Any, mount: Mount, lossless: bool) -> FileContent:
    """Return an image's own bytes, or those of a raw one as JPEG of quality 95, or as PNG.

    Raises:
        SensorError: no image, or one of another size than the calibration's.
    """
    nothing = np.zeros((0, 3), np.float32)
    if not hasattr(message, "encoding"):
        _check_size(to_camera_image_compressed(message, mount.channel).pixels, mount)
        raw = bytes_of(message.data, mount.channel).tobytes()
        return FileContent(raw, "png" if raw.startswith(_PNG_MAGIC) else "jpg", nothing)
    pixels = to_camera_image(message, mount.channel).pixels
    _check_size(pixels, mount)
    suffix = "png" if lossless else "jpg"
    how = [] if lossless else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = cv2.imencode(f".{suffix}", np.ascontiguousarray(pixels[..., ::-1]), how)[1]
    return FileContent(encoded.tobytes(), suffix, nothing)


def radar_content(
    message: Any, mount: Mount, source: RadarSource, velocity_mps: Float64 | None
) -> FileContent:
    """Return the returns of a scan that the sensor file keeps, velocities over ground.

    Args:
        message: the scan.
        mount: the radar.
        source: how it is read.
        velocity_mps: (3,) of the radar itself, in its frame; None where it is not known.

    Raises:
        SensorError: the message is malformed, or own motion is needed and not known.
    """
    cloud = to_radar_scan(message, mount.channel, source, velocity_mps).cloud
    return FileContent(to_radar_records(cloud), "pcd", cloud.points[:, :3])


def lidar_content(message: Any, mount: Mount, intensity_scale: float) -> FileContent:
    """Return the points of a LiDAR sweep.

    Raises:
        SensorError: the message is malformed.
    """
    points = to_lidar_points(message, mount.channel, intensity_scale)
    return FileContent(points, "pcd.bin", points[:, :3])


def write_content(path: Path, content: FileContent, mount: Mount) -> None:
    """Write a sensor file; it appears under its name when it is whole.

    Raises:
        DataError: it cannot be written.
    """
    if isinstance(content.data, bytes):
        write_atomic(path, content.data)
    elif mount.modality == "lidar":
        write_lidar_bin(path, content.data)
    else:
        write_radar_pcd(path, content.data, mount.max_points)


def _check_size(pixels: NDArray[np.uint8], mount: Mount) -> None:
    camera = mount.camera
    if camera is not None and pixels.shape[:2] != (camera.height_px, camera.width_px):
        raise SensorError(
            f"camera '{mount.channel}': its images are {pixels.shape[1]} x {pixels.shape[0]} px, "
            f"its CameraInfo says {camera.width_px} x {camera.height_px}; record the CameraInfo of "
            "these images"
        )
