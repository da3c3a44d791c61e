# SPDX-License-Identifier: Apache-2.0
"""Shadows on the ground: of the sun, and of the sky under bodies.

Each convex part of a body shades the hull of its corners, moved along the sun's rays to the ground.
Hulls of what stands are made once, for as long as the body is there.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Placed, Shape, Snapshot

#: Bodies nearer than this cast the shadow of each part, others that of their hull.
_FINE_SHADOWS_M = 22.0

#: A part whose lowest corner is below this keeps the sky from the ground.
_STANDS_BELOW_M = 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class Hulls:
    """Convex polygons on the ground.

    Attributes:
        corners_m: (V, 2) global, polygon after polygon.
        parts: first corner, end, and whether it is the sun's shadow; else it is the sky's.
    """

    corners_m: Float64
    parts: tuple[tuple[int, int, bool], ...]


@dataclass(frozen=True, kw_only=True)
class Sunlight:
    """How far shadows reach.

    Attributes:
        slope: (x, y) metres towards the sun for each metre of height.
        casts: whether the sun casts shadows.
    """

    slope: tuple[float, float]
    casts: bool


def draw_shadows(
    snapshot: Snapshot,
    sun: Sunlight,
    origin_m: tuple[float, float],
    pixel_m: float,
    rasters: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Blacken what stands under bodies, and where solids keep the sun away.

    Args:
        snapshot: the bodies.
        sun: of the moment.
        origin_m: outer corner of pixel (0, 0) of the rasters.
        pixel_m: side of a pixel.
        rasters: (N, M) uint8 of the sky and of the sun.
    """
    if not snapshot.placed:
        return
    centers = np.array([item.global_from_body[:2, 3] for item in snapshot.placed])
    sizes = np.array([item.body.shape.size_m for item in snapshot.placed])
    radius_m = np.hypot(sizes[:, 0], sizes[:, 1])[:, None] / 2
    tips = centers - np.asarray(sun.slope) * (sizes[:, 2:] if sun.casts else 0.0)
    begin_m = np.asarray(origin_m)
    end_m = begin_m + np.array(rasters[0].shape[::-1]) * pixel_m
    inside = (np.maximum(centers, tips) > begin_m - radius_m).all(axis=1)
    inside &= (np.minimum(centers, tips) < end_m + radius_m).all(axis=1)
    away_m = np.abs(centers - snapshot.global_from_ego[:2, 3]).max(axis=1)
    fine = away_m - sizes[:, :2].max(axis=1) / 2 < _FINE_SHADOWS_M
    for row in np.flatnonzero(inside).tolist():
        hulls = hulls_of(snapshot.placed[row], sun, bool(fine[row]))
        pixels = (hulls.corners_m - begin_m) * (16 / pixel_m) - 8
        fixed = np.clip(pixels, -100_000, 100_000).astype(np.int32)
        for start, end, is_suns in hulls.parts:
            cv2.fillConvexPoly(rasters[is_suns], fixed[start:end], 0, cv2.LINE_8, 4)


_HULLS: WeakKeyDictionary[Placed, dict[tuple[Sunlight, bool], Hulls]] = WeakKeyDictionary()


def hulls_of(item: Placed, sun: Sunlight, fine: bool) -> Hulls:
    """Return the shadows of a body, of each part if `fine`; made once for each place of it."""
    known = _HULLS.setdefault(item, {})
    found = known.get((sun, fine))
    if found is None:
        found = known[sun, fine] = _hulls_of(item, sun, fine)
    return found


def _hulls_of(item: Placed, sun: Sunlight, fine: bool) -> Hulls:
    points, ends = shadow_parts(item.body.shape, fine)
    turn, center = item.global_from_body[:3, :3], item.global_from_body[:3, 3]
    moved = points @ turn.T
    heights = np.maximum(moved[:, 2:] + center[2], 0)
    below = moved[:, :2].astype(np.float32)  # from the body's centre: float32 is fine enough
    cast = (moved[:, :2] - heights * sun.slope).astype(np.float32)
    corners, parts = [], []
    start = count = 0
    for end in ends:
        rasters = [(below, False)] if heights[start:end].min() < _STANDS_BELOW_M else []
        rasters += [(cast, True)] if sun.casts else []
        for ground, is_suns in rasters:
            hull = cv2.convexHull(ground[start:end])[:, 0]
            corners.append(hull)
            parts.append((count, count + len(hull), is_suns))
            count += len(hull)
        start = end
    every = np.concatenate([np.zeros((0, 2), np.float32), *corners])
    return Hulls(corners_m=every + center[:2], parts=tuple(parts))


_PARTS: WeakKeyDictionary[Shape, dict[bool, tuple[Float64, list[int]]]] = WeakKeyDictionary()


def shadow_parts(shape: Shape, fine: bool) -> tuple[Float64, list[int]]:
    """Return the convex parts whose shadows make that of a shape.

    Returns:
        (V, 3) corners, part after part, in the body frame; where each part ends. There is a part
        for each solid if `fine`, else one for all.
    """
    known = _PARTS.setdefault(shape, {})
    if fine not in known:
        parts = [np.unique(solid.corners_m.round(4), axis=0) for solid in shape.solids]
        ends = np.cumsum([len(part) for part in parts]).tolist()
        known[fine] = np.concatenate(parts), ends if fine else ends[-1:]
    return known[fine]
