# SPDX-License-Identifier: Apache-2.0
"""What stands along the roads of a town: houses, trees, lamps, parked vehicles, work sites."""

from dataclasses import dataclass

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.world import object_shapes, surfaces
from imkd_core.simulation.world.actors import Actor, Crowd
from imkd_core.simulation.world.bodies import DRIVEN, LEANING, NONE, ON_FOOT, PARKED, BodyMaker
from imkd_core.simulation.world.ground import band
from imkd_core.simulation.world.roads import Road, Town
from imkd_core.simulation.world.scene import Body

#: Length of a parking bay.
BAY_M = 6.2


@dataclass(frozen=True, kw_only=True, eq=False)
class Street:
    """Where things are put: a town, who is there already, and chance.

    Attributes:
        town: its roads.
        crowd: everything that has a place.
        make: maker of bodies.
        rng: chance.
        spans_m: stations (from, to) of each road of the town between which things are put.
    """

    town: Town
    crowd: Crowd
    make: BodyMaker
    rng: np.random.Generator
    spans_m: tuple[tuple[float, float], ...]

    def span(self, road: Road) -> tuple[float, float]:
        """Return the stations of a road between which things are put."""
        return next(
            span for own, span in zip(self.town.roads, self.spans_m, strict=True) if own is road
        )

    def put(
        self,
        body: Body,
        road: Road,
        station_m: float,
        offset_m: float,
        *,
        turned_rad: float = 0.0,
        attributes: tuple[str, str] = NONE,
        margin_m: float = 0.25,
    ) -> bool:
        """Stand a body beside a road's centre line, if there is room; say whether there was."""
        center = road.center.beside(np.float64(station_m), np.float64(offset_m))
        yaw = float(road.center.yaw(station_m)) + turned_rad
        actor = Actor(body=body, center_m=center, yaw_rad=yaw, attributes=attributes)
        return self.crowd.try_add(actor, margin_m)

    def is_on_a_road(self, corners_m: Float64, own: Road, margin_m: float = 0.3) -> bool:
        """Whether points (P, 2) lie on another road, pavements included."""
        for road in self.town.roads:
            if road is not own:
                station, across = road.center.nearest(corners_m)
                inside = (np.abs(across) < road.edge_m + margin_m) & (station > -1)
                if (inside & (station < road.center.length_m + 1)).any():
                    return True
        return False


def put_houses(street: Street) -> None:
    """Line the roads with houses, gaps between them closed by walls or hedges here and there."""
    for road in street.town.roads:
        low, high = street.span(road)
        for side in (-1, 1):
            station = low
            while station < high:
                station += _put_house(street, road, station, side)


def put_furniture(street: Street) -> None:
    """Put lamps, trees, signs, shelters and clutter on the pavements."""
    rng, town = street.rng, street.town
    for road in town.roads:
        low, high = street.span(road)
        for side in (-1, 1):
            shift = float(rng.uniform(0.0, 12.0))
            for station in np.arange(low + shift, high, 13.0):
                kind = str(
                    rng.choice(
                        ["lamp_post", "tree", "sign", "clutter", "none"],
                        p=[0.3, 0.3, 0.1, 0.1, 0.2],
                    )
                )
                _put_furniture(street, road, float(station), side, kind)
    if rng.random() < 0.6:
        side = int(rng.choice([-1, 1]))
        station = float(rng.uniform(*street.span(town.main)))
        offset = side * (town.main.kerb_m + town.main.pavement_m - 0.9)
        turned = 0.0 if side < 0 else np.pi
        if not town.is_in_crossing(station, 4.0):
            shelter = street.make.object("bus_shelter")
            street.put(shelter, town.main, station, offset, turned_rad=np.pi + turned)


def put_traffic_lights(street: Street, is_main_green: bool) -> None:
    """Put a light beside each stop line of the main road."""
    main = street.town.main
    for crossing in street.town.crossings:
        for sign in (-1, 1):
            station = crossing.station_m + sign * (crossing.road.kerb_m + 5.4)
            body = street.make.of("traffic_light", object_shapes.traffic_light(is_main_green))
            turned = np.pi if sign < 0 else 0.0
            street.put(body, main, station, sign * (main.kerb_m + 0.4), turned_rad=turned)


def park_vehicles(street: Street, share: float) -> None:
    """Fill a share of the parking bays; trucks, buses, trailers and motorcycles among them."""
    rng = street.rng
    for road in street.town.roads:
        if not road.parking_m:
            continue
        low, high = street.span(road)
        for side in (-1, 1):
            for start in np.arange(low, high - BAY_M, BAY_M):
                if rng.random() < share:
                    _park(street, road, float(start), side)


def put_large_parked(street: Street, start_m: float) -> None:
    """Leave a few of the rarer vehicles at the kerb or in yards beside the pavement."""
    rng, main = street.rng, street.town.main
    kinds = ["trailer", "truck", "bus", "construction_vehicle", "car", "car"]
    chances = (0.7, 0.55, 0.35, 0.5, 0.7, 0.7)
    for kind, chance in zip(kinds, chances, strict=True):
        if rng.random() > chance:
            continue
        for _ in range(12):
            station = float(rng.uniform(start_m - 20.0, start_m + 140.0))
            side = int(rng.choice([-1, 1]))
            body = street.make.vehicle(kind, is_lit=False)
            offset = main.edge_m + 0.8 + body.shape.size_m[1] / 2 + rng.uniform(0.0, 2.5)
            turned = float(rng.choice([0.0, np.pi])) + rng.normal(0.0, 0.05)
            corners = main.center.beside(
                station + np.linspace(-0.5, 0.5, 5) * (body.shape.size_m[0] + 1), side * offset
            )
            if street.is_on_a_road(corners, main, 2.0):
                continue
            if street.put(body, main, station, side * offset, turned_rad=turned, attributes=PARKED):
                break


def put_cycles(street: Street, start_m: float) -> None:
    """Lean bicycles and park motorcycles on the pavement, several in a place."""
    rng, main = street.rng, street.town.main
    for _ in range(int(rng.integers(3, 6))):
        station = float(rng.uniform(start_m - 10.0, start_m + 150.0))
        side = int(rng.choice([-1, 1]))
        kind = str(rng.choice(["bicycle", "motorcycle"], p=[0.6, 0.4]))
        for i in range(int(rng.integers(1, 4))):
            offset = side * (main.kerb_m + 1.25)
            turned = np.pi / 2 * side + rng.normal(0.0, 0.12) + float(rng.choice([0.0, np.pi]))
            here = station + 1.1 * i
            if street.town.is_in_crossing(here, 1.0):
                continue
            body = street.make.cycle(kind, has_rider=False)
            street.put(
                body, main, here, offset, turned_rad=turned, attributes=LEANING, margin_m=0.08
            )


def put_work_site(street: Street, start_m: float) -> list[Float64]:
    """Fence off a strip beside the lanes with barriers and cones; machines and workers inside.

    Returns:
        Polygons (V, 2) of dug-up ground.
    """
    rng, main = street.rng, street.town.main
    for _ in range(20):
        length = float(rng.uniform(18.0, 34.0))
        low = float(rng.uniform(start_m + 5.0, start_m + 110.0))
        stations = np.linspace(low - 8.0, low + length + 8.0, 8)
        if not any(street.town.is_in_crossing(float(station), 2.0) for station in stations):
            break
    else:
        return []
    side = int(rng.choice([-1, 1]))
    inner = main.lanes_m + main.bike_m + 0.35
    outer = max(main.edge_m - 0.4, inner + 4.2)
    _put_row(street, side, (low, low + length), inner, 0.55)
    for i in range(4):
        for station in (low - 1.6 - 1.6 * i, low + length + 1.6 + 1.6 * i):
            offset = side * (inner + 0.3 + (outer - inner - 1.0) * i / 4)
            cone = street.make.object("traffic_cone")
            street.put(cone, main, station, offset, margin_m=0.05)
    middle = side * (inner + outer + 0.8) / 2
    for share in (0.3, 0.75):
        kind = "construction_vehicle" if share < 0.5 or rng.random() < 0.3 else "truck"
        body = street.make.vehicle(kind, is_lit=False)
        turned = float(rng.choice([0.0, np.pi])) + rng.normal(0.0, 0.08)
        attributes = DRIVEN if kind == "construction_vehicle" else PARKED
        street.put(
            body, main, low + share * length, middle, turned_rad=turned, attributes=attributes
        )
    for _ in range(int(rng.integers(2, 5))):
        worker = street.make.person("construction_worker", is_walking=False)
        station, offset = rng.uniform(low, low + length), side * rng.uniform(inner + 1, outer)
        turned = rng.uniform(-np.pi, np.pi)
        street.put(worker, main, station, offset, turned_rad=turned, attributes=ON_FOOT)
    ends = sorted((side * (inner + 0.5), side * outer))
    return [band(main.center, low + 1.0, low + length - 1.0, ends[0], ends[1])]


def put_cone_rows(street: Street, start_m: float) -> None:
    """Put short rows of cones or barriers along the kerb."""
    rng, main = street.rng, street.town.main
    for _ in range(int(rng.integers(1, 4))):
        side, low = int(rng.choice([-1, 1])), float(rng.uniform(start_m, start_m + 150.0))
        if rng.random() < 0.5:
            _put_row(street, side, (low, low + rng.uniform(6.0, 14.0)), main.kerb_m + 0.7, 0.6)
            continue
        for i in range(int(rng.integers(3, 7))):
            station = low + 2.4 * i
            cone = street.make.object("traffic_cone")
            if not street.town.is_in_crossing(station, -2.0):
                street.put(cone, main, station, side * (main.kerb_m - 0.35), margin_m=0.1)


def _put_row(
    street: Street, side: int, span_m: tuple[float, float], offset_m: float, gap_m: float
) -> None:
    """Put barriers end to end along the main road."""
    station = span_m[0] + 1.3
    while station < span_m[1] - 1.2:
        body = street.make.object("barrier")
        if not street.town.is_in_crossing(station, 1.0):
            street.put(
                body,
                street.town.main,
                station,
                side * offset_m,
                turned_rad=np.pi / 2 * side,
                margin_m=0.05,
            )
        station += body.shape.size_m[1] + gap_m


def _put_house(street: Street, road: Road, station_m: float, side: int) -> float:
    """Put one house, or leave a gap; return how far along the road it reaches."""
    rng = street.rng
    if rng.random() < 0.18:
        length = float(rng.uniform(8.0, 18.0))
        _put_fence(street, road, station_m + length / 2, side, length - 1.0)
        return length
    length, depth = float(rng.uniform(9.0, 24.0)), float(rng.uniform(8.0, 13.0))
    height = float(rng.choice([rng.uniform(4.5, 9.0), rng.uniform(9.0, 22.0)]))
    offset = side * (road.edge_m + rng.uniform(4.5, 9.0) + depth / 2)
    middle = station_m + length / 2
    along = np.repeat(middle + np.linspace(-0.5, 0.5, 7) * length, 3)
    across = np.tile(offset + np.array([-0.5, 0.0, 0.5]) * depth, 7)
    if street.is_on_a_road(road.center.beside(along, across), road, 1.0):
        return 6.0
    body = street.make.building((length, depth, height))
    street.put(body, road, middle, offset, margin_m=0.5)
    return length + float(rng.uniform(0.6, 6.0))


def _put_fence(street: Street, road: Road, station_m: float, side: int, length_m: float) -> None:
    is_hedge = street.rng.random() < 0.5
    surface = surfaces.foliage(street.rng) if is_hedge else surfaces.wall(street.rng)
    body = street.make.of("wall", object_shapes.wall(length_m, 1.4, surface))
    offset = side * (road.edge_m + 0.4)
    ends = road.center.beside(station_m + np.linspace(-0.5, 0.5, 7) * length_m, np.float64(offset))
    if not street.is_on_a_road(ends, road):
        street.put(body, road, station_m, offset)


def _put_furniture(street: Street, road: Road, station: float, side: int, kind: str) -> None:
    if kind == "none" or (road is street.town.main and street.town.is_in_crossing(station, -1.0)):
        return
    edge = kind in ("clutter",) or (kind == "tree" and street.rng.random() < 0.4)
    offset = side * (road.edge_m + 2.0 if edge else road.kerb_m + 0.5)
    if kind == "tree" and not edge:
        offset = side * (road.edge_m + 1.9)
    position = road.center.beside(np.array([station]), np.float64(offset))
    if street.is_on_a_road(position, road, 0.5):
        return
    towards_road = -np.pi / 2 * side
    turned = {"sign": np.pi if side < 0 else 0.0}.get(kind, towards_road)
    body = street.make.object(kind)
    street.put(body, road, station, offset, turned_rad=turned)


def _park(street: Street, road: Road, start_m: float, side: int) -> None:
    rng = street.rng
    middle = start_m + BAY_M / 2
    position = road.center.beside(np.array([middle - 4, middle, middle + 4]), np.float64(0.0))
    is_main = road is street.town.main
    if is_main and street.town.is_in_crossing(middle, 3.0):
        return
    if not is_main and street.is_on_a_road(position, road, 6.0):
        return
    kind = str(rng.choice(["car", "truck", "motorcycle"], p=[0.87, 0.07, 0.06]))
    is_cycle = kind == "motorcycle"
    body = street.make.cycle(kind, False) if is_cycle else street.make.vehicle(kind, False)
    if not is_cycle and (body.shape.size_m[0] > 7.5 or body.shape.size_m[1] > road.parking_m + 0.3):
        return
    turned = (0.0 if side < 0 else np.pi) + rng.normal(0.0, 0.02)
    offset = side * (road.kerb_m - 0.15 - body.shape.size_m[1] / 2)
    street.put(
        body,
        road,
        middle + rng.normal(0.0, 0.25),
        offset,
        turned_rad=turned,
        attributes=LEANING if is_cycle else PARKED,
    )
