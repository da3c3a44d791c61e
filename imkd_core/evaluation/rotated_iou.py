# SPDX-License-Identifier: Apache-2.0
"""Overlap of boxes that are turned about the vertical: from above, and in space."""

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64

Counts = NDArray[np.int64]

#: Points of a polygon after cutting a rectangle by four lines: 4 + 4 at most.
_MAX_POINTS = 8


def rectangle_corners(center_xy: Float64, size_xy: Float64, yaw_rad: Float64) -> Float64:
    """Return (N, 4, 2) corners, counter-clockwise, of turned rectangles.

    Args:
        center_xy: (N, 2) metres.
        size_xy: (N, 2) length along the heading, width across.
        yaw_rad: (N,) heading, counter-clockwise from x.
    """
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    local = signs[None] * np.asarray(size_xy)[:, None]
    cos, sin = np.cos(yaw_rad)[:, None], np.sin(yaw_rad)[:, None]
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return np.asarray(np.stack([x, y], axis=-1) + np.asarray(center_xy)[:, None])


def overlap_area(first: Float64, second: Float64) -> Float64:
    """Return (P,) areas that two (P, 4, 2) lists of rectangles share, pair by pair.

    Each rectangle of the first list is cut by the four edges of its partner (Sutherland and
    Hodgman); a polygon of fewer points repeats its last one, which adds no area.
    """
    pairs = len(first)
    polygon = np.concatenate([first, np.repeat(first[:, -1:], _MAX_POINTS - 4, axis=1)], axis=1)
    count = np.full(pairs, 4)
    for edge in range(4):
        polygon, count = _cut(polygon, count, second[:, edge], second[:, (edge + 1) % 4])
    x, y = polygon[..., 0], polygon[..., 1]
    twice = x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y
    return np.where(count > 2, np.maximum(twice.sum(axis=1) / 2, 0.0), 0.0)


def _cut(polygon: Float64, count: Counts, start: Float64, end: Float64) -> tuple[Float64, Counts]:
    """Keep the part of each (P, 8, 2) polygon to the left of its line start -> end, (P, 2)."""
    slots = np.arange(_MAX_POINTS)
    following = np.where(slots + 1 < count[:, None], slots + 1, 0)
    after = np.take_along_axis(polygon, following[..., None], axis=1)
    along = (end - start)[:, None]
    side = _cross(along, polygon - start[:, None])
    side_after = np.take_along_axis(side, following, axis=1)
    is_point = slots < count[:, None]
    keeps = is_point & (side >= 0)
    crosses = is_point & ((side >= 0) != (side_after >= 0))
    share = np.divide(side, side - side_after, out=np.zeros_like(side), where=crosses)
    meeting = polygon + share[..., None] * (after - polygon)
    # Each slot gives the point itself, then the meeting with the line; used ones move to the front.
    candidates = np.stack([polygon, meeting], axis=2).reshape(-1, 2 * _MAX_POINTS, 2)
    used = np.stack([keeps, crosses], axis=2).reshape(-1, 2 * _MAX_POINTS)
    order = np.argsort(~used, axis=1, kind="stable")[:, :_MAX_POINTS]
    result = np.take_along_axis(candidates, order[..., None], axis=1)
    left = np.minimum(used.sum(axis=1), _MAX_POINTS)
    last = np.take_along_axis(result, np.maximum(left - 1, 0)[:, None, None], axis=1)
    return np.where((slots < left[:, None])[..., None], result, last), left


def _cross(a: Float64, b: Float64) -> Float64:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def box_iou(
    center_m: Float64,
    size_m: Float64,
    yaw_rad: Float64,
    other_center_m: Float64,
    other_size_m: Float64,
    other_yaw_rad: Float64,
) -> tuple[Float64, Float64]:
    """Return (N, M) intersection over union of all pairs: from above, and in space.

    Args:
        center_m: (N, 3) geometric centres of the first boxes, z up.
        size_m: (N, 3) their length, width, height.
        yaw_rad: (N,) their headings.
        other_center_m: (M, 3) of the second boxes.
        other_size_m: (M, 3) likewise.
        other_yaw_rad: (M,) likewise.
    """
    first = rectangle_corners(center_m[:, :2], size_m[:, :2], yaw_rad)
    second = rectangle_corners(other_center_m[:, :2], other_size_m[:, :2], other_yaw_rad)
    n, m = len(first), len(second)
    reach = np.linalg.norm(size_m[:, :2], axis=1)[:, None]
    reach = (reach + np.linalg.norm(other_size_m[:, :2], axis=1)[None]) / 2
    apart = np.linalg.norm(center_m[:, None, :2] - other_center_m[None, :, :2], axis=2)
    rows, columns = np.nonzero(apart < reach)
    area = np.zeros((n, m))
    area[rows, columns] = overlap_area(first[rows], second[columns])
    low = np.maximum(*_ends(center_m, size_m, other_center_m, other_size_m, -0.5))
    high = np.minimum(*_ends(center_m, size_m, other_center_m, other_size_m, 0.5))
    volume = area * np.maximum(high - low, 0.0)
    own_area, other_area = size_m[:, :2].prod(axis=1), other_size_m[:, :2].prod(axis=1)
    own_volume, other_volume = size_m.prod(axis=1), other_size_m.prod(axis=1)
    return (
        area / (own_area[:, None] + other_area[None] - area),
        volume / (own_volume[:, None] + other_volume[None] - volume),
    )


def _ends(
    center_m: Float64, size_m: Float64, other_center_m: Float64, other_size_m: Float64, part: float
) -> tuple[Float64, Float64]:
    """Return lower (-0.5) or upper (0.5) ends in z, (N, 1) and (1, M)."""
    own = center_m[:, 2] + part * size_m[:, 2]
    other = other_center_m[:, 2] + part * other_size_m[:, 2]
    return own[:, None], other[None]
