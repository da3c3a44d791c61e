# SPDX-License-Identifier: Apache-2.0
"""Pictures of a frame: what the cameras saw with boxes on it, the bird's-eye view, heat maps."""

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def encode_png(picture: Picture) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as PNG."""
    return _encode(picture, ".png", [])


def encode_jpeg(picture: Picture, quality: int = 90) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as JPEG of a quality 1..100."""
    return _encode(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(picture: Picture, suffix: str, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape} as {suffix}")
    return data.tobytes()
