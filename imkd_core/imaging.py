# SPDX-License-Identifier: Apache-2.0
"""From camera images to network images: one kernel for training and vehicle.

A network image is a window of the scaled camera image. Distorted cameras are undistorted here,
so everything above sees a pinhole camera. The decoder, which `encoded_image` holds, is imported
from here as well.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.encoded_image import MAX_PIXELS, decode_jpeg
from imkd_core.errors import SensorError
from imkd_core.geometry import Float64
from imkd_core.types import CameraImage, CameraModel

__all__ = [
    "MAX_PIXELS",
    "ImageWindow",
    "decode_jpeg",
    "fit_window",
    "to_network_image",
    "window_pixels",
]


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


def to_network_image(
    image: CameraImage,
    camera: CameraModel,
    spec: InputSpec,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return the (3, H, W) uint8 RGB network image: scaled, undistorted, cropped.

    Pixels of the network image that the camera did not see (undistortion) are black.

    Args:
        image: what the camera saw.
        camera: its calibration.
        spec: what the network expects.
        out: (3, H, W) uint8, contiguous: written to and returned; a new array when None.

    Raises:
        SensorError: the image has another aspect ratio than its calibration, or is larger.
    """
    size_px = (spec.image_width_px, spec.image_height_px)
    window = window_pixels(image, fit_window(camera, spec), size_px)
    planes = np.empty((3, size_px[1], size_px[0]), np.uint8) if out is None else out
    cv2.mixChannels([window], list(planes), [0, 0, 1, 1, 2, 2])
    return planes


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
    scaled = _scaled(image.pixels, (window.resized_width_px, window.resized_height_px))
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


def _scaled(pixels: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image at another (width, height); no pixel of one that shrinks is skipped.

    It is halved by averaging as long as it can be, as the JPEG decoder's reductions are; what is
    left is below a factor of two, where bilinear interpolation sees every pixel. Ten times faster
    than area interpolation, which is for sizes that cannot be halved.
    """
    width, height = size_px
    while _can_halve(pixels.shape, size_px):
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = np.asarray(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if pixels.shape[:2] == (height, width):
        return pixels
    is_far = pixels.shape[1] > 2 * width or pixels.shape[0] > 2 * height
    method = cv2.INTER_AREA if is_far else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size_px, interpolation=method), dtype=np.uint8)


def _can_halve(shape: tuple[int, ...], size_px: tuple[int, int]) -> bool:
    height, width = shape[:2]
    is_even = width % 2 == 0 and height % 2 == 0
    return is_even and width // 2 >= size_px[0] and height // 2 >= size_px[1]


def fits_calibration(width_px: int, height_px: int, camera: CameraModel) -> bool:
    """Whether an image has the calibrated size, or a smaller one by the same factor.

    Args:
        width_px: of the image.
        height_px: of the image; a pixel of rounding is allowed.
        camera: its calibration.
    """
    expected_height = width_px * camera.height_px / camera.width_px
    too_large = width_px > camera.width_px or height_px > camera.height_px
    return not too_large and abs(expected_height - height_px) < 1


def _check_size(sensor: str, width_px: int, height_px: int, camera: CameraModel) -> None:
    calibrated = (camera.width_px, camera.height_px)
    if not fits_calibration(width_px, height_px, camera):
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
