# SPDX-License-Identifier: Apache-2.0
"""The faces of all bodies in one table of arrays, as the cameras paint them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Face, Placed, Shape, normals_of

Float32 = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceTable:
    """F flat polygons with V corners in all; a decal follows the face that it is painted on.

    Attributes:
        points_m: (V, 3) corners, face after face.
        first: (F,) index of a face's first corner.
        plane_of: (F,) index of the face whose plane it lies in: its own, but for decals.
        normal: (F, 3) unit vectors to the outside.
        center_m: (F, 3).
        radius_m: (F,) of the circle around the centre that holds the face.
        owner: (F,) index of the body.
        look: (F, 8) float32: albedo RGB, gloss, retro, glow RGB.
    """

    points_m: Float64
    first: Index
    plane_of: Index
    normal: Float64
    center_m: Float64
    radius_m: Float64
    owner: Index
    look: Float32

    def __len__(self) -> int:
        """Return the number of faces, decals included."""
        return len(self.first)

    @cached_property
    def counts(self) -> Index:
        """(F,) number of corners of each face."""
        return np.diff(np.append(self.first, len(self.points_m)))

    @cached_property
    def offset_m(self) -> Float64:
        """(F,) of the planes: `normal @ point = offset_m`."""
        plane_of = self.plane_of
        return np.asarray(np.einsum("fc,fc->f", self.normal, self.center_m[plane_of]))


_PACKED: WeakKeyDictionary[Shape, FaceTable] = WeakKeyDictionary()


def pack_shape(shape: Shape) -> FaceTable:
    """Return the faces of a shape in its body frame; they are packed once per shape."""
    table = _PACKED.get(shape)
    if table is None:
        table = _PACKED[shape] = _pack(*_faces_in_order(shape))
    return table


def _faces_in_order(shape: Shape) -> tuple[list[Face], list[int]]:
    faces: list[Face] = []
    plane_of: list[int] = []
    for solid in shape.solids:
        for number, face in enumerate(solid.faces):
            base = len(faces)
            painted = [decal for index, decal in solid.decals if index == number]
            faces += [face, *painted]
            plane_of += [base] * (1 + len(painted))
    return faces, plane_of


def _pack(faces: list[Face], plane_of: list[int]) -> FaceTable:
    counts = np.array([len(face.corners_m) for face in faces])
    first = (np.cumsum(counts) - counts).astype(np.int64)
    look = [(*s.albedo, s.gloss, s.retro, *s.glow) for s in (face.surface for face in faces)]
    points = np.concatenate([face.corners_m for face in faces])
    extent = np.maximum.reduceat(points, first) - np.minimum.reduceat(points, first)
    return FaceTable(
        points_m=points,
        first=first,
        plane_of=np.array(plane_of, dtype=np.int64),
        normal=normals_of(faces)[plane_of],
        center_m=np.add.reduceat(points, first) / counts[:, None],
        radius_m=extent.max(axis=1) * 0.7,
        owner=np.zeros(len(faces), dtype=np.int64),
        look=np.array(look, dtype=np.float32),
    )


def place_faces(placed: Sequence[Placed], chosen: Index | None = None) -> FaceTable:
    """Return the faces of bodies in the global frame, in the order of the bodies.

    Args:
        placed: all bodies; `FaceTable.owner` are rows of it.
        chosen: rows of those to take; all if None.
    """
    rows = np.arange(len(placed)) if chosen is None else chosen
    tables = [pack_shape(placed[row].body.shape) for row in rows.tolist()]
    if not tables:
        return empty_table()
    sizes = np.array([len(t) for t in tables])
    corners = np.array([len(t.points_m) for t in tables])
    turns = np.array([placed[row].global_from_body[:3, :3] for row in rows.tolist()])
    shifts = np.array([placed[row].global_from_body[:3, 3] for row in rows.tolist()])
    face_start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    plane_of = np.concatenate([t.plane_of for t in tables])
    points = [t.points_m @ turn.T for t, turn in zip(tables, turns, strict=True)]
    centers = [t.center_m @ turn.T for t, turn in zip(tables, turns, strict=True)]
    normals = [t.normal @ turn.T for t, turn in zip(tables, turns, strict=True)]
    return FaceTable(
        points_m=np.concatenate(points) + np.repeat(shifts, corners, axis=0),
        first=np.concatenate([t.first for t in tables])
        + np.repeat(np.cumsum(corners) - corners, sizes),
        plane_of=plane_of + face_start,
        normal=np.concatenate(normals),
        center_m=np.concatenate(centers) + np.repeat(shifts, sizes, axis=0),
        radius_m=np.concatenate([t.radius_m for t in tables]),
        owner=np.repeat(rows, sizes),
        look=np.concatenate([t.look for t in tables]),
    )


def join(first: FaceTable, second: FaceTable) -> FaceTable:
    """Return the faces of two tables in one; `owner` is kept as it is."""
    return FaceTable(
        points_m=np.concatenate([first.points_m, second.points_m]),
        first=np.concatenate([first.first, second.first + len(first.points_m)]),
        plane_of=np.concatenate([first.plane_of, second.plane_of + len(first)]),
        normal=np.concatenate([first.normal, second.normal]),
        center_m=np.concatenate([first.center_m, second.center_m]),
        radius_m=np.concatenate([first.radius_m, second.radius_m]),
        owner=np.concatenate([first.owner, second.owner]),
        look=np.concatenate([first.look, second.look]),
    )


def empty_table() -> FaceTable:
    """Return a table without faces."""
    nothing = np.zeros(0, dtype=np.int64)
    return FaceTable(
        points_m=np.zeros((0, 3)),
        first=nothing,
        plane_of=nothing,
        normal=np.zeros((0, 3)),
        center_m=np.zeros((0, 3)),
        radius_m=np.zeros(0),
        owner=nothing,
        look=np.zeros((0, 8), dtype=np.float32),
    )
