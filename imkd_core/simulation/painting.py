# SPDX-License-Identifier: Apache-2.0
"""Painting flat faces into a buffer of face numbers with a depth test.

A plane seen by a pinhole has an inverse depth that is linear in the pixel, so the ground is a
plane like any other, and one comparison per pixel decides what hides what. Colours come later,
from a table indexed by the face number: nothing is shaded twice.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.drawing import clip_polygon
from imkd_core.geometry import Float64, invert_transform
from imkd_core.simulation.faces import FaceTable, Float32, Index

#: Nothing nearer to the camera than this is drawn.
NEAR_M = 0.25

#: Number of a pixel that shows no face.
NO_FACE = 0

_SHIFT = 4

#: OpenCV paints the outline too, which is half a pixel more than the polygon has; a little less
#: is taken off, so that neighbours leave no gap. What is thinner than `_THIN_PX` keeps it.
_OUTLINE_PX = 0.46
_THIN_PX = 0.9
_GUARD_PX = 6000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A pinhole somewhere in the world.

    Attributes:
        width_px, height_px: of the picture.
        pixel_from_cam: (3, 3).
        global_from_cam: (4, 4) of the optical frame.
    """

    width_px: int
    height_px: int
    pixel_from_cam: Float64
    global_from_cam: Float64

    @property
    def position_m(self) -> Float64:
        """(3,) of the pinhole, global."""
        return self.global_from_cam[:3, 3]

    def scaled(self, factor: float) -> "View":
        """Return the same view with a picture `factor` times as large."""
        scale = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
        return View(
            width_px=round(self.width_px * factor),
            height_px=round(self.height_px * factor),
            pixel_from_cam=scale @ self.pixel_from_cam,
            global_from_cam=self.global_from_cam,
        )

    def inverse_depth(self, normal: Float64, offset_m: Float64) -> Float64:
        """Return (N, 3) a, b, c with 1 / depth = a u + b v + c on planes `normal @ p = offset_m`.

        Args:
            normal: (N, 3) global.
            offset_m: (N,).
        """
        rotation = self.global_from_cam[:3, :3]
        above_m = offset_m - normal @ self.position_m
        safe = np.where(np.abs(above_m) < 1e-9, 1e-9, above_m)
        rays = rotation @ np.linalg.inv(self.pixel_from_cam)
        return np.asarray((normal @ rays) / safe[:, None])


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """What a view shows.

    Attributes:
        number: (H, W) int32, 1 + index of the face in its table; `NO_FACE` where none is.
        inverse_depth: (H, W) float32 1/m along the optical axis; 0 in the sky.
    """

    number: NDArray[np.int32]
    inverse_depth: Float32


def paint(view: View, table: FaceTable, ground_hides: bool = True) -> Painted:
    """Return which face each pixel shows; the ground z = 0 may hide what is below it."""
    u, v = np.arange(view.width_px, dtype=np.float32), np.arange(view.height_px, dtype=np.float32)
    ground = view.inverse_depth(np.array([[0.0, 0.0, 1.0]]), np.zeros(1))[0].astype(np.float32)
    buffer = ground[0] * u[None] + (ground[1] * v + ground[2])[:, None]
    np.maximum(buffer, 0, out=buffer)
    if not ground_hides:
        buffer[:] = 0
    number = np.zeros((view.height_px, view.width_px), dtype=np.int32)
    for face, polygon, plane in _visible(view, table):
        _paint_polygon(number, buffer, (u, v), polygon, plane, face + 1)
    return Painted(number=number, inverse_depth=buffer)


def _visible(view: View, table: FaceTable) -> list[tuple[int, Float64, Float32]]:
    """Return (face, pixels, plane) of the faces that may be seen, the nearest first."""
    faces = np.flatnonzero(
        np.einsum("fc,fc->f", table.normal, table.center_m - view.position_m) < 0
    )
    if not len(faces):
        return []
    corner = _corners_of(table, faces)
    cam_from_global = invert_transform(view.global_from_cam)
    points = table.points_m[corner] @ cam_from_global[:3, :3].T + cam_from_global[:3, 3]
    counts = table.counts[faces]
    first = np.cumsum(counts) - counts
    nearest = np.minimum.reduceat(points[:, 2], first)
    kept = np.flatnonzero(~_outside(view, points, first))
    plane_of = table.plane_of[faces[kept]]
    normal = table.normal[plane_of]
    planes = view.inverse_depth(
        normal, np.einsum("fc,fc->f", normal, table.center_m[plane_of])
    ).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (points @ view.pixel_from_cam.T)[:, :2] / points[:, 2:]
        far = np.logical_or.reduceat(np.abs(pixels).max(axis=1) > _GUARD_PX, first)
        is_wild = (nearest < NEAR_M) | far
    pixels[np.repeat(is_wild, counts)] = 0
    inner = _without_outline(pixels, first, counts)
    found = []
    for i in np.argsort(_order(faces[kept], plane_of, nearest[kept]), kind="stable").tolist():
        k = kept[i]
        span = slice(first[k], first[k] + counts[k])
        polygon = inner[span]
        if is_wild[k]:
            polygon = _clipped(view, points[span])
        if len(polygon) >= 3:
            found.append((int(faces[k]), polygon, planes[i]))
    return found


def _order(faces: Index, plane_of: Index, nearest_m: Float64) -> Float64:
    """Return sort keys: depth of the face that carries each, so decals follow their face."""
    place = np.searchsorted(faces, plane_of)
    return nearest_m[np.minimum(place, len(faces) - 1)]


def _corners_of(table: FaceTable, faces: Index) -> Index:
    counts = table.counts[faces]
    start = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(table.first[faces] - start, counts)


def _outside(view: View, points: Float64, first: Index) -> NDArray[np.bool_]:
    """Return which polygons lie wholly outside one side of the field of view."""
    projected = points @ view.pixel_from_cam.T
    u, v, depth_m = projected.T
    outside = np.zeros(len(first), dtype=np.bool_)
    for beyond in (
        depth_m < NEAR_M,
        u < -depth_m,
        u > view.width_px * depth_m,
        v < -depth_m,
        v > view.height_px * depth_m,
    ):
        outside |= np.logical_and.reduceat(beyond, first)
    return outside


def _without_outline(pixels: Float64, first: Index, counts: Index) -> Float64:
    """Return the corners (V, 2) of polygons moved inwards by what painting their outline adds."""
    following = np.arange(1, len(pixels) + 1)
    following[first + counts - 1] = first
    edge = pixels[following] - pixels
    length = np.hypot(edge[:, 0], edge[:, 1])
    twice_area = np.add.reduceat(
        pixels[:, 0] * pixels[following, 1] - pixels[:, 1] * pixels[following, 0], first
    )
    perimeter = np.maximum(np.add.reduceat(length, first), 1e-9)
    is_thin = np.abs(twice_area) / perimeter < _THIN_PX
    inward = np.column_stack([-edge[:, 1], edge[:, 0]]) / np.maximum(length, 1e-9)[:, None]
    inward *= np.repeat(np.sign(twice_area) * ~is_thin, counts)[:, None]
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


def _clipped(view: View, points_cam: Float64) -> Float64:
    """Return the pixels of a polygon's part in front of the camera and near the picture."""
    kept = clip_polygon(points_cam, [0.0, 0.0, 1.0], NEAR_M)
    k, guard = view.pixel_from_cam, _GUARD_PX
    for row, size in ((k[0], view.width_px), (k[1], view.height_px)):
        if len(kept):
            kept = clip_polygon(kept, row + guard * k[2], 0.0)
        if len(kept):
            kept = clip_polygon(kept, (size + guard) * k[2] - row, 0.0)
    if len(kept) < 3:
        return np.zeros((0, 2))
    pixels = (kept @ k.T)[:, :2] / kept[:, 2:]
    return _without_outline(pixels, np.zeros(1, dtype=np.int64), np.array([len(pixels)]))


def _paint_polygon(
    number: NDArray[np.int32],
    buffer: Float32,
    axes: tuple[Float32, Float32],
    polygon: Float64,
    plane: Float32,
    value: int,
) -> None:
    """Write `value` where the polygon is not behind what is there (a tie shows the later one)."""
    height, width = number.shape
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]) + 2, width), min(int(high[1]) + 2, height)
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
    corners = np.rint((polygon - (left, top)) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8, _SHIFT)
    inverse = plane[0] * axes[0][left:right] + (plane[1] * axes[1][top:bottom] + plane[2])[:, None]
    part = buffer[top:bottom, left:right]
    shown = inverse >= part
    shown &= mask.view(np.bool_)
    np.copyto(part, inverse, where=shown)
    np.copyto(number[top:bottom, left:right], value, where=shown)
