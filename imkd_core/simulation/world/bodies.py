# SPDX-License-Identifier: Apache-2.0
"""Bodies by kind: category, shape, radar cross-section, and the attribute that goes with motion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imkd_core.simulation.world import object_shapes, person_shapes, vehicle_shapes
from imkd_core.simulation.world.scene import Body, Shape

#: Attributes (moving, standing) of a road user with somebody in it, and of one left behind.
DRIVEN = ("vehicle.moving", "vehicle.stopped")
PARKED = ("vehicle.parked", "vehicle.parked")
RIDDEN = ("cycle.with_rider", "cycle.with_rider")
LEANING = ("cycle.without_rider", "cycle.without_rider")
ON_FOOT = ("pedestrian.moving", "pedestrian.standing")
NONE = ("", "")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What there is to know of a kind of body besides its form.

    Attributes:
        category: of nuScenes; "" for scenery.
        rcs_dbsm, spread_db: radar cross-section from its best side, and how much less from the
            worst.
    """

    category: str
    rcs_dbsm: float
    spread_db: float = 6.0


KINDS: dict[str, Kind] = {
    "car": Kind(category="vehicle.car", rcs_dbsm=11.0, spread_db=8.0),
    "truck": Kind(category="vehicle.truck", rcs_dbsm=18.0, spread_db=9.0),
    "bus": Kind(category="vehicle.bus.rigid", rcs_dbsm=20.0, spread_db=10.0),
    "trailer": Kind(category="vehicle.trailer", rcs_dbsm=19.0, spread_db=10.0),
    "construction_vehicle": Kind(category="vehicle.construction", rcs_dbsm=15.0, spread_db=7.0),
    "motorcycle": Kind(category="vehicle.motorcycle", rcs_dbsm=4.0, spread_db=6.0),
    "bicycle": Kind(category="vehicle.bicycle", rcs_dbsm=-1.0, spread_db=6.0),
    "adult": Kind(category="human.pedestrian.adult", rcs_dbsm=-5.0, spread_db=3.0),
    "child": Kind(category="human.pedestrian.child", rcs_dbsm=-8.0, spread_db=3.0),
    "construction_worker": Kind(
        category="human.pedestrian.construction_worker", rcs_dbsm=-5.0, spread_db=3.0
    ),
    "traffic_cone": Kind(category="movable_object.trafficcone", rcs_dbsm=-10.0, spread_db=3.0),
    "barrier": Kind(category="movable_object.barrier", rcs_dbsm=2.0, spread_db=10.0),
    "building": Kind(category="", rcs_dbsm=22.0, spread_db=12.0),
    "tree": Kind(category="", rcs_dbsm=2.0, spread_db=3.0),
    "bush": Kind(category="", rcs_dbsm=-6.0, spread_db=3.0),
    "lamp_post": Kind(category="", rcs_dbsm=4.0, spread_db=2.0),
    "sign": Kind(category="", rcs_dbsm=7.0, spread_db=12.0),
    "traffic_light": Kind(category="", rcs_dbsm=4.0, spread_db=3.0),
    "wall": Kind(category="", rcs_dbsm=8.0, spread_db=10.0),
    "clutter": Kind(category="", rcs_dbsm=5.0, spread_db=6.0),
    "bus_shelter": Kind(category="", rcs_dbsm=8.0, spread_db=6.0),
}


class BodyMaker:
    """Makes the bodies of one drive, numbered from 0.

    Args:
        rng: chance.
        is_dark: lamps and windows are lit.
    """

    def __init__(self, rng: np.random.Generator, is_dark: bool) -> None:
        self._rng, self._is_dark, self._count = rng, is_dark, 0

    def vehicle(self, kind: str, is_lit: bool = True) -> Body:
        """Return a motor vehicle or trailer; a parked one has its lamps off."""
        rng = self._rng
        makers: dict[str, Callable[[], Shape]] = {
            "car": lambda: vehicle_shapes.car(rng, is_lit),
            "truck": lambda: vehicle_shapes.truck(rng, is_lit),
            "bus": lambda: vehicle_shapes.bus(rng, is_lit),
            "trailer": lambda: vehicle_shapes.trailer(rng),
            "construction_vehicle": lambda: vehicle_shapes.construction_vehicle(rng),
        }
        return self.of(kind, makers[kind]())

    def cycle(self, kind: str, has_rider: bool) -> Body:
        """Return a bicycle or motorcycle."""
        make = {"bicycle": person_shapes.bicycle, "motorcycle": person_shapes.motorcycle}[kind]
        return self.of(kind, make(self._rng, has_rider))

    def person(self, kind: str, is_walking: bool) -> Body:
        """Return somebody on foot: "adult", "child" or "construction_worker"."""
        return self.of(kind, person_shapes.pedestrian(self._rng, is_walking, kind))

    def object(self, kind: str) -> Body:
        """Return a cone, a barrier, or scenery that has a size of its own."""
        rng, is_dark = self._rng, self._is_dark
        makers: dict[str, Callable[[], Shape]] = {
            "traffic_cone": lambda: object_shapes.traffic_cone(rng),
            "barrier": lambda: object_shapes.barrier(rng),
            "tree": lambda: object_shapes.tree(rng),
            "bush": lambda: object_shapes.bush(rng),
            "lamp_post": lambda: object_shapes.lamp_post(is_dark),
            "sign": lambda: object_shapes.sign(rng),
            "clutter": lambda: object_shapes.clutter(rng),
            "bus_shelter": object_shapes.bus_shelter,
        }
        return self.of(kind, makers[kind]())

    def building(self, size_m: tuple[float, float, float]) -> Body:
        """Return a house of a size."""
        return self.of("building", object_shapes.building(self._rng, size_m, self._is_dark))

    def of(self, kind: str, shape: Shape) -> Body:
        """Return a body of a kind with a given shape; its cross-section varies by 2 dB."""
        facts = KINDS[kind]
        self._count += 1
        return Body(
            number=self._count - 1,
            category=facts.category,
            shape=shape,
            rcs_dbsm=facts.rcs_dbsm + float(np.clip(self._rng.normal(0.0, 2.0), -4, 4)),
            rcs_spread_db=facts.spread_db,
        )
