# SPDX-License-Identifier: Apache-2.0
"""What the made-up world is made of, and what it looks like at one moment.

Every sensor renders the same `Snapshot`: bodies of convex solids on flat ground (z = 0 of the
global frame), under one `Condition`. Body frames: x forward, y left, z up, origin at the centre
of the annotated box. Global frame: x east, y north, z up, metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ConfigError
from imkd_core.geometry import Float64

#: Kinds of weather and light; each acts on every sensor.
CONDITIONS = ("clear", "rain", "fog", "night", "low_sun")


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Optical properties of a painted, glazed or rubber surface.

    Attributes:
        albedo: linear RGB reflectance in daylight, 0..1.
        reflectance: diffuse reflectance at 905 nm, 0..1.
        gloss: share of mirror-like reflection, 0..1; wet and glazed surfaces lose LiDAR returns.
        retro: retro-reflectivity, 0..1; plates and signs saturate a LiDAR.
        glow: linear RGB light that the surface gives off (lamps).
    """

    albedo: tuple[float, float, float]
    reflectance: float
    gloss: float = 0.0
    retro: float = 0.0
    glow: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A flat convex polygon of a solid, or painted on one (a window, a lamp, a plate).

    Attributes:
        corners_m: (V, 3) float64 in the body frame, counter-clockwise seen from outside.
        surface: what it is made of.
    """

    corners_m: Float64
    surface: Surface

    @cached_property
    def normal(self) -> Float64:
        """(3,) unit vector to the outside."""
        return np.asarray(normals_of((self,))[0])

    @cached_property
    def center_m(self) -> Float64:
        """(3,) mean of the corners."""
        return np.asarray(self.corners_m.mean(axis=0))


def normals_of(faces: Sequence[Face]) -> Float64:
    """Return (F, 3) unit vectors to the outside of faces, one at least."""
    a, b, c = np.array([face.corners_m[:3] for face in faces]).transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A convex body bounded by its faces.

    Attributes:
        faces: all of them, closed.
        decals: (face index, polygon) painted on a face: same plane, seen with it.
    """

    faces: tuple[Face, ...]
    decals: tuple[tuple[int, Face], ...] = ()

    @cached_property
    def planes(self) -> Float64:
        """(F, 4) half-spaces: inside is `planes[:, :3] @ point <= planes[:, 3]`."""
        normals = normals_of(self.faces)
        starts = np.array([face.corners_m[0] for face in self.faces])
        return np.column_stack([normals, np.einsum("fc,fc->f", normals, starts)])

    @cached_property
    def corners_m(self) -> Float64:
        """(V, 3) corners of all faces, with repeats."""
        return np.concatenate([face.corners_m for face in self.faces])


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The form of a body: solids inside a box.

    Attributes:
        solids: convex parts.
        size_m: (length, width, height) of the box, centred at the origin, that holds them tightly.
    """

    solids: tuple[Solid, ...]
    size_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse a shape that leaves its box."""
        corners = np.concatenate([solid.corners_m for solid in self.solids])
        if (np.abs(corners) > np.asarray(self.size_m) / 2 + 1e-3).any():
            raise ConfigError(f"a shape leaves its box of {self.size_m} m")


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """A thing in the world: a road user, an object, or scenery.

    Attributes:
        number: unique in its drive, from 0.
        category: nuScenes category ("vehicle.car"); "" for scenery, which is not annotated.
        shape: its form.
        rcs_dbsm: mean radar cross-section seen from the side that reflects best.
        rcs_spread_db: how far the worst aspect lies below.
    """

    number: int
    category: str
    shape: Shape
    rcs_dbsm: float
    rcs_spread_db: float = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A body at one moment.

    Attributes:
        body: what it is.
        global_from_body: (4, 4) pose of its box's centre.
        velocity_mps: (3,) in the global frame.
        yaw_rate_radps: of the body, about z.
        attribute: nuScenes attribute ("vehicle.moving"); "" where the class has none.
    """

    body: Body
    global_from_body: Float64
    velocity_mps: Float64
    yaw_rate_radps: float = 0.0
    attribute: str = ""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Weather and light of a drive.

    Attributes:
        name: one of `CONDITIONS`.
        rain_mmph: rain rate.
        visibility_m: meteorological optical range (5 % contrast); about 20 km when clear.
        sun_elevation_rad: above the horizon; negative at night.
        sun_azimuth_rad: of the direction to the sun, in the global frame.
        ambient: light of the sky, 1 on a clear day.
        sun: light of the sun, 1 on a clear day, 0 under clouds and at night.
        wet: how wet surfaces are, 0..1.
    """

    name: str
    rain_mmph: float = 0.0
    visibility_m: float = 20_000.0
    sun_elevation_rad: float = 0.8
    sun_azimuth_rad: float = 0.0
    ambient: float = 1.0
    sun: float = 1.0
    wet: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown name."""
        if self.name not in CONDITIONS:
            raise ConfigError(f"unknown condition '{self.name}'; use {', '.join(CONDITIONS)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """The flat ground as a raster: roads, lane marks, pavements, grass.

    Attributes:
        albedo: (rows, columns, 3) uint8 sRGB seen in daylight; row = y, column = x.
        reflectance: (rows, columns) uint8, diffuse reflectance at 905 nm * 255.
        origin_m: (x, y) of the outer corner of pixel (0, 0), global.
        pixel_m: side of a pixel.
    """

    albedo: NDArray[np.uint8]
    reflectance: NDArray[np.uint8]
    origin_m: tuple[float, float]
    pixel_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """The world at one moment.

    Attributes:
        time_s: since the start of the drive.
        global_from_ego: (4, 4) pose of the own vehicle (rear axle, on the ground).
        ego_velocity_mps: (3,) global.
        placed: every body near enough to matter, the own vehicle not among them.
        ground: shared by all moments of a drive.
        condition: shared likewise.
    """

    time_s: float
    global_from_ego: Float64
    ego_velocity_mps: Float64
    placed: tuple[Placed, ...]
    ground: Ground
    condition: Condition
