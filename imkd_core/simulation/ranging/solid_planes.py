# SPDX-License-Identifier: Apache-2.0
"""Shapes as arrays of planes, ready for rays (see `ray_casting`)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Face, Shape, Solid, normals_of

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: Optical properties kept for a hit: columns of `Hits.surface`.
PROPERTIES = ("reflectance", "gloss", "retro")


@dataclass(frozen=True, kw_only=True, eq=False)
class SolidPlanes:
    """A shape as arrays: K planes of S solids, D decals of E edges, all in the body frame."""

    normals: Float64  # (K, 3)
    offsets: Float64  # (K,)
    solid: Indices  # (K,) solid that a plane bounds; solids with as many planes lie together
    groups: tuple[tuple[int, int, int], ...]  # first plane, solids, planes of each of them
    properties: Float32  # (K + D, 3)
    edges: Float32  # (E, D, 4): inside is edges[..., :3] @ point >= edges[..., 3] for all E
    decal_plane: Indices  # (D,) plane on which it is painted
    by_place: Indices  # (D,) decals by plane, then by where they begin along the plane's axis
    low_m: Float64  # (D,) where they begin, in that order
    decal_count: Indices  # (K,) decals on each plane
    axis: Float64  # (K, 3) unit vector in each plane, level if there is one
    widest_m: Float64  # (K,) of the decals on each plane, along its axis


@lru_cache(maxsize=1024)
def solid_planes(shape: Shape) -> SolidPlanes:
    """Return the planes and decals of a shape, made once for each shape."""
    solids = sorted(shape.solids, key=lambda solid: len(solid.faces))
    counts = [len(solid.faces) for solid in solids]
    starts = np.cumsum([0, *counts[:-1]])
    stacked = np.concatenate([solid.planes for solid in solids])
    faces = [face for solid in solids for face in solid.faces]
    decals, decal_plane = _decals(solids, starts)
    on_plane = np.asarray(decal_plane, dtype=np.int64)
    axis = _axes(stacked[:, :3])
    along = [decal.corners_m @ axis[p] for decal, p in zip(decals, decal_plane, strict=True)]
    low_m = np.array([part.min() for part in along])
    widest_m = np.zeros(len(stacked))
    np.maximum.at(widest_m, on_plane, np.array([np.ptp(part) for part in along]))
    by_place = np.lexsort((low_m, on_plane))
    return SolidPlanes(
        normals=stacked[:, :3],
        offsets=stacked[:, 3],
        solid=np.repeat(np.arange(len(solids)), counts),
        groups=tuple(
            (int(starts[counts.index(count)]), counts.count(count), count)
            for count in sorted(set(counts))
        ),
        properties=np.array(
            [[getattr(face.surface, name) for name in PROPERTIES] for face in faces + decals],
            dtype=np.float32,
        ),
        edges=_edges(decals),
        decal_plane=on_plane,
        by_place=by_place,
        low_m=low_m[by_place],
        decal_count=np.bincount(on_plane, minlength=len(stacked)),
        axis=axis,
        widest_m=widest_m,
    )


def _decals(solids: list[Solid], starts: Indices) -> tuple[list[Face], list[int]]:
    pairs = [
        (decal, int(start) + face)
        for solid, start in zip(solids, starts, strict=True)
        for face, decal in solid.decals
    ]
    return [decal for decal, _ in pairs], [plane for _, plane in pairs]


def _axes(normals: Float64) -> Float64:
    """Return (K, 3) unit vectors at right angles to normals and, where it is possible, level."""
    axis = np.column_stack([-normals[:, 1], normals[:, 0], np.zeros(len(normals))])
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    return np.where(length > 1e-6, axis / np.maximum(length, 1e-6), [1.0, 0.0, 0.0])


def _edges(decals: list[Face]) -> Float32:
    """Return (E, D, 4) half-spaces that bound D polygons in their planes; the last is repeated."""
    most = max((len(decal.corners_m) for decal in decals), default=0)
    edges = np.zeros((most, len(decals), 4), dtype=np.float32)
    if not decals:
        return edges
    sides = np.minimum(np.arange(most)[:, None], [len(decal.corners_m) - 1 for decal in decals])
    first = np.cumsum([0, *(len(decal.corners_m) for decal in decals[:-1])])
    corners = np.concatenate([decal.corners_m for decal in decals])
    following = np.concatenate([np.roll(decal.corners_m, -1, axis=0) for decal in decals])
    start, end = corners[first + sides], following[first + sides]
    edges[..., :3] = np.cross(normals_of(decals), end - start)
    edges[..., 3] = np.einsum("edc,edc->ed", edges[..., :3], start)
    return edges
