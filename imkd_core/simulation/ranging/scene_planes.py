# SPDX-License-Identifier: Apache-2.0
"""All planes of a `Snapshot` in one table, and what is seen where rays meet them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.solid_planes import SolidPlanes, solid_planes
from imkd_core.simulation.world.scene import Shape, Snapshot

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: An origin this near to a plane counts as this far behind it, metres.
_TOUCHING_M = 1e-6


#: Decals are looked for this far around a point, along the axis of its plane.
_SLACK_M = 1e-3

#: Far more than any plane is long: what is along one plane is kept apart from the next.
_APART_M = 4096.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeTable:
    """K planes of S solids and D decals of B shapes, in the frames of their bodies.

    Attributes:
        normals: (K, 3) to the outside.
        offsets: (K,) inside is `normals @ point <= offsets`.
        solid: (K,) ascending.
        body: (K,) ascending.
        first_plane: (B + 1,) where the planes of each shape begin.
        first_solid: (B + 1,) likewise its solids.
        of_faces: (K, 3) float32 `PROPERTIES` of the faces.
        of_decals: (D, 3) likewise; decals are ordered by plane, then along the plane's axis.
        painted: (D,) in which order the decals of a shape are painted.
        begin: (D,) where they begin along the axis, plus `_APART_M` for each plane.
        edges: (E, D, 4) float32 half-spaces; decals with fewer repeat their last.
        decal_count: (K,) of each plane.
        axis: (K, 3) float32 in each plane.
        widest: (K,) of the decals on each plane, along the axis.
    """

    normals: Float64
    offsets: Float64
    solid: Indices
    body: Indices
    first_plane: Indices
    first_solid: Indices
    of_faces: Float32
    of_decals: Float32
    painted: Indices
    begin: Float64
    edges: Float32
    decal_count: Indices
    axis: Float32
    widest: Float64


@lru_cache(maxsize=8)
def shape_table(shapes: tuple[Shape, ...]) -> ShapeTable:
    """Return the planes of shapes, one at least, in one table; a drive asks for few."""
    parts = [solid_planes(shape) for shape in shapes]
    counts = np.array([len(part.normals) for part in parts])
    first_plane = np.concatenate([[0], np.cumsum(counts)])
    first_solid = np.cumsum([0, *(int(part.solid[-1]) + 1 for part in parts)])
    body = np.repeat(np.arange(len(parts)), counts)
    starts = zip(parts, first_plane[:-1].tolist(), strict=True)
    begin = [(part.decal_plane[part.by_place] + k) * _APART_M + part.low_m for part, k in starts]
    most = max(len(part.edges) for part in parts)
    edges = [_with_edges(part.edges[:, part.by_place], most) for part in parts]
    return ShapeTable(
        normals=np.concatenate([part.normals for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        solid=np.concatenate([part.solid for part in parts]) + first_solid[body],
        body=body,
        first_plane=first_plane,
        first_solid=first_solid,
        of_faces=np.concatenate([part.properties[: len(part.normals)] for part in parts]),
        of_decals=np.concatenate(
            [part.properties[len(part.normals) :][part.by_place] for part in parts]
        ),
        painted=np.concatenate([part.by_place for part in parts]),
        begin=np.concatenate(begin),
        edges=np.concatenate(edges, axis=1),
        decal_count=np.concatenate([part.decal_count for part in parts]),
        axis=np.concatenate([part.axis for part in parts]).astype(np.float32),
        widest=np.concatenate([part.widest_m for part in parts]),
    )


def _with_edges(edges: Float32, count: int) -> Float32:
    """Return (count, D, 4) edges: the last one is repeated."""
    if not len(edges):
        return np.zeros((count, 0, 4), dtype=np.float32)
    return edges[np.minimum(np.arange(count), len(edges) - 1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePlanes:
    """K planes of B bodies, in axes of the global frame with another origin.

    Attributes:
        table: of the bodies' shapes.
        shapes: (B,) the bodies' own planes.
        turns: (B, 3, 3) float32 rotations `global_from_body`.
        centers: (B, 3) float32 origins of the bodies.
        normals: (K, 3) float32 to the outside.
        offsets: (K,) float32: inside is `normals @ point <= offsets`.
    """

    table: ShapeTable
    shapes: tuple[SolidPlanes, ...]
    turns: Float32
    centers: Float32
    normals: Float32
    offsets: Float32

    @property
    def first_plane(self) -> Indices:
        """(B + 1,) where the planes of each body begin."""
        return self.table.first_plane

    @property
    def first_solid(self) -> Indices:
        """(B + 1,) where the solids of each body begin."""
        return self.table.first_solid

    def surfaces(self, points: Float32, plane: Indices) -> Float32:
        """Return (n, 3) properties of what n points on n planes show: a decal, or the face.

        Args:
            points: (n, 3) in the axes of the planes.
            plane: (n,) rows of the table.
        """
        table = self.table
        found = table.of_faces[plane]
        asked = np.flatnonzero(table.decal_count[plane])
        on_plane = plane[asked]
        body = table.body[on_plane]
        local = np.einsum("nc,ncr->nr", points[asked] - self.centers[body], self.turns[body])
        along = np.einsum("nc,nc->n", table.axis[on_plane], local) + on_plane * _APART_M
        first = np.searchsorted(table.begin, along - table.widest[on_plane] - _SLACK_M)
        count = np.searchsorted(table.begin, along + _SLACK_M, side="right") - first
        pair = np.repeat(np.arange(len(asked)), count)
        decal = np.arange(len(pair)) + np.repeat(first - np.cumsum(count) + count, count)
        for edge in table.edges:
            line = edge[decal]
            kept = np.einsum("nc,nc->n", line[:, :3], local[pair]) >= line[:, 3]
            pair, decal = pair[kept], decal[kept]
        last = np.argsort(table.painted[decal], kind="stable")
        found[asked[pair[last]]] = table.of_decals[decal[last]]
        return found


def scene_planes(snapshot: Snapshot, zero_m: Float64) -> ScenePlanes:
    """Return the planes of all bodies, one at least, as seen from `zero_m` (3,)."""
    table = shape_table(tuple(placed.body.shape for placed in snapshot.placed))
    turns = np.array([placed.global_from_body[:3, :3] for placed in snapshot.placed])
    centers = np.array([placed.global_from_body[:3, 3] for placed in snapshot.placed]) - zero_m
    normals = np.einsum("kc,krc->kr", table.normals, turns[table.body])
    offsets = table.offsets + np.einsum("kr,kr->k", normals, centers[table.body])
    return ScenePlanes(
        table=table,
        shapes=tuple(solid_planes(placed.body.shape) for placed in snapshot.placed),
        turns=turns.astype(np.float32),
        centers=centers.astype(np.float32),
        normals=normals.astype(np.float32),
        offsets=offsets.astype(np.float32),
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
    solid = planes.table.solid[rows]
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
