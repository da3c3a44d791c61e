# SPDX-License-Identifier: Apache-2.0
"""What a radar is reflected from: near faces of bodies, clutter and ghosts (see `radar`)."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.radar_fan import (
    FIELD_OF_VIEW_RAD,
    MAX_RANGE_M,
    Fan,
    Rectangles,
    look,
    rectangles,
)
from imkd_core.simulation.world.scene import Snapshot

Indices = NDArray[np.int64]

#: `Echoes.origin` of returns that belong to no body, and of those from a place where none is.
CLUTTER = -1
GHOST = -2

#: What is hidden by road users alone is seen under them, this much weaker and less often.
_UNDER_LOSS_DB = 16.0
_UNDER_SHARE = 0.35

#: Resolution: two spots of a body are told apart from this angle and depth on.
_RESOLUTION_RAD = float(np.radians(3.2))
_RESOLUTION_M = 0.8
_MOST_PER_ROAD_USER, _MOST_PER_SCENERY = 14.0, 5.0

#: Of scenery, not every part is rough enough to be seen.
_SCENERY_SHARE = 0.7

#: How deep behind the face a spot can lie (wheel arches, bumpers, interiors).
_DEPTH_M = 0.4

#: Chance that a spot on a road user is also seen in a mirror, or twice as far.
_MIRROR_CHANCE = 0.12
_TWICE_CHANCE = 0.01
_GHOST_LOSS_DB = 8.0

#: Clutter is seen whatever the SNR: it is what passed the detector.
_CLUTTER_GAIN_DB = 60.0
_CLUTTER_FAR_M = 95.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Echoes:
    """Reflections before the radar has measured them, N of them.

    Attributes:
        position: (N, 2) in the radar frame, metres.
        velocity: (N, 2) over ground, in the axes of the radar frame.
        rcs_dbsm: (N,) mean radar cross-section.
        loss_db: (N,) beyond the fall-off with range.
        origin: (N,) row in `Snapshot.placed`, `CLUTTER` or `GHOST`.
    """

    position: Float64
    velocity: Float64
    rcs_dbsm: Float64
    loss_db: Float64
    origin: Indices

    def __len__(self) -> int:
        """Return N."""
        return len(self.origin)

    def __getitem__(self, rows: NDArray[np.bool_] | Indices) -> "Echoes":
        """Return some of them."""
        return Echoes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_echoes(
    snapshot: Snapshot,
    global_from_radar: Float64,
    radar_velocity: Float64,
    clutter: float,
    rng: np.random.Generator,
) -> Echoes:
    """Return what could come back in one scan.

    Args:
        snapshot: the world.
        global_from_radar: (4, 4) pose of the radar: x forward, y left, z up.
        radar_velocity: (2,) over ground, in the axes of the radar frame.
        clutter: mean number of returns from the ground and the roadside.
        rng: draws the reflecting spots, clutter and ghosts.
    """
    things = rectangles(snapshot, global_from_radar)
    fan = look(things)
    spots, owner = _spots(things, fan, rng)
    parts = [
        spots,
        _clutter(fan, clutter, rng),
        _mirrored(things, spots[~things.scenery[owner]], rng),
        _twice(spots[~things.scenery[owner]], radar_velocity, rng),
    ]
    return Echoes(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Echoes)}
    )


def _spots(things: Rectangles, fan: Fan, rng: np.random.Generator) -> tuple[Echoes, Indices]:
    """Return spots on the near faces, and the rectangles (rows of `things`) they are on."""
    seen = fan.enter <= np.minimum(fan.free_m, MAX_RANGE_M)
    under = ~seen & (fan.enter <= np.minimum(fan.free_of_scenery_m, MAX_RANGE_M))
    weight = np.where(seen | under, fan.incidence**2 + 0.1, 0.0)
    hidden = np.logical_not(seen.any(axis=1))
    weight *= np.where(under & ~hidden[:, None], 0.05, 1.0)
    most = np.where(things.scenery, _MOST_PER_SCENERY, _MOST_PER_ROAD_USER)
    share = np.where(things.scenery, _SCENERY_SHARE, 1.0)
    mean = np.minimum(_expected(fan, seen | under) * share, most) * np.where(
        hidden, _UNDER_SHARE, 1.0
    )
    owner = np.repeat(np.arange(len(things)), rng.poisson(mean))
    column = _draw_column(weight, owner, rng)
    range_m = fan.enter[owner, column]
    depth = rng.uniform(0, _DEPTH_M, len(owner))
    range_m = np.minimum(range_m + depth, fan.leave[owner, column])
    position = fan.ray[column] * range_m[:, None]
    arm = position - things.pivot[owner]
    spin = np.column_stack([-arm[:, 1], arm[:, 0]]) * things.yaw_rate[owner, None]
    aspect = np.abs(2 * (fan.ray[column] * things.forward[owner]).sum(axis=1))
    aspect *= np.abs((fan.ray[column] * things.left[owner]).sum(axis=1))
    echoes = Echoes(
        position=position,
        velocity=things.velocity[owner] + spin,
        rcs_dbsm=things.rcs_dbsm[owner] - things.spread_db[owner] * aspect,
        loss_db=np.where(under[owner, column], _UNDER_LOSS_DB, 0.0),
        origin=things.index[owner],
    )
    return echoes, owner


def _expected(fan: Fan, visible: NDArray[np.bool_]) -> Float64:
    """Return (B,) mean number of spots: the resolution cells that the near faces fill."""
    azimuth = np.arctan2(fan.ray[:, 1], fan.ray[:, 0])
    some = visible.any(axis=1)
    high = np.where(visible, azimuth, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(visible, azimuth, np.inf).min(axis=1, initial=np.inf)
    far = np.where(visible, fan.enter, -np.inf).max(axis=1, initial=-np.inf)
    near = np.where(visible, fan.enter, np.inf).min(axis=1, initial=np.inf)
    width = np.where(some, high - low, 0.0) / _RESOLUTION_RAD
    depth = np.where(some, far - near, 0.0) / _RESOLUTION_M
    return np.where(some, 1.1 + 0.5 * width + 0.5 * depth, 0.0)


def _draw_column(weight: Float64, rows: Indices, rng: np.random.Generator) -> Indices:
    """Return a column of `weight` for each row asked for, drawn by weight."""
    total = weight.cumsum()
    if total.size == 0:
        return np.zeros(0, dtype=np.int64)
    ends = total[weight.shape[1] - 1 :: weight.shape[1]]
    starts = np.concatenate([[0.0], ends[:-1]])
    target = starts[rows] + (ends - starts)[rows] * rng.uniform(1e-6, 1 - 1e-6, len(rows))
    return np.searchsorted(total, target) - rows * weight.shape[1]


def _clutter(fan: Fan, mean: float, rng: np.random.Generator) -> Echoes:
    """Return standing returns of ground and roadside, before anything that blocks."""
    count = rng.poisson(mean)
    azimuth = np.clip(rng.normal(0, 0.45, count), -FIELD_OF_VIEW_RAD, FIELD_OF_VIEW_RAD)
    ray = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
    nearest = (ray @ fan.ray.T).argmax(axis=1)
    reach = np.minimum(fan.free_of_scenery_m[nearest], _CLUTTER_FAR_M)
    range_m = 4.0 + np.maximum(reach - 4.0, 0.0) * rng.random(count) ** 0.5
    return Echoes(
        position=ray * range_m[:, None],
        velocity=np.zeros((count, 2)),
        rcs_dbsm=rng.normal(5.0, 4.0, count),
        loss_db=np.full(count, -_CLUTTER_GAIN_DB),
        origin=np.full(count, CLUTTER),
    )


def _mirrored(things: Rectangles, spots: Echoes, rng: np.random.Generator) -> Echoes:
    """Return images of road users in large flat faces: mirrored place, mirrored motion."""
    spots = spots[rng.random(len(spots)) < _MIRROR_CHANCE]
    mirrors = np.flatnonzero((things.half[:, 0] > 2.0) & things.blocking)
    if len(mirrors) == 0 or len(spots) == 0:
        return spots[np.zeros(len(spots), dtype=bool)]
    center, along = things.center[mirrors], things.forward[mirrors]
    side = np.sign(-(things.left[mirrors] * center).sum(axis=1))
    normal = things.left[mirrors] * side[:, None]  # towards the radar
    offset = (normal * center).sum(axis=1) + things.half[mirrors, 1]
    behind = spots.position @ normal.T - offset  # (N, M)
    position = spots.position[:, None] - 2 * behind[..., None] * normal
    crossing = offset / np.minimum((position * normal).sum(axis=-1), -1e-6)
    foot = ((position * crossing[..., None] - center) * along).sum(axis=-1)
    real = (np.abs(foot) < things.half[mirrors, 0]) & (behind > 0) & (offset < 0) & (crossing < 1)
    spot, mirror = np.flatnonzero(real.any(axis=1)), real.argmax(axis=1)[real.any(axis=1)]
    relative = spots.velocity[spot] - things.velocity[mirrors[mirror]]
    across = (relative * normal[mirror]).sum(axis=1, keepdims=True) * normal[mirror]
    velocity = spots.velocity[spot] - 2 * across
    return _as_ghosts(spots[spot], position[spot, mirror], velocity)


def _twice(spots: Echoes, radar_velocity: Float64, rng: np.random.Generator) -> Echoes:
    """Return near strong targets again, twice as far: there and back between them and us."""
    strong = (spots.rcs_dbsm > 8) & (np.linalg.norm(spots.position, axis=1) < 30)
    spots = spots[strong & (rng.random(len(spots)) < _TWICE_CHANCE)]
    return _as_ghosts(spots, 2 * spots.position, 2 * spots.velocity - radar_velocity)


def _as_ghosts(spots: Echoes, position: Float64, velocity: Float64) -> Echoes:
    return Echoes(
        position=position,
        velocity=velocity,
        rcs_dbsm=spots.rcs_dbsm,
        loss_db=spots.loss_db + _GHOST_LOSS_DB,
        origin=np.full(len(spots), GHOST),
    )
