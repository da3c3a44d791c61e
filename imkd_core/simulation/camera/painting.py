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
from imkd_core.simulation.camera.faces import FaceTable, Float32, Index
from imkd_core.simulation.camera.polygons import Polygons, fill_many, without_outline
from imkd_core.simulation.camera.view import View

#: Nothing nearer to the camera than this is drawn.
NEAR_M = 0.25

#: Faces that appear smaller than this are left out.
_SMALLEST_PX = 0.45

#: Polygons whose bounding rectangle has fewer pixels are painted together.
_SMALL_PX = 300

_SHIFT = 4
_GUARD_PX = 6000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """What a view shows.

    Attributes:
        number: (H, W) int32, 1 + place of the face among those painted; 0 where none is.
        inverse_depth: (H, W) float32 1/m along the optical axis; 0 in the sky.
    """

    number: NDArray[np.int32]
    inverse_depth: Float32


def faces_in_view(view: View, table: FaceTable) -> Index:
    """Return the indices of the faces that look at the camera and may be in the picture."""
    position_m, rotation = view.position_m, view.global_from_cam[:3, :3]
    depth_m = table.center_m @ rotation[:, 2] - position_m @ rotation[:, 2]
    facing = table.normal @ position_m > table.offset_m
    faces = np.flatnonzero(facing & (depth_m > -table.radius_m))
    k = view.pixel_from_cam
    cam = (table.center_m[faces] - position_m) @ rotation
    z, radius_m = cam[:, 2], table.radius_m[faces]
    inside = np.maximum(k[0, 0], k[1, 1]) * radius_m > _SMALLEST_PX * z
    for axis, size in ((0, view.width_px), (1, view.height_px)):
        low, high = k[axis, 2] / k[axis, axis], (size - k[axis, 2]) / k[axis, axis]
        inside &= cam[:, axis] + low * z > -radius_m * np.hypot(1, low)
        inside &= high * z - cam[:, axis] > -radius_m * np.hypot(1, high)
    return np.asarray(faces[inside])


def paint(view: View, table: FaceTable, faces: Index, ground_hides: bool = True) -> Painted:
    """Return which of the faces each pixel shows.

    Args:
        view: the camera.
        table: all faces.
        faces: those to paint, ascending; from `faces_in_view`.
        ground_hides: whether the ground z = 0 hides what is below it.
    """
    u, v = np.arange(view.width_px, dtype=np.float32), np.arange(view.height_px, dtype=np.float32)
    if ground_hides:
        ground = view.ground_plane().astype(np.float32)
        buffer = ground[0] * u[None] + (ground[1] * v + ground[2])[:, None]
        np.maximum(buffer, 0, out=buffer)
    else:
        buffer = np.zeros((view.height_px, view.width_px), dtype=np.float32)
    painted = Painted(
        number=np.zeros((view.height_px, view.width_px), dtype=np.int32), inverse_depth=buffer
    )
    if len(faces):
        polygons = _project(view, table, faces)
        small = _paint_large(painted, (u, v), polygons)
        fill_many(painted.number, buffer, polygons, small)
    return painted


def _project(view: View, table: FaceTable, faces: Index) -> Polygons:
    """Return the faces as polygons of pixels; those that reach behind the camera are clipped."""
    counts = table.counts[faces]
    first = np.cumsum(counts) - counts
    corner = np.arange(counts.sum()) + np.repeat(table.first[faces] - first, counts)
    cam_from_global = invert_transform(view.global_from_cam)
    points = table.points_m[corner] @ cam_from_global[:3, :3].T + cam_from_global[:3, 3]
    nearest_m = np.minimum.reduceat(points[:, 2], first)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (points @ view.pixel_from_cam.T)[:, :2] / points[:, 2:]
        far = np.logical_or.reduceat(np.abs(pixels).max(axis=1) > _GUARD_PX, first)
        is_wild = (nearest_m < NEAR_M) | far
    pixels[np.repeat(is_wild, counts)] = -_GUARD_PX
    clipped = {
        i: _clipped(view, points[first[i] : first[i] + counts[i]])
        for i in np.flatnonzero(is_wild).tolist()
    }
    plane_of = table.plane_of[faces]
    normal = table.normal[plane_of]
    carrier = np.minimum(np.searchsorted(faces, plane_of), len(faces) - 1)
    return Polygons(
        pixels=pixels,
        first=first,
        counts=counts,
        plane=view.inverse_depth(normal, table.offset_m[faces]).astype(np.float32),
        order=np.argsort(nearest_m[carrier], kind="stable"),
        clipped=clipped,
    )


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
    return without_outline(pixels, np.zeros(1, dtype=np.int64), np.array([len(pixels)]))


def _paint_large(
    painted: Painted, axes: tuple[Float32, Float32], polygons: Polygons
) -> NDArray[np.bool_]:
    """Paint the large polygons, the nearest first; return (P,) which are left."""
    height, width = painted.number.shape
    low, high = polygons.bounds(width, height)
    room = (high - low).prod(axis=1) * (high > low).all(axis=1)
    large = room > _SMALL_PX
    small = (room > 0) & ~large
    pick = np.array([i for i in polygons.order.tolist() if large[i] and i not in polygons.clipped])
    inner = without_outline(polygons.pixels, polygons.first, polygons.counts)
    shift = np.repeat(low, polygons.counts, axis=0)
    fixed = np.rint((inner - shift) * (1 << _SHIFT)).astype(np.int32)
    ranges = np.column_stack([low, high, polygons.first, polygons.first + polygons.counts])
    for i, polygon in polygons.clipped.items():
        if len(polygon) >= 3:
            _paint_clipped(painted, axes, polygon, polygons.plane[i], i + 1)
    for i, (left, top, right, bottom, begin, end) in zip(
        pick.tolist(), ranges[pick.astype(np.int64)].tolist(), strict=True
    ):
        window = (slice(top, bottom), slice(left, right))
        _paint_polygon(painted, axes, window, fixed[begin:end], polygons.plane[i], i + 1)
    return np.asarray(small)


def _paint_clipped(
    painted: Painted,
    axes: tuple[Float32, Float32],
    polygon: Float64,
    plane: Float32,
    value: int,
) -> None:
    height, width = painted.number.shape
    low = np.clip(np.floor(polygon.min(axis=0)), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(polygon.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if (high > low).all():
        fixed = np.rint((polygon - low) * (1 << _SHIFT)).astype(np.int32)
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        _paint_polygon(painted, axes, window, fixed, plane, value)


def _paint_polygon(
    painted: Painted,
    axes: tuple[Float32, Float32],
    window: tuple[slice, slice],
    fixed: NDArray[np.int32],
    plane: Float32,
    value: int,
) -> None:
    """Write `value` where the polygon is not behind what is there (a tie shows the later one)."""
    part = painted.inverse_depth[window]
    mask = np.zeros(part.shape, dtype=np.uint8)
    cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, _SHIFT)
    inverse = np.add.outer(plane[1] * axes[1][window[0]] + plane[2], plane[0] * axes[0][window[1]])
    shown = inverse >= part
    shown &= mask.view(np.bool_)
    np.copyto(part, inverse, where=shown)
    np.copyto(painted.number[window], value, where=shown)
