# SPDX-License-Identifier: Apache-2.0
"""What a picture says about its camera: brightness, fine detail, detail of its parts."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: Pictures are halved while they stay this wide: blur that the network cannot see is none.
WIDTH_PX = 320

#: Parts of a picture, rows and columns.
PARTS = (8, 22)

#: A pixel this bright is at the limit (of 255, after a JPEG codec).
_LIMIT = 248


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFacts:
    """Numbers of one picture, from its reduced grey picture (0 to 255).

    Attributes:
        digest: of the reduced picture; equal where the pictures are.
        bright: 99.5 % of pixels are at most so bright.
        limit_share: share of pixels at the limit of brightness.
        sharpness: finest detail over the detail three times as coarse; contrast does not change
            it, so fog does not.
        detail: (8, 22) float32, standard deviation of each part.
    """

    digest: bytes
    bright: float
    limit_share: float
    sharpness: float
    detail: NDArray[np.float32]


def picture_facts(pixels: NDArray[np.uint8]) -> PictureFacts:
    """Return the facts of a picture.

    Args:
        pixels: (H, W, 3) uint8 RGB, of any size.
    """
    grey = _reduced(pixels)
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    total = grey.size
    picture = grey.astype(np.float32)
    fine, coarse = _details(picture)
    return PictureFacts(
        digest=hashlib.blake2b(grey.data, digest_size=16).digest(),
        bright=float(np.searchsorted(np.cumsum(histogram), 0.995 * total)),
        limit_share=float(histogram[_LIMIT:].sum() / total),
        sharpness=fine / max(coarse, 1e-3),
        detail=_parts(picture),
    )


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the grey picture, halved while it stays at least `WIDTH_PX` wide."""
    factor = 1
    while pixels.shape[1] // (2 * factor) >= WIDTH_PX and pixels.shape[0] // (2 * factor) >= 1:
        factor *= 2
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if factor > 1:
        size_px = (pixels.shape[1] // factor, pixels.shape[0] // factor)
        grey = cv2.resize(grey, size_px, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(grey, dtype=np.uint8)


def _details(picture: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean detail below 3 pixels, and that from 3 to 9."""
    fine = cv2.blur(picture, (3, 3))
    coarse = cv2.blur(picture, (9, 9))
    pixels = picture.size
    return (
        cv2.norm(picture, fine, cv2.NORM_L1) / pixels,
        cv2.norm(fine, coarse, cv2.NORM_L1) / pixels,
    )


def _parts(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of each part; a rest of a few rows and columns is left out.

    A picture smaller than its parts is resampled; whole pixels to a part is ten times faster.
    """
    size = (PARTS[1], PARTS[0])
    rows, columns = (side // n * n for side, n in zip(picture.shape, PARTS, strict=True))
    if rows and columns:
        picture = picture[:rows, :columns]
    mean = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    square = cv2.resize(picture * picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)), dtype=np.float32)
