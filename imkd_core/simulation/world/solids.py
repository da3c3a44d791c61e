# SPDX-License-Identifier: Apache-2.0
"""Convex building blocks of shapes: boxes, frustums, prisms, wheels, beams, octahedra.

Blocks are made in any convenient coordinates (x forward, y left, z up, metres); `fitted` scales
what was made so that it fills its box exactly.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Face, Shape, Solid, Surface

#: Index of a face of a `frustum` or `box`. Sides have u to the right and v up, seen from outside.
BOTTOM, TOP, FRONT, BACK, LEFT, RIGHT = range(6)

Rect = tuple[float, float, float, float]
#: (face index, (u0, u1, v0, v1) as shares of the face, surface)
Panel = tuple[int, Rect, Surface]


def frustum(
    bottom: Rect,
    top: Rect,
    z_m: tuple[float, float],
    surface: Surface,
    panels: Iterable[Panel] = (),
) -> Solid:
    """Return a body between two level rectangles.

    Args:
        bottom: (x0, x1, y0, y1), metres.
        top: likewise.
        z_m: heights of both.
        surface: of all faces.
        panels: what is painted on the faces, see `Panel`.
    """
    a = _rect_corners(bottom, z_m[0])
    b = _rect_corners(top, z_m[1])
    quads = (
        (a[0], a[3], a[2], a[1]),
        (b[0], b[1], b[2], b[3]),
        (a[1], a[2], b[2], b[1]),
        (a[3], a[0], b[0], b[3]),
        (a[2], a[3], b[3], b[2]),
        (a[0], a[1], b[1], b[0]),
    )
    faces = tuple(Face(corners_m=np.array(quad), surface=surface) for quad in quads)
    decals = tuple((i, painted(faces[i], rect, paint)) for i, rect, paint in panels)
    return Solid(faces=faces, decals=decals)


def box(
    x_m: tuple[float, float],
    y_m: tuple[float, float],
    z_m: tuple[float, float],
    surface: Surface,
    panels: Iterable[Panel] = (),
) -> Solid:
    """Return an upright box between limits along each axis."""
    return frustum((*x_m, *y_m), (*x_m, *y_m), z_m, surface, panels)


def painted(face: Face, rect: Rect, surface: Surface) -> Face:
    """Return a rectangle painted on a quadrilateral face.

    Args:
        face: four corners; u runs from corner 0 to 1, v from corner 0 to 3.
        rect: (u0, u1, v0, v1), 0..1.
        surface: of the paint.
    """
    u0, u1, v0, v1 = rect
    u, v = np.array([u0, u1, u1, u0]), np.array([v0, v0, v1, v1])
    shares = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    return Face(corners_m=shares @ face.corners_m, surface=surface)


def prism(
    profile_xz: Sequence[tuple[float, float]],
    y_m: tuple[float, float],
    surface: Surface,
    cap_surface: Surface | None = None,
) -> Solid:
    """Return an outline in the xz plane, drawn out along y; its convex hull is taken.

    Faces: the cap at y_m[0] (seen from the right), the cap at y_m[1], then the rim.
    """
    outline = convex_hull(np.asarray(profile_xz, dtype=np.float64))
    right = np.column_stack([outline[:, 0], np.full(len(outline), y_m[0]), outline[:, 1]])
    left = right + np.array([0.0, y_m[1] - y_m[0], 0.0])
    caps = [Face(corners_m=side, surface=cap_surface or surface) for side in (right, left[::-1])]
    following = np.roll(np.arange(len(outline)), -1)
    rim = [
        Face(corners_m=np.array([right[i], left[i], left[j], right[j]]), surface=surface)
        for i, j in enumerate(following)
    ]
    return Solid(faces=(*caps, *rim))


def wheel(
    center_xz: tuple[float, float],
    radius_m: float,
    y_m: tuple[float, float],
    surfaces: tuple[Surface, Surface],
    sides: int = 10,
) -> Solid:
    """Return a wheel about the y axis: tyre and, painted on both caps, a rim."""
    angle = np.arange(sides) * 2 * np.pi / sides + np.pi / sides
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    outline = [(float(x), float(z)) for x, z in center_xz + radius_m * ring]
    solid = prism(outline, y_m, surfaces[0])
    rims = tuple((i, _shrunk(solid.faces[i], 0.6, surfaces[1])) for i in (0, 1))
    return Solid(faces=solid.faces, decals=rims)


def beam(
    start_m: ArrayLike, end_m: ArrayLike, thickness_m: tuple[float, float], surface: Surface
) -> Solid:
    """Return a bar from one point to another; thickness across (level) and the other way."""
    start, end = np.asarray(start_m, dtype=np.float64), np.asarray(end_m, dtype=np.float64)
    forward = end - start
    length = float(np.linalg.norm(forward))
    forward = forward / length
    is_upright = abs(forward[2]) > 0.99
    side = np.cross((1.0, 0.0, 0.0) if is_upright else (0.0, 0.0, 1.0), forward)
    side = side / np.linalg.norm(side)
    axes = np.column_stack([forward, side, np.cross(forward, side)])
    w, h = thickness_m[0] / 2, thickness_m[1] / 2
    return moved(box((0.0, length), (-w, w), (-h, h), surface), axes, start)


def octahedron(center_m: ArrayLike, radius_m: ArrayLike, surface: Surface) -> Solid:
    """Return an octahedron with half-axes `radius_m` (3,)."""
    center, radius = np.asarray(center_m), np.broadcast_to(np.asarray(radius_m), (3,))
    tips = {(i, s): center + s * np.eye(3)[i] * radius for i in range(3) for s in (-1, 1)}
    faces = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            for sz in (-1, 1):
                corners = [tips[0, sx], tips[1, sy], tips[2, sz]]
                ordered = corners if sx * sy * sz > 0 else corners[::-1]
                faces.append(Face(corners_m=np.array(ordered), surface=surface))
    return Solid(faces=tuple(faces))


def moved(solid: Solid, rotation: Float64, offset_m: ArrayLike) -> Solid:
    """Return a solid turned by (3, 3) about the origin, then shifted."""
    offset, turn = np.asarray(offset_m, dtype=np.float64), rotation.T
    return _mapped(solid, lambda corners: corners @ turn + offset)


def fitted(solids: Sequence[Solid], size_m: tuple[float, float, float]) -> Shape:
    """Return a shape: solids scaled along each axis so that they fill their box exactly."""
    corners = np.concatenate([solid.corners_m for solid in solids])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = np.asarray(size_m) / (high - low)
    offset = -(low + high) / 2 * scale
    scaled = (_mapped(solid, lambda corners: corners * scale + offset) for solid in solids)
    return Shape(solids=tuple(scaled), size_m=size_m)


def _mapped(solid: Solid, change: Callable[[Float64], Float64]) -> Solid:
    """Return a solid with changed corners."""
    faces = [Face(corners_m=change(f.corners_m), surface=f.surface) for f in solid.faces]
    decals = [(i, Face(corners_m=change(f.corners_m), surface=f.surface)) for i, f in solid.decals]
    return Solid(faces=tuple(faces), decals=tuple(decals))


def convex_hull(points: Float64) -> Float64:
    """Return the hull of (N, 2) points, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    lower, upper = _half_hull(ordered), _half_hull(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _half_hull(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for point in ordered:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 1e-12:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _shrunk(face: Face, share: float, surface: Surface) -> Face:
    corners = face.center_m + share * (face.corners_m - face.center_m)
    return Face(corners_m=corners, surface=surface)


def _rect_corners(rect: Rect, z: float) -> Float64:
    x0, x1, y0, y1 = rect
    return np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)])
