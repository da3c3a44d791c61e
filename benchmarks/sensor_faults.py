# SPDX-License-Identifier: Apache-2.0
"""Faults put into made-up measurements: pictures through a JPEG codec again, scans as points."""

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.health.faults import BLACK, BLURRED, COVERED, EMPTY, FROZEN, OVEREXPOSED

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]

#: Width that the strength of a blur is given for, pixels.
_WIDTH_PX = 704

#: Blur of 1600 pixels wide pictures, standard deviation: 4.5 to 11 pixels.
_BLUR_PX = (2.0, 5.0)

#: Share of a covered picture; what covers: black, mud, grey.
_COVERED_SHARE = (0.75, 0.95)
_COVERS = ((8.0, 8.0, 8.0), (80.0, 70.0, 60.0), (125.0, 120.0, 120.0))

#: Interference: returns in every scan, anywhere in the field of view, at any speed.
_CLUTTER = (50, 90)
_FIELD_RAD, _FAR_M, _FAST_MPS = 1.05, 90.0, 25.0

#: Returns that a scan can hold.
_MOST = 125


def faulty_picture(
    fault: str, pixels: Pixels, repeated: Pixels, seed: int, rng: np.random.Generator
) -> Pixels:
    """Return a picture of a camera with a fault.

    Args:
        fault: one of `health.faults.CAMERA_FAULTS`.
        pixels: (H, W, 3) what it should see.
        repeated: what a frozen camera shows.
        seed: of what stays the same through a drive: strength, place and colour of the fault.
        rng: noise.
    """
    if fault == FROZEN:
        return repeated
    fixed = np.random.default_rng(seed)
    if fault == BLACK:
        changed = fixed.uniform(0.0, 5.0) + np.abs(rng.normal(0.0, 1.5, pixels.shape))
    elif fault == OVEREXPOSED:
        share = fixed.uniform(0.7, 0.95)
        gain = 255.0 / max(float(np.quantile(pixels[::4, ::4].min(axis=2), 1.0 - share)), 1.0)
        changed = pixels * gain
    elif fault == COVERED:
        changed = _covered(pixels, fixed)
    elif fault == BLURRED:
        sigma_px = fixed.uniform(*_BLUR_PX) * pixels.shape[1] / _WIDTH_PX
        changed = cv2.GaussianBlur(pixels, (0, 0), sigma_px).astype(np.float64)
    else:
        raise ValueError(f"no fault of a camera: {fault}")
    return _coded(np.clip(changed, 0, 255).astype(np.uint8))


def faulty_scan(fault: str, points: Points, repeated: Points, rng: np.random.Generator) -> Points:
    """Return a scan of a radar with a fault.

    Args:
        fault: one of `health.faults.RADAR_FAULTS`.
        points: (N, 7) what it should see.
        repeated: what a frozen radar sends.
        rng: draws what interferes.
    """
    if fault == FROZEN:
        return repeated
    if fault == EMPTY:
        return points[:0]
    count = int(rng.integers(*_CLUTTER))
    azimuth = rng.uniform(-_FIELD_RAD, _FIELD_RAD, count)
    ray = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
    clutter = np.zeros((count, points.shape[1]), np.float32)
    clutter[:, :2] = ray * rng.uniform(2.0, _FAR_M, (count, 1))
    clutter[:, 3] = rng.normal(3.0, 5.0, count)
    clutter[:, 4:6] = ray * rng.uniform(-_FAST_MPS, _FAST_MPS, (count, 1))
    return np.concatenate([points, clutter])[:_MOST]


def _covered(pixels: Pixels, fixed: np.random.Generator) -> NDArray[np.float64]:
    """Return a picture behind a blot with soft edges."""
    height, width = pixels.shape[:2]
    blot = cv2.resize(fixed.random((3, 6)), (width, height), interpolation=cv2.INTER_CUBIC)
    inside = blot < np.quantile(blot, fixed.uniform(*_COVERED_SHARE))
    soft = cv2.GaussianBlur(inside.astype(np.float64), (0, 0), width / 176)[..., None]
    return pixels * (1 - soft) + soft * np.array(_COVERS[int(fixed.integers(len(_COVERS)))])


def _coded(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 90))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
