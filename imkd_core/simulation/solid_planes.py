# SPDX-License-Identifier: Apache-2.0
"""Shapes as arrays of planes, ready for rays (see `ray_casting`)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.scene import Face, Shape, Solid

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: Optical properties kept for a hit: columns of `Hits.surface`.
PROPERTIES = ("reflectance", "gloss", "retro")


@dataclass(frozen=True, kw_only=True, eq=False)
class SolidPlanes:
    """A shape as arrays: K planes of S solids, D decals with E edges, all in the body frame."""

    normals: Float64  # (K, 3)
    offsets: Float64  # (K,)
    starts: Indices  # (S,) first plane of each solid
    properties: Float32  # (K + D, 3)
    edges: Float64  # (E, 4): inside is edges[:, :3] @ point >= edges[:, 3]
    edge_starts: Indices  # (D,) first edge of each decal
    decal_plane: Indices  # (D,) plane on which it is painted


@lru_cache(maxsize=8192)
def solid_planes(shape: Shape) -> SolidPlanes:
    """Return the planes and decals of a shape, made once for each shape."""
    planes = [solid.planes for solid in shape.solids]
    stacked = np.concatenate(planes)
    starts = np.cumsum([0] + [len(p) for p in planes[:-1]])
    faces = [face for solid in shape.solids for face in solid.faces]
    decals, decal_plane = _decals(shape.solids, starts)
    edges = [_edges(decal) for decal in decals]
    return SolidPlanes(
        normals=stacked[:, :3],
        offsets=stacked[:, 3],
        starts=starts,
        properties=np.array(
            [[getattr(face.surface, name) for name in PROPERTIES] for face in faces + decals],
            dtype=np.float32,
        ),
        edges=np.concatenate([np.zeros((0, 4)), *edges]),
        edge_starts=np.cumsum([0] + [len(e) for e in edges[:-1]]),
        decal_plane=np.asarray(decal_plane, dtype=np.int64),
    )


def _decals(solids: tuple[Solid, ...], starts: Indices) -> tuple[list[Face], list[int]]:
    pairs = [
        (decal, int(start) + face)
        for solid, start in zip(solids, starts, strict=True)
        for face, decal in solid.decals
    ]
    return [decal for decal, _ in pairs], [plane for _, plane in pairs]


def _edges(decal: Face) -> Float64:
    """Return (V, 4) half-spaces that bound a polygon in its plane."""
    along = np.roll(decal.corners_m, -1, axis=0) - decal.corners_m
    inward = np.cross(decal.normal, along)
    return np.column_stack([inward, (inward * decal.corners_m).sum(axis=1)])


def surface_at(shape: SolidPlanes, points: Float64, plane: Indices) -> Float32:
    """Return (n, 3) properties at points of the body frame: the decal there, else the face."""
    row = plane
    if len(shape.decal_plane):
        beyond = shape.edges[:, :3] @ points.T >= shape.edges[:, 3:]
        inside = np.logical_and.reduceat(beyond, shape.edge_starts, axis=0)
        inside &= shape.decal_plane[:, None] == plane[None, :]
        last = len(inside) - 1 - inside[::-1].argmax(axis=0)
        row = np.where(inside.any(axis=0), len(shape.normals) + last, plane)
    return shape.properties[row]


def planes_at(
    shape: SolidPlanes, global_from_body: Float64, zero_m: Float64
) -> tuple[Float32, Float32]:
    """Return (K, 3) normals and (K,) offsets in axes of the global frame with origin `zero_m`."""
    normals = shape.normals @ global_from_body[:3, :3].T
    offsets = shape.offsets + normals @ (global_from_body[:3, 3] - zero_m)
    return normals.astype(np.float32), offsets.astype(np.float32)
