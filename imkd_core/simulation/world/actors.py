# SPDX-License-Identifier: Apache-2.0
"""Things that stand or move in a drive, where they are at any time, and that none overlap."""

import math
from dataclasses import dataclass, field

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.world.roads import Path
from imkd_core.simulation.world.scene import Body, Placed

#: Step of the clock of planned motion; between two steps the acceleration is constant.
STEP_S = 0.1

#: Slower than this, a thing stands.
STANDING_MPS = 0.15


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Where something is on its path.

    Attributes:
        path: the line that its box's centre (the own vehicle: its rear axle) follows.
        station_m: (T,) at the steps of the clock, from time 0.
        speed_mps: (T,) along the path.
    """

    path: Path
    station_m: Float64
    speed_mps: Float64

    def state(self, time_s: float) -> tuple[float, float]:
        """Return station and speed at a time; before and after the plan, the ends hold."""
        last = len(self.station_m) - 2
        i = min(max(int(time_s / STEP_S), 0), last)
        rest = min(max(time_s - i * STEP_S, 0.0), STEP_S)
        v0, v1 = float(self.speed_mps[i]), float(self.speed_mps[i + 1])
        speed = v0 + (v1 - v0) * rest / STEP_S
        return float(self.station_m[i]) + 0.5 * (v0 + speed) * rest, speed

    def pose(self, time_s: float) -> tuple[Float64, float, float, float]:
        """Return position (2,), yaw, speed and yaw rate at a time."""
        station, speed = self.state(time_s)
        x, y, yaw, curvature = self.path.place(station)
        return np.array([x, y]), yaw, speed, speed * curvature


@dataclass(frozen=True, kw_only=True, eq=False)
class Actor:
    """A body with its motion; one that stands has a pose alone.

    Attributes:
        body: what it is.
        center_m: (2,) of a body that stands.
        yaw_rad: likewise; of one that moves, added to the heading of its path.
        motion: of a body that moves.
        attributes: nuScenes attribute while it (moves, stands); "" where there is none.
        gone_m: station of the path beyond which it has left the drive.
    """

    body: Body
    center_m: Float64
    yaw_rad: float = 0.0
    motion: Motion | None = None
    attributes: tuple[str, str] = ("", "")
    gone_m: float = np.inf

    def placed(self, time_s: float) -> Placed | None:
        """Return the body at a time; None when it has left."""
        if self.motion is None:
            x, y = self.center_m.tolist()
            return _placed(self.body, (x, y), self.yaw_rad, 0.0, 0.0, self.attributes[1])
        station, speed = self.motion.state(time_s)
        if station > self.gone_m:
            return None
        x, y, yaw, curvature = self.motion.path.place(station)
        attribute = self.attributes[0 if speed > STANDING_MPS else 1]
        yaw += self.yaw_rad
        return _placed(self.body, (x, y), yaw, speed, speed * curvature, attribute)


def _placed(
    body: Body,
    center_m: tuple[float, float],
    yaw_rad: float,
    speed_mps: float,
    yaw_rate: float,
    attribute: str,
) -> Placed:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    pose = np.array(
        [
            [c, -s, 0.0, center_m[0]],
            [s, c, 0.0, center_m[1]],
            [0.0, 0.0, 1.0, body.shape.size_m[2] / 2],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    return Placed(
        body=body,
        global_from_body=pose,
        velocity_mps=np.array([c * speed_mps, s * speed_mps, 0.0]),
        yaw_rate_radps=yaw_rate,
        attribute=attribute,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Footprint:
    """The rectangle that a body covers over the drive.

    Attributes:
        center_m: (T, 2) at the steps of the clock; (1, 2) of a body that stands.
        yaw_rad: (T,) or (1,).
        half_m: (2,) half length and half width.
    """

    center_m: Float64
    yaw_rad: Float64
    half_m: Float64

    @property
    def radius_m(self) -> float:
        """Half the diagonal."""
        return float(np.hypot(*self.half_m))


def overlaps(first: Footprint, second: Footprint, margin_m: float = 0.0) -> bool:
    """Whether two footprints touch at any step, each pair of sides `margin_m` apart or nearer."""
    difference = second.center_m - first.center_m
    reach = first.radius_m + second.radius_m + margin_m
    near = np.einsum("tc,tc->t", difference, difference) < reach * reach
    if not near.any():
        return False
    turned = second.yaw_rad - first.yaw_rad
    cos, sin = np.abs(np.cos(turned)), np.abs(np.sin(turned))
    touching = near
    for own, other, yaw in ((first, second, first.yaw_rad), (second, first, second.yaw_rad)):
        along = np.abs(np.cos(yaw) * difference[:, 0] + np.sin(yaw) * difference[:, 1])
        across = np.abs(np.cos(yaw) * difference[:, 1] - np.sin(yaw) * difference[:, 0])
        touching = touching & (
            along <= own.half_m[0] + cos * other.half_m[0] + sin * other.half_m[1] + margin_m
        )
        touching = touching & (
            across <= own.half_m[1] + sin * other.half_m[0] + cos * other.half_m[1] + margin_m
        )
    return bool(touching.any())


@dataclass
class Crowd:
    """Everything that has found a place, none overlapping another.

    Attributes:
        steps: of the clock.
        actors: in the order of arrival.
    """

    steps: int
    actors: list[Actor] = field(default_factory=list)
    _footprints: list[Footprint] = field(default_factory=list)
    _standing: list[tuple[float, float, float]] = field(default_factory=list)

    def try_add(self, actor: Actor, margin_m: float = 0.2) -> bool:
        """Add an actor unless it would touch another at any time; say whether it was added."""
        footprint = footprint_of(actor)
        if not self.is_free(footprint, margin_m):
            return False
        self.actors.append(actor)
        self.reserve(footprint)
        return True

    def reserve(self, footprint: Footprint) -> None:
        """Keep room for something that is no actor: the own vehicle."""
        self._footprints.append(footprint)
        x, y = footprint.center_m.mean(axis=0)
        spread = np.abs(footprint.center_m - (x, y)).max(axis=0)
        self._standing.append((float(x), float(y), float(np.hypot(*spread)) + footprint.radius_m))

    def is_free(self, footprint: Footprint, margin_m: float) -> bool:
        """Whether a footprint touches nothing."""
        if not self._standing:
            return True
        known = np.array(self._standing)
        middle = footprint.center_m.mean(axis=0)
        spread = np.abs(footprint.center_m - middle).max(axis=0)
        reach = float(np.hypot(*spread)) + footprint.radius_m + margin_m
        near = np.hypot(known[:, 0] - middle[0], known[:, 1] - middle[1]) < known[:, 2] + reach
        return not any(
            overlaps(footprint, self._footprints[i], margin_m) for i in np.flatnonzero(near)
        )

    def moving(self) -> list[Footprint]:
        """Return the footprints that change with time, and those of the own vehicle."""
        return [footprint for footprint in self._footprints if len(footprint.center_m) > 1]


def footprint_of(actor: Actor) -> Footprint:
    """Return the ground that an actor's box covers; where it is gone it covers none."""
    length, width, _ = actor.body.shape.size_m
    half = np.array([length / 2, width / 2])
    if actor.motion is None:
        yaw = np.array([actor.yaw_rad])
        return Footprint(center_m=np.asarray(actor.center_m)[None], yaw_rad=yaw, half_m=half)
    station = actor.motion.station_m
    center = actor.motion.path.position(station)
    center[station > actor.gone_m] = (1e6 * (actor.body.number + 1), 0.0)
    yaw = actor.motion.path.yaw(station) + actor.yaw_rad
    return Footprint(center_m=center, yaw_rad=yaw, half_m=half)
