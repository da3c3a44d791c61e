# SPDX-License-Identifier: Apache-2.0
"""One drive through a made-up town, planned from a seed.

drive = plan_drive(seed=7, condition="rain")
snapshot = drive.snapshot(3.5)
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from imkd_core.errors import ConfigError
from imkd_core.geometry import Float64
from imkd_core.simulation.world import road_users as users
from imkd_core.simulation.world import street_life as life
from imkd_core.simulation.world.actors import STEP_S, Actor, Crowd, Motion
from imkd_core.simulation.world.bodies import BodyMaker
from imkd_core.simulation.world.conditions import make_condition, words
from imkd_core.simulation.world.ground import make_ground
from imkd_core.simulation.world.roads import Town, make_town
from imkd_core.simulation.world.scene import Condition, Ground, Placed, Snapshot

#: Bodies farther away than this are left out of a snapshot.
NEAR_M = 110.0

#: Station of the main road at which the own vehicle starts.
START_M = 90.0

#: How far along a road things are put beyond where the own vehicle gets.
SIGHT_M = 95.0

_TRIES = 40

#: Nobody moves farther than this from one step of the clock to the next.
_FARTHEST_STEP_M = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """A planned drive.

    Attributes:
        seed: from which everything follows.
        name: of the scene.
        condition: weather and light.
        ground: of the town.
        duration_s: how long it lasts.
        actors: everything but the own vehicle.
        ego: motion of the own vehicle's rear axle.
        place: what kind of town it is.
        manoeuvre: what the own vehicle does, in a few words.
    """

    seed: int
    name: str
    condition: Condition
    ground: Ground
    duration_s: float
    actors: tuple[Actor, ...] = field(repr=False)
    ego: Motion = field(repr=False)
    place: str = ""
    manoeuvre: str = ""

    @property
    def description(self) -> str:
        """Weather and light, place, and what the own vehicle does."""
        return f"{words(self.condition)}, {self.place}, {self.manoeuvre}"

    def ego_pose(self, time_s: float) -> Float64:
        """Return (4, 4) `global_from_ego` at a time."""
        (x, y), yaw, _, _ = self.ego.pose(time_s)
        c, s = float(np.cos(yaw)), float(np.sin(yaw))
        return np.array(
            [[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
        )

    def snapshot(self, time_s: float) -> Snapshot:
        """Return the world at a time; bodies that stand are the same objects every time."""
        pose = self.ego_pose(time_s)
        speed = self.ego.state(time_s)[1]
        centers, standing = self._standing
        near = np.hypot(*(centers - pose[:2, 3]).T) < NEAR_M
        placed = [standing[i] for i in np.flatnonzero(near)]
        for actor in self._moving_near(time_s, pose[:2, 3]):
            found = actor.placed(time_s)
            if found is not None:
                away = found.global_from_body[:2, 3] - pose[:2, 3]
                if float(np.hypot(*away)) < NEAR_M:
                    placed.append(found)
        return Snapshot(
            time_s=time_s,
            global_from_ego=pose,
            ego_velocity_mps=pose[:3, 0] * speed,
            placed=tuple(placed),
            ground=self.ground,
            condition=self.condition,
        )

    @cached_property
    def _standing(self) -> tuple[Float64, tuple[Placed, ...]]:
        found = [actor.placed(0.0) for actor in self.actors if actor.motion is None]
        placed = tuple(p for p in found if p is not None)
        centers = np.array([p.global_from_body[:2, 3] for p in placed]).reshape(-1, 2)
        return centers, placed

    def _moving_near(self, time_s: float, place_m: Float64) -> list[Actor]:
        """Return the moving actors that may be near a place, judged by the step of the clock."""
        actors, tracks = self._moving
        if not actors:
            return []
        step = min(max(int(time_s / STEP_S), 0), len(tracks) - 1)
        away = np.abs(tracks[step] - place_m).max(axis=1)
        return [actors[i] for i in np.flatnonzero(away < NEAR_M + _FARTHEST_STEP_M)]

    @cached_property
    def _moving(self) -> tuple[tuple[Actor, ...], Float64]:
        """The A moving actors, and where they are at each step of the clock (T, A, 2)."""
        moving = [(actor, actor.motion) for actor in self.actors if actor.motion is not None]
        tracks = [motion.path.position(motion.station_m) for _, motion in moving]
        return tuple(actor for actor, _ in moving), np.stack(tracks or [np.zeros((1, 2))], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Wish:
    """Where the own vehicle goes: its route, that of its lane straight on, and words for it."""

    route: users.Route
    straight: users.Route
    words: str
    turns: bool


def plan_drive(seed: int, condition: str, name: str = "", duration_s: float = 20.0) -> Drive:
    """Plan a drive.

    Args:
        seed: everything follows from it and the condition.
        condition: one of `scene.CONDITIONS`.
        name: of the scene.
        duration_s: 0.5 to 120 s.

    Raises:
        ConfigError: the condition is unknown, or the duration is out of range.
    """
    if not 0.5 <= duration_s <= 120:
        raise ConfigError(f"a drive lasts 0.5 to 120 s, got {duration_s}; mend --duration")
    for attempt in range(_TRIES):
        rng = np.random.default_rng((seed, attempt))
        drive = _try_plan(seed, condition, name or f"simulated-{seed}", duration_s, rng)
        if drive is not None:
            return drive
    raise ConfigError(f"no drive could be planned from seed {seed}; choose another --seed")


def _try_plan(
    seed: int, condition_name: str, name: str, duration_s: float, rng: np.random.Generator
) -> Drive | None:
    condition = make_condition(condition_name, rng)
    length = START_M + 15.0 * duration_s + 110.0
    town = make_town(length, START_M, rng)
    steps = int(np.ceil((duration_s + 1.0) / STEP_S)) + 1
    make = BodyMaker(rng, is_dark=condition.name == "night")
    lights = users.make_lights(duration_s, rng)
    wish = _wish(town, lights, rng)
    street = life.Street(
        town=town,
        crowd=Crowd(steps=steps),
        make=make,
        rng=rng,
        spans_m=_spans(town, wish, duration_s),
    )
    dirt = _furnish(street, lights)
    planned = _plan_ego(street, lights, wish)
    if planned is None:
        return None
    ego, manoeuvre = planned
    _populate(street, lights, ego)
    bounds = _bounds(ego)
    return Drive(
        seed=seed,
        name=name,
        condition=condition,
        ground=make_ground(town, bounds, dirt, rng),
        duration_s=duration_s,
        actors=tuple(street.crowd.actors),
        ego=ego,
        place=town.name,
        manoeuvre=manoeuvre,
    )


def _furnish(street: life.Street, lights: users.Lights) -> list[Float64]:
    """Put everything that stands; return the polygons of dug-up ground."""
    rng = street.rng
    life.put_traffic_lights(street, not lights.main_red_s)
    dirt = life.put_work_site(street, START_M) if rng.random() < 0.85 else []
    life.put_cone_rows(street, START_M)
    life.put_large_parked(street, START_M)
    life.put_cycles(street, START_M)
    life.park_vehicles(street, float(rng.uniform(0.3, 0.7)))
    life.put_furniture(street)
    life.put_houses(street)
    return dirt


def _wish(town: Town, lights: users.Lights, rng: np.random.Generator) -> _Wish:
    """Draw where the own vehicle goes."""
    lane = int(rng.integers(town.main.lanes))
    if town.crossings and rng.random() < 0.45:
        to_right = bool(rng.random() < 0.5)
        route = users.turning_route(town, lights, town.crossings[0], False, to_right)
        if route is not None:
            lane = town.main.lanes - 1 if to_right else 0
            straight = users.main_route(town, lights, lane, False)
            words = "turn right" if to_right else "turn left"
            return _Wish(route=route, straight=straight, words=words, turns=True)
    straight = users.main_route(town, lights, lane, False)
    return _Wish(route=straight, straight=straight, words="straight on", turns=False)


def _spans(town: Town, wish: _Wish, duration_s: float) -> tuple[tuple[float, float], ...]:
    """Return the part of each road that may come into sight."""
    end = town.main.center.length_m - 10.0
    reach = START_M + 1.05 * town.main.speed_mps * duration_s + SIGHT_M
    if wish.turns:
        reach = town.crossings[0].station_m + SIGHT_M
    spans = [(START_M - 75.0, min(end, reach))]
    for number, crossing in enumerate(town.crossings):
        is_taken = wish.turns and number == 0
        half = crossing.middle_m - 8.0 if is_taken else SIGHT_M
        middle = crossing.middle_m
        low, high = (middle + arm * half if arm in crossing.arms else middle for arm in (-1, 1))
        is_near = crossing.station_m < reach
        spans.append((low, high) if is_near else (middle, middle))
    return tuple(spans)


def _plan_ego(street: life.Street, lights: users.Lights, wish: _Wish) -> tuple[Motion, str] | None:
    """Put whoever drives ahead, then the own vehicle."""
    _put_crossers(street, lights)
    users.put_stream(street, [wish.straight], (START_M + 14.0, START_M + 130.0), 22.0)
    planned = users.plan_ego(street, wish.route, START_M)
    if planned is None:
        return None
    motion, footprint = planned
    street.crowd.reserve(footprint)
    stops = float(motion.speed_mps.min()) < 0.2 < float(motion.speed_mps.max())
    return motion, wish.words + (", stops" if stops else "")


def _populate(street: life.Street, lights: users.Lights, ego: Motion) -> None:
    """Put everybody else who moves."""
    rng, town = street.rng, street.town
    reach = float(ego.station_m[-1])
    for lane in range(town.main.lanes):
        route = users.main_route(town, lights, lane, False)
        users.put_stream(street, [route], (20.0, START_M + 110.0), 18.0)
    for lane in range(town.main.lanes):
        routes = [users.main_route(town, lights, lane, True)]
        if lane == town.main.lanes - 1:
            found = [users.turning_route(town, lights, c, True, True) for c in town.crossings]
            routes += [route for route in found if route is not None]
        total = routes[0].path.length_m
        users.put_stream(street, routes, (total - reach - 150.0, total - 60.0), 20.0)
    for crossing in town.crossings:
        for arm in crossing.arms:
            routes = users.side_routes(town, lights, crossing, arm)
            users.put_stream(street, routes, (8.0, crossing.middle_m - 14.0), 16.0)
    _put_cyclists(street, lights)
    users.put_walkers(street, START_M, int(rng.integers(14, 30)))


def _put_cyclists(street: life.Street, lights: users.Lights) -> None:
    rng, main = street.rng, street.town.main
    for is_reversed in (False, True):
        path = (
            main.bike_lane(is_reversed) if main.bike_m else main.lane(main.lanes - 1, is_reversed)
        )
        base = users.main_route(street.town, lights, main.lanes - 1, is_reversed)
        route = users.Route(path=path, stops=base.stops, speed_mps=main.speed_mps)
        for _ in range(int(rng.integers(1, 4))):
            near = START_M + float(rng.uniform(-25.0, 90.0))
            start = path.length_m - near if is_reversed else near
            users.put_vehicle(street, route, start, "bicycle")


def _put_crossers(street: life.Street, lights: users.Lights) -> None:
    town = street.town
    for crossing in town.crossings:
        for sign in (-1, 1):
            station = crossing.station_m + sign * (crossing.road.kerb_m + 2.2)
            users.put_crossers(street, town.main, station, lights.main_red_s)
        for arm in crossing.arms:
            station = crossing.middle_m + arm * (town.main.kerb_m + 2.2)
            users.put_crossers(street, crossing.road, station, lights.side_red_s)
    for zebra in town.zebras_m:
        users.put_crossers(street, town.main, zebra, lights.main_red_s)


def _bounds(ego: Motion) -> tuple[Float64, Float64]:
    points = ego.path.position(ego.station_m)
    return points.min(axis=0) - 90.0, points.max(axis=0) + 90.0
