# SPDX-License-Identifier: Apache-2.0
"""Convex polygons of pixels: their outline, and filling many small ones at once."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import Float32, Index

#: OpenCV paints the outline too, which is half a pixel more than the polygon has; a little less
#: is taken off, so that neighbours leave no gap. What is thinner than `_THIN_PX` keeps it.
_OUTLINE_PX = 0.46
_THIN_PX = 0.7


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygons:
    """P convex polygons in a picture, each on a plane in the world.

    Attributes:
        pixels: (V, 2) corners, polygon after polygon; far outside for those in `clipped`.
        first, counts: (P,) where the corners of each begin, and how many there are.
        plane: (P, 3) float32 a, b, c of 1 / depth = a u + b v + c.
        order: (P,) from near to far; what is painted on a face comes after it.
        clipped: polygon -> (N, 2) pixels of those that reach behind the camera.
    """

    pixels: Float64
    first: Index
    counts: Index
    plane: Float32
    order: Index
    clipped: dict[int, Float64] = field(default_factory=dict)

    def bounds(self, width: int, height: int) -> tuple[Index, Index]:
        """Return lower (P, 2) and upper pixels of their rectangles, clipped to a picture."""
        size = (width, height)
        low = np.clip(np.floor(np.minimum.reduceat(self.pixels, self.first)), 0, size)
        high = np.clip(np.ceil(np.maximum.reduceat(self.pixels, self.first)) + 1, 0, size)
        return low.astype(np.int64), high.astype(np.int64)


def _following(first: Index, counts: Index) -> Index:
    """Return (V,) the index of the next corner of the same polygon."""
    following = np.arange(1, int(counts.sum()) + 1)
    following[first + counts - 1] = first
    return following


def _edges(
    pixels: Float64, first: Index, counts: Index
) -> tuple[Float64, NDArray[np.bool_], Index]:
    """Return inward unit normals (V, 2) of the edges, (P,) which are thin, the next corners."""
    following = _following(first, counts)
    edge = pixels[following] - pixels
    length = np.hypot(edge[:, 0], edge[:, 1])
    x, y = pixels.T
    twice_area = np.add.reduceat(x * y[following] - y * x[following], first)
    perimeter = np.maximum(np.add.reduceat(length, first), 1e-9)
    inward = np.column_stack([-edge[:, 1], edge[:, 0]]) / np.maximum(length, 1e-9)[:, None]
    inward *= np.repeat(np.sign(twice_area), counts)[:, None]
    return inward, np.abs(twice_area) / perimeter < _THIN_PX, following


def without_outline(pixels: Float64, first: Index, counts: Index) -> Float64:
    """Return the corners (V, 2) of polygons moved inwards by what painting their outline adds."""
    inward, is_thin, following = _edges(pixels, first, counts)
    inward *= np.repeat(~is_thin, counts)[:, None]
    offset = _OUTLINE_PX * np.abs(inward).max(axis=1)
    before = np.empty(len(pixels), dtype=np.int64)
    before[following] = np.arange(len(pixels))
    n0, n1, d0, d1 = inward[before], inward, offset[before], offset
    cross = n0[:, 0] * n1[:, 1] - n0[:, 1] * n1[:, 0]
    meets = np.abs(cross) > 0.05
    cross = np.where(meets, cross, 1.0)
    corner = np.column_stack(
        [(d0 * n1[:, 1] - d1 * n0[:, 1]) / cross, (d1 * n0[:, 0] - d0 * n1[:, 0]) / cross]
    )
    moved = np.where(meets[:, None], corner, (n0 * d0[:, None] + n1 * d1[:, None]) / 2)
    return np.asarray(pixels + np.clip(moved, -3, 3))


def fill_many(
    number: NDArray[np.int32], buffer: Float32, polygons: Polygons, chosen: NDArray[np.bool_]
) -> None:
    """Paint small polygons, all at once: 1 + their index into `number` where they are nearest.

    Args:
        number: (H, W) written.
        buffer: (H, W) inverse depth, compared and written.
        polygons: all.
        chosen: (P,) which to paint.
    """
    height, width = number.shape
    inward, is_thin, _ = _edges(polygons.pixels, polygons.first, polygons.counts)
    margin = np.where(is_thin, 0.5, 0.04)
    constant = np.repeat(margin, polygons.counts) - np.einsum("vc,vc->v", inward, polygons.pixels)
    lines = np.column_stack([inward, constant]).astype(np.float32)
    low, high = polygons.bounds(width, height)
    picked = polygons.order[chosen[polygons.order]]
    parts = [
        _covered(polygons, picked[polygons.counts[picked] == count], (low, high), lines)
        for count in np.unique(polygons.counts[picked]).tolist()
    ]
    if not parts:
        return
    polygon, u, v = (np.concatenate(column) for column in zip(*parts, strict=True))
    plane = polygons.plane[polygon]
    inverse = plane[:, 0] * u + (plane[:, 1] * v + plane[:, 2])
    place = v.astype(np.int64) * width + u.astype(np.int64)
    seen = np.flatnonzero(inverse >= buffer.reshape(-1)[place])
    rank = np.empty(len(polygons.order), dtype=np.int64)
    rank[polygons.order] = np.arange(len(rank))
    seen = seen[np.lexsort((rank[polygon[seen]], inverse[seen]))]
    buffer.reshape(-1)[place[seen]] = inverse[seen]
    number.reshape(-1)[place[seen]] = polygon[seen] + 1


def _covered(
    polygons: Polygons, picked: Index, bounds: tuple[Index, Index], lines: Float32
) -> tuple[Index, Float32, Float32]:
    """Return (polygon, u, v) of every pixel that polygons with equal numbers of corners cover."""
    low, size = bounds[0][picked], bounds[1][picked] - bounds[0][picked]
    room = size.prod(axis=1)
    which = np.repeat(np.arange(len(picked)), room)
    within = np.arange(room.sum()) - np.repeat(np.cumsum(room) - room, room)
    columns = size[which, 0]
    row = within // columns
    u = (low[which, 0] + within - row * columns).astype(np.float32)
    v = (low[which, 1] + row).astype(np.float32)
    inside = np.ones(len(u), dtype=np.bool_)
    for side in range(int(polygons.counts[picked[0]])):
        line = lines[polygons.first[picked] + side]
        inside &= line[which, 0] * u + (line[which, 1] * v + line[which, 2]) >= 0
    kept = np.flatnonzero(inside)
    return picked[which[kept]], u[kept], v[kept]
