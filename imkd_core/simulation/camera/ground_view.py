# SPDX-License-Identifier: Apache-2.0
"""The ground raster and its light as a camera sees them: homographies of pre-filtered rasters."""

from functools import cache
from itertools import pairwise
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import Float32
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Ground

_LEVELS = 7

#: Side of a pixel of the grain of the ground, and below which side of the picture's it is seen.
_GRAIN_M = 0.012
_GRAIN_SEEN_M = 0.016
_PYRAMIDS: WeakKeyDictionary[Ground, list[NDArray[np.uint8]]] = WeakKeyDictionary()

#: sRGB byte -> linear light.
LINEAR_FROM_BYTE = (np.arange(256) / 255.0) ** 2.2


def pyramid(ground: Ground) -> list[NDArray[np.uint8]]:
    """Return the ground at full, half, quarter ... resolution; made once per ground."""
    levels = _PYRAMIDS.get(ground)
    if levels is None:
        levels = [cv2.GaussianBlur(ground.albedo, (3, 3), 0.6)]
        while len(levels) < _LEVELS and min(levels[-1].shape[:2]) >= 8:
            half = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
            levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
        _PYRAMIDS[ground] = levels
    return levels


def raster_from_pixel(view: View, origin_m: tuple[float, float], pixel_m: float) -> Float64:
    """Return the (3, 3) homography from picture to a raster of the ground z = 0."""
    rays = view.global_from_cam[:3, :3] @ np.linalg.inv(view.pixel_from_cam)
    x, y, height_m = view.position_m
    plane = np.array(
        [-height_m * rays[0] + x * rays[2], -height_m * rays[1] + y * rays[2], rays[2]]
    )
    shift = np.array([[1, 0, -origin_m[0]], [0, 1, -origin_m[1]], [0, 0, 1]])
    scale = np.diag([1 / pixel_m, 1 / pixel_m, 1.0])
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return np.asarray(half @ scale @ shift @ plane)


def horizon_rows(view: View) -> tuple[int, int]:
    """Return (first row with ground, first row that is all ground), clipped to the picture."""
    a, b, c = view.ground_plane()
    if b <= 1e-12:
        return 0, view.height_px
    rows = [-(a * u + c) / b for u in (0.0, view.width_px - 1.0)]
    low, high = (int(np.clip(np.ceil(row), 0, view.height_px)) for row in (min(rows), max(rows)))
    return low, high


def see_ground(view: View, ground: Ground, first_row: int) -> NDArray[np.uint8]:
    """Return (H - first_row, W, 3) sRGB albedo of the ground; garbage above the horizon.

    Bands of rows take the level whose pixels are about as large as the picture's there.
    """
    levels = pyramid(ground)
    seen = np.empty((view.height_px - first_row, view.width_px, 3), dtype=np.uint8)
    for top, bottom, level in _bands(view, ground.pixel_m, first_row, len(levels)):
        raster = levels[level]
        matrix = raster_from_pixel(view, ground.origin_m, ground.pixel_m * 2.0**level)
        warp_rows(raster, matrix, seen[top - first_row : bottom - first_row], top)
    _add_grain(view, seen, first_row)
    return seen


def _add_grain(view: View, seen: NDArray[np.uint8], first_row: int) -> None:
    """Roughen the ground, in place, where the picture is finer than any raster of a town."""
    plane = view.ground_plane()
    if plane[1] <= 0:
        return
    wanted = 1 / (_GRAIN_SEEN_M * view.pixel_from_cam[1, 1])
    start = int(np.ceil((wanted - plane[2] - plane[0] * view.width_px / 2) / plane[1]))
    start = max(start, first_row)
    if start >= view.height_px:
        return
    grain = np.empty((view.height_px - start, view.width_px), dtype=np.uint8)
    warp_rows(_grain(), raster_from_pixel(view, (0.0, 0.0), _GRAIN_M), grain, start, tiled=True)
    rows = seen[start - first_row :]
    cv2.multiply(rows, cv2.merge([grain, grain, grain]), dst=rows, scale=1 / 128)


@cache
def _grain() -> NDArray[np.uint8]:
    """Return a (512, 512) tile around 128."""
    noise = np.random.default_rng(5).standard_normal((512, 512)).astype(np.float32)
    soft = cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), 1.2)[512:1024, 512:1024]
    level = 128 + 9 * soft / soft.std() + 5 * noise
    return np.asarray(np.clip(level, 70, 190).astype(np.uint8))


def warp_rows(
    raster: NDArray[np.uint8] | Float32,
    raster_from_pixel_: Float64,
    rows: NDArray[np.uint8] | Float32,
    first_row: int,
    outside: tuple[float, float, float] | None = None,
    tiled: bool = False,
) -> None:
    """Fill `rows` (R, W, C), which begin at `first_row` of the picture, from a raster.

    Beyond the raster is `outside`, or the raster again if `tiled`, or else its border.
    """
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    moved = raster_from_pixel_ @ np.array([[1.0, 0, 0], [0, 1.0, first_row], [0, 0, 1.0]])
    cv2.warpPerspective(
        raster,
        moved / np.abs(moved).max(),
        rows.shape[1::-1],
        dst=rows,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP if tiled else border,
        borderValue=outside or (0, 0, 0),
    )


def _bands(view: View, pixel_m: float, first_row: int, levels: int) -> list[tuple[int, int, int]]:
    """Return (first row, end row, pyramid level) from the horizon down."""
    rows = np.arange(first_row, view.height_px)
    plane = view.ground_plane()
    inverse = np.maximum(plane[0] * view.width_px / 2 + plane[1] * rows + plane[2], 1e-5)
    focal_px = view.pixel_from_cam[1, 1]
    across_m = 1 / (inverse * focal_px)
    along_m = np.maximum(plane[1] / inverse**2, across_m)
    finest = np.log2(np.sqrt(across_m * along_m) / pixel_m)
    chosen = np.clip(np.floor(finest + 0.5), 0, levels - 1).astype(int)
    cuts = np.flatnonzero(np.diff(chosen)) + 1
    borders = [0, *cuts.tolist(), len(rows)]
    return [
        (first_row + start, first_row + end, int(chosen[start]))
        for start, end in pairwise(borders)
        if end > start
    ]
