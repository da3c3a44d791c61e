# SPDX-License-Identifier: Apache-2.0
"""What rays hit first in a `Snapshot`: convex solids, cut by half-spaces, and the flat ground.

A ray is inside a solid between the last plane that it enters and the first that it leaves
(Cyrus and Beck 1978). Bodies are tried one by one, each with the rays that pass near it alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.ray_windows import body_windows
from imkd_core.simulation.ranging.scene_planes import ScenePlanes, scene_planes
from imkd_core.simulation.ranging.solid_planes import PROPERTIES, SolidPlanes
from imkd_core.simulation.ranging.sweep_hits import first_hits
from imkd_core.simulation.world.scene import Ground, Snapshot

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: `Hits.placed_index` of rays that end on the ground, and of those that hit nothing.
GROUND = -1
NOTHING = -2

#: Diffuse reflectance of the ground outside the raster.
_FAR_GROUND_REFLECTANCE = 0.2

#: A ray this nearly parallel to a plane counts as leaving it very far away.
_PARALLEL = np.float32(1e-9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """The first thing that each of R rays hits.

    Attributes:
        range_m: (R,) float32; infinite where nothing is hit.
        placed_index: (R,) row in `Snapshot.placed`, `GROUND` or `NOTHING`.
        incidence: (R,) float32 cosine between the ray and the surface's normal, 0..1.
        surface: (R, 3) float32 columns `PROPERTIES` of what is hit; 0 where nothing is.
    """

    range_m: Float32
    placed_index: Indices
    incidence: Float32
    surface: Float32

    @property
    def reflectance(self) -> Float32:
        """(R,) diffuse reflectance at 905 nm, 0..1."""
        return self.surface[:, 0]

    @property
    def gloss(self) -> Float32:
        """(R,) share of mirror-like reflection, 0..1."""
        return self.surface[:, 1]

    @property
    def retro(self) -> Float32:
        """(R,) retro-reflectivity, 0..1."""
        return self.surface[:, 2]


def cast(
    snapshot: Snapshot, origin_m: Float64, directions: Float64, max_range_m: float = 200.0
) -> Hits:
    """Return the first hit of each ray, on bodies and on the ground.

    Args:
        snapshot: the world.
        origin_m: (3,) of all rays, or (R, 3); global frame.
        directions: (R, 3) unit vectors, global frame.
        max_range_m: what is farther is not hit.
    """
    origins = np.asarray(origin_m, dtype=np.float64)
    rays = np.asarray(directions, dtype=np.float32)
    if origins.ndim == 1:
        start = np.zeros((1, 3), np.float32)
        near = _near_rays(snapshot, origins, start, rays)
        return _cast_from(snapshot, origins, rays, near, max_range_m)
    zero = origins.mean(axis=0) if len(origins) else np.zeros(3)
    starts = (origins - zero).astype(np.float32)
    return _cast(
        snapshot, zero, starts, rays, _near_rays(snapshot, zero, starts, rays), max_range_m
    )


def cast_sweep(
    snapshot: Snapshot,
    global_from_sensor: Float64,
    elevation_rad: Float64,
    azimuths: int,
    max_range_m: float = 200.0,
) -> Hits:
    """Return the first hits of a full turn, fast: a body is tried with the rays of its window.

    Args:
        snapshot: the world.
        global_from_sensor: (4, 4) pose of the sensor; its z axis is the axis of the turn.
        elevation_rad: (E,) of the beams above the sensor's x-y plane, ascending.
        azimuths: A, evenly spaced counter-clockwise from the sensor's x axis.
        max_range_m: what is farther is not hit.

    Returns:
        Hits of E * A rays, beam after beam; their directions are `sweep_directions`.
    """
    directions = sweep_directions(tuple(elevation_rad), azimuths)
    rays = directions @ global_from_sensor[:3, :3].T.astype(np.float32)
    windows = body_windows(snapshot, global_from_sensor, np.asarray(elevation_rad), azimuths)
    origin = np.asarray(global_from_sensor[:3, 3])
    return _cast_from(snapshot, origin, rays, windows, max_range_m)


def _cast_from(
    snapshot: Snapshot,
    origin: Float64,
    rays: Float32,
    windows: Iterable[tuple[int, float, Indices]],
    max_range_m: float,
) -> Hits:
    """Cast rays from one origin at (placed, least range, rays)."""
    start = np.zeros((1, 3), np.float32)
    range_m = _ground_range(origin, start, rays, max_range_m)
    placed_index = np.where(np.isfinite(range_m), GROUND, NOTHING)
    planes, plane = None, np.full(len(rays), -1)
    if snapshot.placed:
        planes = scene_planes(snapshot, origin)
        plane = first_hits(planes, rays, windows, max_range_m, range_m, placed_index)
    return _describe(snapshot, planes, origin, start, rays, range_m, placed_index, plane)


@lru_cache(maxsize=4)
def sweep_directions(elevation_rad: tuple[float, ...], azimuths: int) -> Float32:
    """Return (E * A, 3) float32 unit vectors of a full turn, beam after beam, sensor frame."""
    elevation = np.asarray(elevation_rad)[:, None]
    azimuth = np.arange(azimuths)[None, :] * (2 * np.pi / azimuths)
    vectors = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation) * np.ones_like(azimuth),
        ],
        axis=-1,
    )
    directions = vectors.reshape(-1, 3).astype(np.float32)
    directions.setflags(write=False)
    return directions


def _cast(
    snapshot: Snapshot,
    zero_m: Float64,
    starts: Float32,
    rays: Float32,
    candidates: Iterable[tuple[int, float, Indices]],
    max_range_m: float,
) -> Hits:
    """Cast rays from `zero_m + starts`, (1, 3) or (R, 3), at (placed, least range, rays)."""
    range_m = _ground_range(zero_m, starts, rays, max_range_m)
    placed_index = np.where(np.isfinite(range_m), GROUND, NOTHING)
    plane = np.full(len(rays), -1)
    planes = scene_planes(snapshot, zero_m) if snapshot.placed else None
    for index, _, chosen in candidates:
        if planes is None:
            break
        shape = planes.shapes[index]
        own = slice(planes.first_plane[index], planes.first_plane[index + 1])
        start = starts if len(starts) == 1 else starts[chosen]
        hit_range, hit_plane = _clip(
            shape, planes.normals[own], planes.offsets[own], start, rays[chosen]
        )
        nearer = hit_range < np.minimum(range_m[chosen], max_range_m)
        won = chosen[nearer]
        range_m[won] = hit_range[nearer]
        placed_index[won] = index
        plane[won] = hit_plane[nearer] + planes.first_plane[index]
    return _describe(snapshot, planes, zero_m, starts, rays, range_m, placed_index, plane)


def _clip(
    shape: SolidPlanes, normals: Float32, offsets: Float32, starts: Float32, rays: Float32
) -> tuple[Float32, Indices]:
    """Return (n,) range to the nearest solid (infinite where none), and the plane it is on."""
    slope = normals @ rays.T
    slope[slope == 0] = _PARALLEL
    distance = (offsets[:, None] - normals @ starts.T) / slope
    entering = slope < 0
    enter = np.where(entering, distance, np.float32(-np.inf))
    leave = np.where(entering, np.float32(np.inf), distance)
    first = _by_solid(enter, shape, np.maximum)
    last = _by_solid(leave, shape, np.minimum)
    first[(first > last) | (first <= 0)] = np.inf
    solid = first.argmin(axis=0)
    range_m = first[solid, np.arange(len(rays))]
    plane = np.zeros(len(rays), dtype=np.int64)
    hit = np.flatnonzero(np.isfinite(range_m))
    of_others = shape.solid[:, None] != solid[None, hit]
    plane[hit] = np.where(of_others, np.float32(-np.inf), enter[:, hit]).argmax(axis=0)
    return range_m, plane


def _by_solid(values: Float32, shape: SolidPlanes, reduce: np.ufunc) -> Float32:
    """Reduce (K, n) values of planes to (S, n) of solids."""
    parts = [
        reduce.reduce(values[start : start + solids * planes].reshape(solids, planes, -1), axis=1)
        for start, solids, planes in shape.groups
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _ground_range(zero_m: Float64, starts: Float32, rays: Float32, max_range_m: float) -> Float32:
    height = np.broadcast_to(starts[:, 2] + np.float32(zero_m[2]), len(rays))
    range_m = np.full(len(rays), np.inf, dtype=np.float32)
    down = (rays[:, 2] < -1e-6) & (height > 0)
    range_m[down] = height[down] / -rays[down, 2]
    range_m[range_m > max_range_m] = np.inf
    return range_m


def _describe(
    snapshot: Snapshot,
    planes: ScenePlanes | None,
    zero_m: Float64,
    starts: Float32,
    rays: Float32,
    range_m: Float32,
    placed_index: Indices,
    plane: Indices,
) -> Hits:
    """Look up incidence and surface of every hit."""
    incidence = np.zeros(len(rays), dtype=np.float32)
    surface = np.zeros((len(rays), len(PROPERTIES)), dtype=np.float32)
    rows = np.flatnonzero(placed_index == GROUND)
    spot = _points(starts, rays, range_m, rows)[:, :2]
    incidence[rows] = -rays[rows, 2]
    surface[rows, 0] = ground_reflectance(snapshot.ground, zero_m[:2] + spot)
    if planes is None:
        return Hits(
            range_m=range_m, placed_index=placed_index, incidence=incidence, surface=surface
        )
    rows = np.flatnonzero(placed_index >= 0)
    normals = planes.normals[plane[rows]]
    incidence[rows] = np.abs(np.einsum("nc,nc->n", normals, rays[rows]))
    surface[rows] = planes.surfaces(_points(starts, rays, range_m, rows), plane[rows])
    return Hits(range_m=range_m, placed_index=placed_index, incidence=incidence, surface=surface)


def _points(starts: Float32, rays: Float32, range_m: Float32, rows: Indices) -> Float32:
    start = starts if len(starts) == 1 else starts[rows]
    return np.asarray(start + rays[rows] * range_m[rows, None])


def ground_reflectance(ground: Ground, points_xy: Float64) -> Float32:
    """Return (N,) diffuse reflectance at 905 nm of the ground at (N, 2) global points."""
    cell = np.floor((points_xy - np.asarray(ground.origin_m)) / ground.pixel_m).astype(np.int64)
    rows, columns = ground.reflectance.shape
    inside = ((cell >= 0) & (cell < (columns, rows))).all(axis=1)
    values = np.full(len(cell), _FAR_GROUND_REFLECTANCE, dtype=np.float32)
    values[inside] = ground.reflectance[cell[inside, 1], cell[inside, 0]] / np.float32(255)
    return values


def _near_rays(
    snapshot: Snapshot, zero_m: Float64, starts: Float32, rays: Float32
) -> Iterator[tuple[int, float, Indices]]:
    """Give (placed, least range, rays) for the rays that pass the ball around each body."""
    if not snapshot.placed or not len(rays):
        return
    sizes = np.array([placed.body.shape.size_m for placed in snapshot.placed])
    radius = np.linalg.norm(sizes, axis=1) / 2 + 1e-3
    centers = np.array([placed.global_from_body[:3, 3] for placed in snapshot.placed]) - zero_m
    away = centers.astype(np.float32) @ rays.T - (starts * rays).sum(axis=1)  # (B, R)
    square = (centers**2).sum(axis=1)[:, None] + (starts**2).sum(axis=1)
    square = square - 2 * centers @ starts.T
    near = square - np.maximum(away, 0) ** 2 <= (radius**2)[:, None]
    for index in np.flatnonzero(near.any(axis=1)).tolist():
        yield index, 1e-6, np.flatnonzero(near[index])
