# SPDX-License-Identifier: Apache-2.0
"""From compressed bytes to network images: one kernel for training and vehicle.

A network image is a window of the scaled camera image. Distorted cameras are undistorted here,
so everything above sees a pinhole camera.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.errors import SensorError
from imkd_core.geometry import Float64
from imkd_core.types import CameraImage, CameraModel

#: Images with more pixels are refused before they are decoded (a decompression bomb is small).
MAX_PIXELS = 50_000_000

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

#: JPEG markers without a length field: TEM and the restart markers.
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
#: Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode_jpeg(
    data: bytes | memoryview | NDArray[np.uint8], sensor: str, target_width_px: int | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG image to (H, W, 3) uint8 RGB.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size (three times faster) where the result is
    still at least `target_width_px` wide and both sides divide without rest, so that pixels
    stay where the calibration says. EXIF orientation is ignored: the calibration knows none.

    Raises:
        SensorError: empty, truncated or corrupt data, another format, or more than
            `MAX_PIXELS` (judged by the header, before anything is decoded).
    """
    raw = data.tobytes() if not isinstance(data, bytes) else data
    is_jpeg = raw.startswith(_JPEG_MAGIC)
    try:
        width, height = _jpeg_size(raw) if is_jpeg else _png_size(raw)
    except (ValueError, IndexError, struct.error) as error:
        raise SensorError(
            f"camera '{sensor}': compressed image of {len(raw)} bytes refused: {error}; check the "
            "driver and the network for lost packets"
        ) from None
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise SensorError(
            f"camera '{sensor}': image of {width} x {height} px refused; 1 to {MAX_PIXELS} pixels "
            "are accepted"
        )
    reduction = _reduction(width, height, target_width_px) if is_jpeg else 1
    flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(raw, np.uint8), flags)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape != (height // reduction, width // reduction, 3):
        raise SensorError(
            f"camera '{sensor}': corrupt image data ({len(raw)} bytes); frame dropped"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _reduction(width: int, height: int, target_width_px: int | None) -> int:
    """Return the largest of 8, 4, 2, 1 that divides both sides and keeps the target width."""
    if target_width_px is None:
        return 1
    return next(
        r
        for r in (8, 4, 2, 1)
        if r == 1 or (width % r == 0 and height % r == 0 and width // r >= target_width_px)
    )


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    """Return (width, height) of a complete JPEG.

    After the first scan marker, FF is followed by 00 or a restart marker until the end marker,
    so a missing FF D9 there means a truncated file (libjpeg would fill the rest with grey).
    """
    size: tuple[int, int] | None = None
    position = 2
    while True:
        if raw[position] != 0xFF:
            raise ValueError("broken JPEG segments")
        marker = raw[position + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", raw, position + 2)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", raw, position + 5)
            size = (width, height)
        position += 2 + length
        if marker == _JPEG_SCAN:
            break
    if size is None:
        raise ValueError("a JPEG without a frame header")
    if raw.find(_JPEG_END, position) < 0:
        raise ValueError("a truncated JPEG (no end marker)")
    return size


def _png_size(raw: bytes) -> tuple[int, int]:
    """Return (width, height) of a PNG whose chunks are all there."""
    if not raw.startswith(_PNG_MAGIC):
        raise ValueError("neither JPEG nor PNG" if raw else "no data")
    width, height = struct.unpack_from(">II", raw, 16)
    position = len(_PNG_MAGIC)
    while raw[position + 4 : position + 8] != b"IEND":
        (length,) = struct.unpack_from(">I", raw, position)
        position += 12 + length
        if position + 12 > len(raw):
            raise ValueError("a truncated PNG (no IEND chunk)")
    return width, height


@dataclass(frozen=True, kw_only=True)
class ImageWindow:
    """How the calibrated image of one camera maps to the network image.

    The camera image is scaled to `resized_width_px` x `resized_height_px`; the network image is
    the window of it that starts at column `left_px` and row `top_px`.
    """

    camera: CameraModel
    resized_width_px: int
    resized_height_px: int
    left_px: int
    top_px: int

    @property
    def input_from_image(self) -> Float64:
        """(3, 3) map of calibrated pixels to network pixels.

        The centre of a top-left pixel is (0, 0), so its corner at (-0.5, -0.5) stays in place
        when the image is scaled.
        """
        scale_u = self.resized_width_px / self.camera.width_px
        scale_v = self.resized_height_px / self.camera.height_px
        return np.array(
            [
                [scale_u, 0.0, 0.5 * scale_u - 0.5 - self.left_px],
                [0.0, scale_v, 0.5 * scale_v - 0.5 - self.top_px],
                [0.0, 0.0, 1.0],
            ]
        )

    @property
    def pixel_from_cam(self) -> Float64:
        """(3, 3) intrinsic matrix of the network image."""
        return self.input_from_image @ self.camera.pixel_from_cam


def fit_window(camera: CameraModel, spec: InputSpec) -> ImageWindow:
    """Return the window that fills the network image.

    One scale for both directions (up to a pixel of rounding), the smallest that fills the
    network image; centred horizontally, aligned with the bottom, so that sky is cut.
    """
    width, height = spec.image_width_px, spec.image_height_px
    scale = max(width / camera.width_px, height / camera.height_px)
    resized_width = max(width, round(camera.width_px * scale))
    resized_height = max(height, round(camera.height_px * scale))
    return ImageWindow(
        camera=camera,
        resized_width_px=resized_width,
        resized_height_px=resized_height,
        left_px=(resized_width - width) // 2,
        top_px=resized_height - height,
    )


def to_network_image(image: CameraImage, camera: CameraModel, spec: InputSpec) -> NDArray[np.uint8]:
    """Return the (3, H, W) uint8 RGB network image: scaled, undistorted, cropped.

    Pixels of the network image that the camera did not see (undistortion) are black.

    Raises:
        SensorError: the image has another aspect ratio than its calibration, or is larger.
    """
    size_px = (spec.image_width_px, spec.image_height_px)
    window = window_pixels(image, fit_window(camera, spec), size_px)
    return np.ascontiguousarray(window.transpose(2, 0, 1))


def window_pixels(
    image: CameraImage, window: ImageWindow, size_px: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB picture of a window: scaled, undistorted, cropped.

    Args:
        image: what the camera saw.
        window: of its calibrated image.
        size_px: (W, H) of the window.

    Raises:
        SensorError: the image has another aspect ratio than its calibration, or is larger.
    """
    camera = window.camera
    height_px, width_px = image.pixels.shape[:2]
    _check_size(image.sensor, width_px, height_px, camera)
    size = (window.resized_width_px, window.resized_height_px)
    shrinks = size[0] <= width_px and size[1] <= height_px
    scaled: NDArray[np.uint8] = image.pixels
    if size != (width_px, height_px):
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(image.pixels, size, interpolation=method), dtype=np.uint8)
    if camera.is_distorted:
        maps = _undistortion(
            tuple(window.pixel_from_cam.ravel().tolist()),
            (window.left_px, window.top_px),
            size_px,
            (camera.distortion_model, camera.distortion),
        )
        cropped = cv2.remap(scaled, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    else:
        rows = slice(window.top_px, window.top_px + size_px[1])
        columns = slice(window.left_px, window.left_px + size_px[0])
        cropped = scaled[rows, columns]
    return np.asarray(cropped, dtype=np.uint8)


def _check_size(sensor: str, width_px: int, height_px: int, camera: CameraModel) -> None:
    """Accept the calibrated size, or a smaller one by the same factor (a pixel of rounding)."""
    calibrated = (camera.width_px, camera.height_px)
    expected_height = width_px * camera.height_px / camera.width_px
    too_large = width_px > camera.width_px or height_px > camera.height_px
    if too_large or abs(expected_height - height_px) >= 1:
        raise SensorError(
            f"camera '{sensor}': image of {width_px} x {height_px} px does not fit its calibration "
            f"for {calibrated[0]} x {calibrated[1]} px; publish the CameraInfo of this image size"
        )


@lru_cache(maxsize=64)
def _undistortion(
    input_from_cam: tuple[float, ...],
    corner_px: tuple[int, int],
    size_px: tuple[int, int],
    distortion: tuple[str, tuple[float, ...]],
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Return OpenCV's fixed-point maps from network pixels to pixels of the scaled image.

    Args:
        input_from_cam: (3, 3) by rows, intrinsic matrix of the network image.
        corner_px: (column, row) of the network image in the scaled image.
        size_px: (width, height) of the network image.
        distortion: model and coefficients.
    """
    pinhole = np.reshape(input_from_cam, (3, 3))
    scaled_from_cam = pinhole.copy()
    scaled_from_cam[:2, 2] += corner_px
    model, coefficients = distortion
    build = (
        cv2.fisheye.initUndistortRectifyMap
        if model == "equidistant"
        else cv2.initUndistortRectifyMap
    )
    maps = build(
        scaled_from_cam,
        np.array(coefficients, dtype=np.float64),
        np.eye(3),
        pinhole,
        size_px,
        cv2.CV_16SC2,
    )
    return np.asarray(maps[0], dtype=np.int16), np.asarray(maps[1], dtype=np.uint16)
