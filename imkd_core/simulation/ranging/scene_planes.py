# SPDX-License-Identifier: Apache-2.0
"""All planes of a `Snapshot` in one table, and what is seen where rays meet them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.solid_planes import SolidPlanes, solid_planes
from imkd_core.simulation.world.scene import Snapshot

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: An origin this near to a plane counts as this far behind it, metres.
_TOUCHING_M = 1e-6


#: Far more than any plane is long: what is along one plane is kept apart from the next.
_APART_M = 4096.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePlanes:
    """K planes of S solids of B bodies, in axes of the global frame with another origin.

    Attributes:
        shapes: (B,) the bodies' own planes.
        poses: (B, 4, 4) `global_from_body`, less the origin.
        normals: (K, 3) float32 to the outside.
        offsets: (K,) float32: inside is `normals @ point <= offsets`.
        first_plane: (B + 1,) where the planes of each body begin.
        first_solid: (B + 1,) likewise its solids.
    """

    shapes: tuple[SolidPlanes, ...]
    poses: Float64
    normals: Float32
    offsets: Float32
    first_plane: Indices
    first_solid: Indices

    @cached_property
    def body(self) -> Indices:
        """(K,) body of each plane."""
        return np.repeat(np.arange(len(self.shapes)), np.diff(self.first_plane))

    @cached_property
    def solid(self) -> Indices:
        """(K,) solid of each plane, ascending."""
        local = np.concatenate([np.zeros(0, np.int64), *(shape.solid for shape in self.shapes)])
        return local + self.first_solid[self.body]

    def surfaces(self, points: Float32, plane: Indices) -> Float32:
        """Return (n, 3) properties of what n points on n planes show: a decal, or the face.

        Args:
            points: (n, 3) in the axes of the planes.
            plane: (n,) rows of the table.
        """
        found = self._of_faces[plane]
        count = np.concatenate([np.zeros(0, int), *(s.decal_count for s in self.shapes)])
        asked = np.flatnonzero(count[plane])
        on_plane = plane[asked]
        body = self.body[on_plane]
        away = points[asked] - self.poses[body, :3, 3].astype(np.float32)
        local = np.einsum("nc,ncr->nr", away, self.poses[body, :3, :3].astype(np.float32))
        first, end = self._decals_near(local, on_plane)
        pair = np.repeat(np.arange(len(asked)), end - first)
        decal = np.arange(len(pair)) + np.repeat(
            first - np.cumsum(end - first) + end - first, end - first
        )
        for edge in self._decal_edges:
            line = edge[decal]
            kept = np.einsum("nc,nc->n", line[:, :3], local[pair]) >= line[:, 3]
            pair, decal = pair[kept], decal[kept]
        last = np.argsort(self._painted_after[decal], kind="stable")
        found[asked[pair[last]]] = self._of_decals[decal[last]]
        return found

    def _decals_near(self, points: Float32, plane: Indices) -> tuple[Indices, Indices]:
        """Return first and end (n,) of the decals that may hold points of the body frames."""
        axis = np.concatenate([np.zeros((0, 3)), *(shape.axis for shape in self.shapes)])
        widest = np.concatenate([np.zeros(0), *(shape.widest_m for shape in self.shapes)])
        parts = [
            (shape.decal_plane[shape.by_place] + start) * _APART_M + shape.low_m
            for shape, start in zip(self.shapes, self.first_plane.tolist(), strict=False)
        ]
        begin = np.concatenate([np.zeros(0), *parts])
        along = np.einsum("nc,nc->n", axis[plane], points) + plane * _APART_M
        first = np.searchsorted(begin, along - widest[plane] - _TOUCHING_M)
        return first, np.searchsorted(begin, along + _TOUCHING_M, side="right")

    @cached_property
    def _painted_after(self) -> Indices:
        """(D,) in which order the decals of a body are painted."""
        return np.concatenate([np.zeros(0, np.int64), *(s.by_place for s in self.shapes)])

    @cached_property
    def _of_faces(self) -> Float32:
        parts = [shape.properties[: len(shape.normals)] for shape in self.shapes]
        return np.concatenate([np.zeros((0, 3), np.float32), *parts])

    @cached_property
    def _of_decals(self) -> Float32:
        parts = [shape.properties[len(shape.normals) :][shape.by_place] for shape in self.shapes]
        return np.concatenate([np.zeros((0, 3), np.float32), *parts])

    @cached_property
    def _decal_edges(self) -> Float32:
        """(E, D, 4) edges of all decals; those with fewer repeat their last."""
        shapes = [shape for shape in self.shapes if len(shape.decal_plane)]
        most = max((len(shape.edges) for shape in shapes), default=0)
        parts = [
            shape.edges[np.minimum(np.arange(most), len(shape.edges) - 1)][:, shape.by_place]
            for shape in shapes
        ]
        return np.concatenate([np.zeros((most, 0, 4), np.float32), *parts], axis=1)


def scene_planes(snapshot: Snapshot, zero_m: Float64) -> ScenePlanes:
    """Return the planes of all bodies as seen from `zero_m` (3,)."""
    shapes = tuple(solid_planes(placed.body.shape) for placed in snapshot.placed)
    poses = np.array([placed.global_from_body for placed in snapshot.placed]).reshape(-1, 4, 4)
    poses[:, :3, 3] -= zero_m
    counts = np.array([len(shape.normals) for shape in shapes], dtype=np.int64)
    body = np.repeat(np.arange(len(shapes)), counts)
    local = np.concatenate([np.zeros((0, 3)), *(shape.normals for shape in shapes)])
    offsets = np.concatenate([np.zeros(0), *(shape.offsets for shape in shapes)])
    normals = np.einsum("kc,krc->kr", local, poses[body, :3, :3])
    offsets += np.einsum("kr,kr->k", normals, poses[body, :3, 3])
    solids = np.array([int(shape.solid[-1]) + 1 for shape in shapes], dtype=np.int64)
    return ScenePlanes(
        shapes=shapes,
        poses=poses,
        normals=normals.astype(np.float32),
        offsets=offsets.astype(np.float32),
        first_plane=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        first_solid=np.concatenate([[0], np.cumsum(solids)]).astype(np.int64),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """The planes that face the origin, or those that do not, ready for one product per body.

    Attributes:
        lines: (T, 3) float32 normal / offset; body after body, `width` rows for each solid.
        plane: (T,) row of the table each is from.
        start: (B + 1,) first row of a body.
        width: (B,) rows of each of its solids.
        count: (S,) planes of each solid that are on this side.
    """

    lines: Float32
    plane: Indices
    start: Indices
    width: Indices
    count: Indices


def sides(planes: ScenePlanes) -> tuple[Side, Side]:
    """Return the planes that rays from the origin enter by, and those that they leave by.

    With u = normal @ ray / offset a ray meets a plane at the range 1 / u. It meets a solid where
    the least u of the planes that face the origin is larger than the largest of the others.
    """
    front = planes.offsets < 0
    touching = np.abs(planes.offsets) < _TOUCHING_M
    divisors = np.where(touching, np.float32(_TOUCHING_M), planes.offsets).astype(np.float32)
    lines: Float32 = planes.normals / divisors[:, None]
    lines = np.concatenate([lines, np.zeros((1, 3))], dtype=np.float32)
    front &= ~touching
    return _side(planes, lines, front, True), _side(planes, lines, ~front, False)


def _side(planes: ScenePlanes, lines: Float32, chosen: NDArray[np.bool_], repeat: bool) -> Side:
    """Fill up with the first plane of the solid if `repeat`, else with lines that are never met."""
    rows = np.flatnonzero(chosen)
    solid = planes.solid[rows]
    count = np.bincount(solid, minlength=int(planes.first_solid[-1]))
    first = np.cumsum(count) - count
    solids = np.diff(planes.first_solid)
    width = np.maximum(np.maximum.reduceat(count, planes.first_solid[:-1]), 1)
    start = np.concatenate([[0], np.cumsum(solids * width)]).astype(np.int64)
    body = np.repeat(np.arange(len(solids)), solids)
    base = start[body] + (np.arange(len(body)) - planes.first_solid[body]) * width[body]
    nothing = len(lines) - 1
    fill = np.full(len(count), nothing, dtype=np.int64)
    if repeat:
        some = count > 0
        fill[some] = rows[first[some]]
    plane = np.repeat(fill, width[body])
    plane[base[solid] + np.arange(len(rows)) - first[solid]] = rows
    return Side(lines=lines[plane], plane=plane, start=start, width=width, count=count)
