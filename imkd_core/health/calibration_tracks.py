# SPDX-License-Identifier: Apache-2.0
"""What moves between two pictures of one camera, and along which rays it was seen.

Points are shares of the calibrated picture (0 at its left or top border, 1 at the right or
bottom), so that they can be looked at with the calibration of another camera too.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.types import CameraModel

Grey = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """Of the tracker.

    Attributes:
        width_px: pictures are scaled down to this width; smaller ones stay as they are.
        points: followed in a picture, at most.
        quality: of the weakest corner against the strongest.
        apart: least distance of two points, as share of the width.
        window_px: of the tracker, and levels: of its pyramid.
        levels: see `window_px`.
        return_px: a point that is followed there and back ends so near to where it began.
    """

    width_px: int = 704
    points: int = 80
    quality: float = 0.01
    apart: float = 0.025
    window_px: int = 13
    levels: int = 4
    return_px: float = 0.4


def small_grey(pixels: NDArray[np.uint8], settings: TrackSettings) -> Grey:
    """Return an (h, w) grey picture of (H, W, 3) RGB pixels, not wider than the settings say."""
    height, width = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if width > settings.width_px:
        size = (settings.width_px, max(1, round(height * settings.width_px / width)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, dtype=np.uint8)


def follow(before: Grey, now: Grey, settings: TrackSettings) -> tuple[Float64, Float64]:
    """Return where the same points lie in two pictures of one size.

    Returns:
        Two (N, 2) arrays of shares of width and height; N may be 0.
    """
    height, width = before.shape
    none = np.zeros((0, 2))
    if before.shape != now.shape or min(before.shape) < 2 * settings.window_px:
        return none, none
    found = cv2.goodFeaturesToTrack(
        before, settings.points, settings.quality, max(settings.apart * width, 1.0)
    )
    if found is None or not len(found):
        return none, none
    there, is_there = _followed(before, now, found, settings)
    back, is_back = _followed(now, before, there, settings)
    stays = np.abs(found - back).reshape(-1, 2).max(axis=1) < settings.return_px
    good = is_there & is_back & stays
    size = np.array([width, height], dtype=np.float64)
    first, second = (
        (np.asarray(points, dtype=np.float64).reshape(-1, 2)[good] + 0.5) / size
        for points in (found, there)
    )
    return first, second


def _followed(
    before: Grey, now: Grey, points: NDArray[np.float32], settings: TrackSettings
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    guess = np.zeros_like(points)  # overwritten: the flags do not ask for a first guess
    there, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        now,
        points,
        guess,
        winSize=(settings.window_px, settings.window_px),
        maxLevel=settings.levels,
    )
    return np.asarray(there, dtype=np.float32), np.asarray(status).ravel() > 0


def rays(camera: CameraModel, places: Float64) -> Float64:
    """Return (N, 3) unit vectors in the camera's optical frame.

    Args:
        camera: calibration.
        places: (N, 2) shares of width and height of its calibrated picture.
    """
    if not len(places):
        return np.zeros((0, 3))
    pixels = (places * (camera.width_px, camera.height_px) - 0.5).reshape(-1, 1, 2)
    lens = np.array(camera.distortion if camera.is_distorted else (0.0, 0.0, 0.0, 0.0))
    undistort = (
        cv2.fisheye.undistortPoints
        if camera.distortion_model == "equidistant"
        else cv2.undistortPoints
    )
    flat = np.asarray(undistort(pixels, camera.pixel_from_cam, lens), dtype=np.float64)
    vectors = np.column_stack([flat.reshape(-1, 2), np.ones(len(places))])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
