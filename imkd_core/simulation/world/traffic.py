# SPDX-License-Identifier: Apache-2.0
"""How road users move along paths: they keep their distance, slow down in bends, stop at red.

The follower's law is the intelligent driver model (Treiber, Hennecke, Helbing, Phys. Rev. E 62,
2000). What counts as being in the way is read from the planned motion of everybody who was there
before: whoever covers one's path at a moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.world.actors import STEP_S, Footprint, Motion
from imkd_core.simulation.world.roads import Path

#: Largest sideways acceleration in bends, and how hard a driver likes to brake before them.
SIDEWAYS_MPS2 = 2.2
BRAKING_MPS2 = 1.8
HARDEST_BRAKING_MPS2 = 7.0


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A line on a path where one waits while the light is red.

    Attributes:
        station_m: on the path.
        red_s: times (from, to).
    """

    station_m: float
    red_s: tuple[tuple[float, float], ...]

    def is_red(self, time_s: float) -> bool:
        """Whether one must wait."""
        return any(start <= time_s < end for start, end in self.red_s)


@dataclass(frozen=True, kw_only=True)
class Driver:
    """How somebody drives.

    Attributes:
        speed_mps: on a free straight road.
        acceleration_mps2: when starting.
        headway_s: time gap to whoever is ahead.
        gap_m: distance kept when standing.
        length_m, width_m: of the vehicle.
        ahead_m: from the point that follows the path to the front bumper.
    """

    speed_mps: float
    acceleration_mps2: float
    headway_s: float
    gap_m: float
    length_m: float
    width_m: float
    ahead_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Obstacles:
    """What covers a path, over time.

    Attributes:
        rear_m: (K, T) station of the nearer end; inf where it is not in the way.
        speed_mps: (K, T) along the path.
    """

    rear_m: Float64
    speed_mps: Float64


def make_driver(
    rng: np.random.Generator, size_m: tuple[float, float, float], speed_mps: float
) -> Driver:
    """Draw how somebody drives; long vehicles start slowly."""
    is_heavy = size_m[0] > 5.8
    return Driver(
        speed_mps=speed_mps * float(rng.uniform(0.8, 1.12)),
        acceleration_mps2=float(rng.uniform(0.7, 1.1) if is_heavy else rng.uniform(1.2, 2.2)),
        headway_s=float(rng.uniform(0.9, 1.8)),
        gap_m=float(rng.uniform(1.8, 3.2)),
        length_m=size_m[0],
        width_m=size_m[1],
        ahead_m=size_m[0] / 2,
    )


def obstacles_on(
    path: Path, width_m: float, others: Sequence[Footprint], steps: int, clearance_m: float = 0.45
) -> Obstacles:
    """Return who is in the way of something `width_m` wide on a path."""
    rears, speeds = [], []
    for other in others:
        center, yaw = (_over_time(values[::2], steps) for values in (other.center_m, other.yaw_rad))
        station, across = path.nearest(center)
        turned = yaw - path.yaw(station)
        cos, sin = np.abs(np.cos(turned)), np.abs(np.sin(turned))
        half_width = sin * other.half_m[0] + cos * other.half_m[1]
        half_length = cos * other.half_m[0] + sin * other.half_m[1]
        is_in_way = np.abs(across) < half_width + width_m / 2 + clearance_m
        is_in_way &= (station > 1.0) & (station < path.length_m - 1.0)
        if is_in_way.any():
            rear = np.where(is_in_way, station - half_length, np.inf)
            rears.append(np.repeat(rear, 2)[:steps])
            speeds.append(np.repeat(np.gradient(station, 2 * STEP_S), 2)[:steps])
    if not rears:
        return Obstacles(rear_m=np.zeros((0, steps)), speed_mps=np.zeros((0, steps)))
    return Obstacles(rear_m=np.array(rears), speed_mps=np.clip(np.array(speeds), 0.0, 40.0))


def drive_along(
    path: Path,
    start_m: float,
    driver: Driver,
    obstacles: Obstacles,
    stops: Sequence[Stop],
    steps: int,
    start_mps: float | None = None,
) -> Motion:
    """Return the motion of a driver who starts at a station.

    Args:
        path: to follow.
        start_m: station at time 0.
        driver: how fast, how near.
        obstacles: on that path.
        stops: lights on that path.
        steps: of the clock.
        start_mps: speed at time 0; as fast as path, traffic and lights allow where it is None.
    """
    limit = speed_limit(path, driver.speed_mps)
    station, speed = np.zeros(steps), np.zeros(steps)
    station[0] = start_m
    speed[0] = _limit_at(path, limit, start_m) if start_mps is None else start_mps
    if start_mps is None:
        gap, ahead_mps = _nearest_ahead(obstacles, stops, driver, 0, start_m, 0.0)
        speed[0] = min(speed[0], np.sqrt(2 * 1.5 * max(0.0, gap - driver.gap_m) + ahead_mps**2))
    for k in range(steps - 1):
        here, now = float(station[k]), float(speed[k])
        gap, ahead_mps = _nearest_ahead(obstacles, stops, driver, k, here, now)
        wanted = _limit_at(path, limit, here)
        pull = _follow(driver, now, wanted, gap, ahead_mps)
        speed[k + 1] = max(0.0, now + STEP_S * pull)
        station[k + 1] = here + STEP_S * (now + speed[k + 1]) / 2
    return Motion(path=path, station_m=station, speed_mps=speed)


def walk_along(path: Path, start_m: float, speed_mps: float, start_s: float, steps: int) -> Motion:
    """Return the motion of somebody who stands until a time, then walks evenly to the end."""
    time = np.arange(steps) * STEP_S
    speed = np.clip((time - start_s) / 0.5, 0.0, 1.0) * speed_mps
    station = start_m + np.concatenate([[0.0], np.cumsum((speed[:-1] + speed[1:]) / 2) * STEP_S])
    arrived = station >= path.length_m - 0.6
    if arrived.any():
        first = int(np.argmax(arrived))
        speed[first:] = 0.0
        station = np.concatenate([[0.0], np.cumsum((speed[:-1] + speed[1:]) / 2) * STEP_S])
        station = start_m + station
    return Motion(path=path, station_m=station, speed_mps=speed)


def speed_limit(path: Path, wanted_mps: float) -> Float64:
    """Return (N,) speeds at the path's points that bends allow, with braking before them."""
    bend = np.maximum(np.abs(path.curvature_radpm), 1e-6)
    limit = np.minimum(wanted_mps, np.sqrt(SIDEWAYS_MPS2 / bend))
    steps = np.diff(path.station_m)
    for i in range(len(steps) - 1, -1, -1):
        limit[i] = min(limit[i], np.sqrt(limit[i + 1] ** 2 + 2 * BRAKING_MPS2 * steps[i]))
    return limit


def _follow(driver: Driver, now: float, wanted: float, gap: float, ahead_mps: float) -> float:
    """Return the acceleration of the intelligent driver model."""
    strength = driver.acceleration_mps2
    braking = 2.0 * np.sqrt(strength * BRAKING_MPS2)
    closing = now * (now - ahead_mps) / braking
    desired = driver.gap_m + max(0.0, now * driver.headway_s + closing)
    free = (now / max(wanted, 0.5)) ** 4
    pull = strength * (1.0 - free - (desired / max(gap, 0.1)) ** 2)
    return float(np.clip(pull, -HARDEST_BRAKING_MPS2, strength))


def _nearest_ahead(
    obstacles: Obstacles,
    stops: Sequence[Stop],
    driver: Driver,
    step: int,
    station_m: float,
    speed_mps: float,
) -> tuple[float, float]:
    """Return the gap to whatever is next on the path, and its speed."""
    front = station_m + driver.ahead_m
    gap, ahead_mps = np.inf, 0.0
    if len(obstacles.rear_m):
        gaps = obstacles.rear_m[:, step] - front
        gaps[gaps < -0.5 * driver.length_m] = np.inf
        nearest = int(np.argmin(gaps))
        gap, ahead_mps = float(gaps[nearest]), float(obstacles.speed_mps[nearest, step])
    for stop in stops:
        distance = stop.station_m - front + driver.gap_m  # to stand right at the line
        can_stop = distance - driver.gap_m > speed_mps**2 / (2 * 4.5) - 0.5
        if distance > 0.5 and can_stop and distance < gap and stop.is_red(step * STEP_S):
            gap, ahead_mps = distance, 0.0
    return gap, ahead_mps


def _limit_at(path: Path, limit: Float64, station_m: float) -> float:
    return float(limit[min(int(np.searchsorted(path.station_m, station_m)), len(limit) - 1)])


def _over_time(values: Float64, steps: int) -> Float64:
    """Return values at every second step; one that does not change is repeated."""
    count = (steps + 1) // 2
    return np.repeat(values, count, axis=0) if len(values) == 1 else values[:count]
