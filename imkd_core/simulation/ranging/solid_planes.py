# SPDX-License-Identifier: Apache-2.0
"""Shapes as arrays of planes, ready for rays (see `ray_casting`)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Face, Shape, Solid

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


@lru_cache(maxsize=1024)
def solid_planes(shape: Shape) -> SolidPlanes:
    """Return the planes and decals of a shape, made once for each shape."""
    solids = sorted(shape.solids, key=lambda solid: len(solid.faces))
    counts = [len(solid.faces) for solid in solids]
    starts = np.cumsum([0, *counts[:-1]])
    stacked = np.concatenate([solid.planes for solid in solids])
    faces = [face for solid in solids for face in solid.faces]
    decals, decal_plane = _decals(solids, starts)
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
        decal_plane=np.asarray(decal_plane, dtype=np.int64),
    )


def _decals(solids: list[Solid], starts: Indices) -> tuple[list[Face], list[int]]:
    pairs = [
        (decal, int(start) + face)
        for solid, start in zip(solids, starts, strict=True)
        for face, decal in solid.decals
    ]
    return [decal for decal, _ in pairs], [plane for _, plane in pairs]


def _edges(decals: list[Face]) -> Float32:
    """Return (E, D, 4) half-spaces that bound D polygons in their planes; the last is repeated."""
    most = max((len(decal.corners_m) for decal in decals), default=0)
    edges = np.zeros((most, len(decals), 4), dtype=np.float32)
    for column, decal in enumerate(decals):
        along = np.roll(decal.corners_m, -1, axis=0) - decal.corners_m
        inward = np.cross(decal.normal, along)
        offsets = (inward * decal.corners_m).sum(axis=1)
        edges[: len(along), column] = np.column_stack([inward, offsets])
        edges[len(along) :, column] = edges[len(along) - 1, column]
    return edges


def surface_at(shape: SolidPlanes, points: Float32, plane: Indices) -> Float32:
    """Return (n, 3) properties at points of the body frame: the decal there, else the face."""
    if len(shape.decal_plane) == 0:
        return shape.properties[plane]
    flat = shape.edges.reshape(-1, 4)
    beyond = flat[:, :3] @ points.T >= flat[:, 3:]
    inside = beyond.reshape(len(shape.edges), -1, len(points)).all(axis=0)
    inside &= shape.decal_plane[:, None] == plane[None, :]
    last = len(inside) - 1 - inside[::-1].argmax(axis=0)
    painted = inside[last, np.arange(len(points))]
    return shape.properties[np.where(painted, len(shape.normals) + last, plane)]


def planes_at(
    shape: SolidPlanes, global_from_body: Float64, zero_m: Float64
) -> tuple[Float32, Float32]:
    """Return (K, 3) normals and (K,) offsets in axes of the global frame with origin `zero_m`."""
    normals = shape.normals @ global_from_body[:3, :3].T
    offsets = shape.offsets + normals @ (global_from_body[:3, 3] - zero_m)
    return normals.astype(np.float32), offsets.astype(np.float32)
