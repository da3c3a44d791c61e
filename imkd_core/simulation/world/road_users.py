# SPDX-License-Identifier: Apache-2.0
"""Who moves in a town: the own vehicle, other vehicles, cyclists, people on foot."""

from dataclasses import dataclass

import numpy as np

from imkd_core.simulation.rig import EGO_MIDDLE_M, EGO_SIZE_M
from imkd_core.simulation.world.actors import STEP_S, Actor, Footprint, Motion
from imkd_core.simulation.world.bodies import DRIVEN, ON_FOOT, RIDDEN
from imkd_core.simulation.world.roads import Crossing, Path, Road, Town, resampled, turn
from imkd_core.simulation.world.scene import Body
from imkd_core.simulation.world.street_life import Street
from imkd_core.simulation.world.traffic import (
    Driver,
    Stop,
    drive_along,
    make_driver,
    obstacles_on,
    walk_along,
)

#: Kinds of vehicles in the lanes, and how common they are.
_MIX = {
    "car": 0.66,
    "truck": 0.09,
    "bus": 0.07,
    "motorcycle": 0.08,
    "trailer": 0.05,
    "construction_vehicle": 0.05,
}

Times = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Lights:
    """When the main road, and the side roads, must wait.

    Attributes:
        main_red_s, side_red_s: times (from, to).
    """

    main_red_s: Times
    side_red_s: Times


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """A way through the town.

    Attributes:
        path: its line.
        stops: lights on it.
        speed_mps: what drivers want there.
    """

    path: Path
    stops: tuple[Stop, ...]
    speed_mps: float


def make_lights(duration_s: float, rng: np.random.Generator) -> Lights:
    """Draw how the lights change: mostly green, red at first, or red later."""
    change = float(rng.uniform(0.25, 0.55)) * duration_s
    always: Times = ((0.0, np.inf),)
    match int(rng.choice(3, p=(0.5, 0.32, 0.18))):
        case 0:
            return Lights(main_red_s=(), side_red_s=always)
        case 1:
            return Lights(main_red_s=((0.0, change + 2.0),), side_red_s=((change, np.inf),))
    return Lights(main_red_s=((change, np.inf),), side_red_s=((0.0, change + 2.0),))


def main_route(town: Town, lights: Lights, lane: int, is_reversed: bool) -> Route:
    """Return the route straight along a lane of the main road."""
    path = town.main.lane(lane, is_reversed)
    return Route(
        path=path, stops=_main_stops(town, lights, path, is_reversed), speed_mps=town.main.speed_mps
    )


def turning_route(
    town: Town, lights: Lights, crossing: Crossing, is_reversed: bool, to_right: bool
) -> Route | None:
    """Return a route from the main road into a side road; None where there is no such arm."""
    lane = town.main.lanes - 1 if to_right else 0
    arm = (-1 if to_right else 1) * (-1 if is_reversed else 1)
    if arm not in crossing.arms:
        return None
    first = town.main.lane(lane, is_reversed)
    second = crossing.road.lane(crossing.road.lanes - 1 if to_right else 0, arm < 0)
    offsets = crossing.road.lane_m, town.main.lane_m
    radius = 7.5 + max(offsets) * 0.5 if to_right else 10.5
    path = turn(first, second, radius)
    return Route(
        path=path,
        stops=_main_stops(town, lights, path, is_reversed),
        speed_mps=min(town.main.speed_mps, crossing.road.speed_mps),
    )


def side_routes(town: Town, lights: Lights, crossing: Crossing, arm: int) -> list[Route]:
    """Return the routes that come from an arm of a side road: straight on, and to the right."""
    road, main = crossing.road, town.main
    is_reversed = arm > 0
    routes = []
    stop_point = road.center.beside(
        np.array([crossing.middle_m + arm * (main.kerb_m + 4.6)]), np.float64(0.0)
    )
    straight = road.lane(0, is_reversed)
    right = turn(road.lane(road.lanes - 1, is_reversed), main.lane(main.lanes - 1, arm > 0), 9.0)
    paths = [straight, right] if len(crossing.arms) == 2 else [right]
    for path in paths:
        station = float(path.nearest(stop_point)[0][0])
        stop = Stop(station_m=station, red_s=lights.side_red_s)
        routes.append(Route(path=path, stops=(stop,), speed_mps=road.speed_mps))
    return routes


def plan_ego(street: Street, route: Route, start_m: float) -> tuple[Motion, Footprint] | None:
    """Return the own vehicle's motion and ground; None where something stands in its way."""
    rng = street.rng
    driver = Driver(
        speed_mps=route.speed_mps * float(rng.uniform(0.8, 1.05)),
        acceleration_mps2=1.5,
        headway_s=1.5,
        gap_m=2.5,
        length_m=EGO_SIZE_M[0],
        width_m=EGO_SIZE_M[1],
        ahead_m=EGO_MIDDLE_M + EGO_SIZE_M[0] / 2,
    )
    crowd = street.crowd
    obstacles = obstacles_on(route.path, EGO_SIZE_M[1], crowd.moving(), crowd.steps)
    motion = drive_along(route.path, start_m, driver, obstacles, route.stops, crowd.steps)
    footprint = ego_footprint(motion)
    has_room = float(motion.station_m[-1]) < route.path.length_m - 15.0
    return (motion, footprint) if has_room and crowd.is_free(footprint, 0.3) else None


def ego_footprint(motion: Motion) -> Footprint:
    """Return the ground that the own vehicle covers; its rear axle follows the path."""
    yaw = motion.path.yaw(motion.station_m)
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    center = motion.path.position(motion.station_m) + EGO_MIDDLE_M * forward
    half = np.array([EGO_SIZE_M[0] / 2, EGO_SIZE_M[1] / 2])
    return Footprint(center_m=center, yaw_rad=yaw, half_m=half)


def put_vehicle(street: Street, route: Route, start_m: float, kind: str) -> bool:
    """Let a vehicle drive a route from a station, if it can without touching anything."""
    is_cycle = kind in ("bicycle", "motorcycle")
    pulled = kind == "trailer"
    make = street.make
    body = make.cycle(kind, True) if is_cycle else make.vehicle("truck" if pulled else kind)
    speed = street.rng.uniform(3.5, 6.0) if kind == "bicycle" else route.speed_mps
    speed = min(speed, 6.0) if kind == "construction_vehicle" else speed
    crowd, size = street.crowd, body.shape.size_m
    driver = make_driver(street.rng, size, float(speed))
    obstacles = obstacles_on(route.path, size[1], crowd.moving(), crowd.steps)
    motion = drive_along(route.path, start_m, driver, obstacles, route.stops, crowd.steps)
    attributes = RIDDEN if is_cycle else DRIVEN
    if not crowd.try_add(_moving(body, motion, attributes), 0.3):
        return False
    if pulled:
        _pull_trailer(street, body, motion)
    return True


def put_stream(
    street: Street, routes: list[Route], span_m: tuple[float, float], gap_m: float
) -> None:
    """Fill a lane with vehicles from front to back.

    Args:
        street: where.
        routes: that begin in this lane; each vehicle takes one, mostly the first.
        span_m: stations at which vehicles start.
        gap_m: mean free road between two.
    """
    rng = street.rng
    kinds, shares = list(_MIX), np.array(list(_MIX.values()))
    station = span_m[1] - float(rng.uniform(0.0, gap_m))
    while station > span_m[0]:
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        weights = np.array([2.0] + [1.0] * (len(routes) - 1))
        route = routes[int(rng.choice(len(routes), p=weights / weights.sum()))]
        put_vehicle(street, route, station, kind)
        station -= 9.0 + float(rng.exponential(gap_m)) + (14.0 if kind == "trailer" else 0.0)


def put_walkers(street: Street, start_m: float, count: int) -> None:
    """Let people walk on the pavements, some in company, some standing."""
    rng, main = street.rng, street.town.main
    for _ in range(count):
        road = main
        if street.town.crossings and rng.random() < 0.2:
            road = street.town.crossings[0].road
        side = int(rng.choice([-1, 1]))
        middle = start_m + float(rng.uniform(-15.0, 120.0))
        if road is not main:
            middle = float(rng.uniform(15.0, road.center.length_m - 15.0))
        lateral = road.kerb_m + float(rng.uniform(1.3, max(1.5, road.pavement_m - 0.5)))
        company = int(rng.choice([1, 2, 3], p=[0.7, 0.22, 0.08]))
        speed = float(np.clip(rng.normal(1.3, 0.25), 0.7, 2.0))
        is_standing = rng.random() < 0.25
        is_reversed = rng.random() < 0.5
        for i in range(company):
            where = (middle + 0.4 * (i % 2), side * (lateral + 0.8 * i))
            if is_standing:
                _put_standing(street, road, *where)
            else:
                _put_walker(street, road, *where, is_reversed, speed)


def put_crossers(street: Street, road: Road, station_m: float, red_s: Times) -> None:
    """Let a few people cross a road while its traffic waits."""
    rng = street.rng
    for start, end in red_s:
        for _ in range(int(rng.integers(1, 5))):
            speed = float(np.clip(rng.normal(1.35, 0.2), 0.9, 1.9))
            latest = min(end, street.crowd.steps * STEP_S) - 2 * road.kerb_m / speed
            ends = np.array([-1.0, 1.0]) * (road.kerb_m + 1.0) * int(rng.choice([-1, 1]))
            station = np.float64(station_m + rng.uniform(-1.1, 1.1))
            path = resampled(road.center.beside(np.array([station, station]), ends))
            begin = float(rng.uniform(start + 0.5, max(start + 0.6, latest)))
            ahead = float(rng.uniform(0.0, 0.7) * path.length_m) if start == 0.0 else 0.0
            motion = walk_along(
                path, ahead, speed, begin if ahead < 1.0 else 0.0, street.crowd.steps
            )
            kind = "child" if rng.random() < 0.12 else "adult"
            body = street.make.person(kind, is_walking=True)
            street.crowd.try_add(_moving(body, motion, ON_FOOT), 0.2)


def _put_standing(street: Street, road: Road, station_m: float, offset_m: float) -> None:
    body = street.make.person("child" if street.rng.random() < 0.1 else "adult", is_walking=False)
    turned = float(street.rng.uniform(-np.pi, np.pi))
    street.put(
        body, road, station_m, offset_m, turned_rad=turned, attributes=ON_FOOT, margin_m=0.15
    )


def _put_walker(
    street: Street, road: Road, station_m: float, offset_m: float, is_reversed: bool, speed: float
) -> None:
    path = road.along(offset_m, is_reversed)
    start = path.length_m - station_m if is_reversed else station_m
    motion = walk_along(path, start, speed, -1.0, street.crowd.steps)
    body = street.make.person("child" if street.rng.random() < 0.12 else "adult", is_walking=True)
    street.crowd.try_add(_moving(body, motion, ON_FOOT), 0.15)


def _moving(body: Body, motion: Motion, attributes: tuple[str, str]) -> Actor:
    gone = motion.path.length_m - 0.5 * body.shape.size_m[0] - 1.0
    is_person = body.category.startswith("human")
    return Actor(
        body=body,
        center_m=np.zeros(2),
        motion=motion,
        attributes=attributes,
        gone_m=np.inf if is_person else gone,
    )


def _pull_trailer(street: Street, truck: Body, motion: Motion) -> None:
    """Hang a trailer behind a truck, if it can follow without touching anything."""
    body = street.make.vehicle("trailer")
    behind = (truck.shape.size_m[0] + body.shape.size_m[0]) / 2 + 0.5
    station = motion.station_m - behind
    if station[0] > body.shape.size_m[0] / 2:
        towed = Motion(path=motion.path, station_m=station, speed_mps=motion.speed_mps)
        street.crowd.try_add(_moving(body, towed, DRIVEN), 0.1)


def _main_stops(town: Town, lights: Lights, path: Path, is_reversed: bool) -> tuple[Stop, ...]:
    sign = 1 if is_reversed else -1
    stations = [c.station_m + sign * (c.road.kerb_m + 4.6) for c in town.crossings]
    stations += [zebra + sign * 3.2 for zebra in town.zebras_m]
    stops = []
    for station in stations:
        point = town.main.center.beside(np.array([station]), np.float64(0.0))
        on_path, across = path.nearest(point)
        if abs(across[0]) < 3 * town.main.lane_m + 1.0:
            stops.append(Stop(station_m=float(on_path[0]), red_s=lights.main_red_s))
    return tuple(stops)
