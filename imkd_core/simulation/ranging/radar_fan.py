# SPDX-License-Identifier: Apache-2.0
"""What a radar sees of a `Snapshot`, from above: rectangles, and a fan of rays that meets them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Body, Shape, Snapshot

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Azimuths of the fan; one more ray goes to the centre of what may lie between two of them.
_FAN_STEP_RAD = float(np.radians(0.75))
_FAN_RAD = np.arange(-88, 89) * _FAN_STEP_RAD

#: Half the field of view, and the reach.
FIELD_OF_VIEW_RAD = float(np.radians(60.0))
MAX_RANGE_M = 250.0

#: What is lower, or starts higher, hides nothing and is not seen, respectively.
_BLOCKING_HEIGHT_M = 0.9
_BLOCKING_LENGTH_M = 1.0
_BEAM_TOP_M = 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectangles:
    """Bodies (or parts of scenery) from above, in the radar frame: B of them.

    Attributes:
        index: (B,) row in `Snapshot.placed`.
        center: (B, 2) metres.
        forward: (B, 2) unit vector along the length.
        half: (B, 2) half of length and width, metres.
        velocity: (B, 2) of the body's origin, over ground.
        yaw_rate: (B,) rad/s.
        pivot: (B, 2) the body's origin.
        rcs_dbsm: (B,) from the side that reflects best.
        spread_db: (B,) how far the worst aspect lies below.
        scenery: (B,) whether it has no category.
        blocking: (B,) whether it hides what is behind it.
    """

    index: Indices
    center: Float64
    forward: Float64
    half: Float64
    velocity: Float64
    yaw_rate: Float64
    pivot: Float64
    rcs_dbsm: Float64
    spread_db: Float64
    scenery: Flags
    blocking: Flags

    def __len__(self) -> int:
        """Return B."""
        return len(self.index)

    @property
    def left(self) -> Float64:
        """(B, 2) unit vector along the width."""
        return np.column_stack([-self.forward[:, 1], self.forward[:, 0]])


@dataclass(frozen=True, kw_only=True, eq=False)
class Fan:
    """Where A rays meet B rectangles.

    Attributes:
        ray: (A, 2) unit vectors in the radar frame.
        enter: (B, A) range at which a ray enters, infinite where it misses.
        leave: (B, A) range at which it leaves.
        incidence: (B, A) cosine between the ray and the face that it enters.
        free_m: (A,) range to the first thing that blocks.
        free_of_scenery_m: (A,) likewise, if no road user were there.
    """

    ray: Float64
    enter: Float64
    leave: Float64
    incidence: Float64
    free_m: Float64
    free_of_scenery_m: Float64


def rectangles(snapshot: Snapshot, global_from_radar: Float64) -> Rectangles:
    """Return what lies before the radar, within its reach."""
    placed = snapshot.placed
    facts = _facts(tuple(thing.body for thing in placed))
    owner, flat = facts.owner, facts.flat
    poses = np.array([thing.global_from_body for thing in placed]).reshape(-1, 4, 4)
    turn = global_from_radar[:2, :2]
    pivot = (poses[:, :2, 3] - global_from_radar[:2, 3]) @ turn
    forward = poses[:, :2, 0] @ turn
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    left = np.column_stack([-forward[:, 1], forward[:, 0]])
    center = pivot[owner] + flat[:, :1] * forward[owner] + flat[:, 1:2] * left[owner]
    bottom, top = flat[:, 4] + poses[owner, 2, 3], flat[:, 5] + poses[owner, 2, 3]
    half = flat[:, 2:4]
    radius = np.linalg.norm(half, axis=1)
    distance = np.linalg.norm(center, axis=1)
    near = (distance < MAX_RANGE_M) & (center[:, 0] > -radius) & (bottom < _BEAM_TOP_M)
    owner, center, half, top = owner[near], center[near], half[near], top[near]
    velocity = np.array([thing.velocity_mps for thing in placed]).reshape(-1, 3)[owner, :2]
    yaw_rate = np.array([thing.yaw_rate_radps for thing in placed], dtype=np.float64)[owner]
    long = 2 * half.max(axis=1, initial=0) > _BLOCKING_LENGTH_M
    return Rectangles(
        index=owner,
        center=center,
        forward=forward[owner],
        half=half,
        velocity=velocity @ turn,
        yaw_rate=yaw_rate,
        pivot=pivot[owner],
        rcs_dbsm=facts.rcs_dbsm[owner],
        spread_db=facts.spread_db[owner],
        scenery=facts.scenery[owner],
        blocking=(top > _BLOCKING_HEIGHT_M) & long,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Facts:
    """What does not move of B bodies with N rectangles."""

    owner: Indices  # (N,) body
    flat: Float64  # (N, 6) see `_footprint`
    rcs_dbsm: Float64  # (B,)
    spread_db: Float64  # (B,)
    scenery: Flags  # (B,)


@lru_cache(maxsize=8)
def _facts(bodies: tuple[Body, ...]) -> _Facts:
    parts = [_footprint(body.shape, not body.category) for body in bodies]
    return _Facts(
        owner=np.repeat(np.arange(len(bodies)), [len(part) for part in parts]),
        flat=np.concatenate([np.zeros((0, 6)), *parts]),
        rcs_dbsm=np.array([body.rcs_dbsm for body in bodies], dtype=np.float64),
        spread_db=np.array([body.rcs_spread_db for body in bodies], dtype=np.float64),
        scenery=np.array([not body.category for body in bodies], dtype=bool),
    )


@lru_cache(maxsize=1024)
def _footprint(shape: Shape, by_solid: bool) -> Float64:
    """Return (S, 6) x, y, half length, half width, bottom, top of a shape (or of its solids)."""
    if not by_solid:
        length, width, height = shape.size_m
        return np.array([[0, 0, length / 2, width / 2, -height / 2, height / 2]])
    low = np.array([solid.corners_m.min(axis=0) for solid in shape.solids])
    high = np.array([solid.corners_m.max(axis=0) for solid in shape.solids])
    middle, half = (low + high) / 2, (high - low) / 2
    return np.column_stack([middle[:, :2], half[:, :2], low[:, 2], high[:, 2]])


def look(things: Rectangles) -> Fan:
    """Send the fan, and one ray to the centre of every thin rectangle in the field of view."""
    bearing = np.arctan2(things.center[:, 1], things.center[:, 0])
    thin = 2 * things.half.min(axis=1, initial=np.inf) < _FAN_STEP_RAD * np.linalg.norm(
        things.center, axis=1
    )
    azimuth = np.concatenate([_FAN_RAD, bearing[thin & (np.abs(bearing) < FIELD_OF_VIEW_RAD)]])
    ray = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
    enter, leave, incidence = _slabs(things, ray)
    block = np.where(things.blocking[:, None], enter, np.inf)
    hard = np.where((things.blocking & things.scenery)[:, None], enter, np.inf)
    return Fan(
        ray=ray,
        enter=enter,
        leave=leave,
        incidence=incidence,
        free_m=block.min(axis=0, initial=np.inf),
        free_of_scenery_m=hard.min(axis=0, initial=np.inf),
    )


def _slabs(things: Rectangles, ray: Float64) -> tuple[Float64, Float64, Float64]:
    enters, leaves, slopes = [], [], []
    for axis, half in ((things.forward, things.half[:, :1]), (things.left, things.half[:, 1:])):
        slope = axis @ ray.T
        slope[np.abs(slope) < 1e-9] = 1e-9
        middle = (axis * things.center).sum(axis=1, keepdims=True)
        a, b = (middle - half) / slope, (middle + half) / slope
        enters.append(np.minimum(a, b))
        leaves.append(np.maximum(a, b))
        slopes.append(np.abs(slope))
    leave = np.minimum(*leaves)
    enter = np.maximum(*enters)
    incidence = np.where(enters[0] > enters[1], slopes[0], slopes[1])
    enter[(enter > leave) | (enter <= 0.2)] = np.inf
    return enter, leave, incidence
