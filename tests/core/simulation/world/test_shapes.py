# SPDX-License-Identifier: Apache-2.0
"""Shapes of bodies: of the right size, tight, made of sound solids, and different each time."""

import numpy as np
import pytest

from imkd_core.simulation.world import object_shapes, person_shapes, vehicle_shapes

#: name -> (maker, mean size in nuScenes or None for scenery)
MAKERS = {
    "car": (vehicle_shapes.car, (4.6, 1.95, 1.73)),
    "truck": (vehicle_shapes.truck, (6.9, 2.5, 2.8)),
    "bus": (vehicle_shapes.bus, (11.0, 2.9, 3.5)),
    "trailer": (vehicle_shapes.trailer, (12.0, 2.9, 3.9)),
    "construction vehicle": (vehicle_shapes.construction_vehicle, (6.4, 2.8, 3.2)),
    "walking": (lambda rng: person_shapes.pedestrian(rng, True), (0.73, 0.67, 1.77)),
    "worker": (lambda rng: person_shapes.pedestrian(rng, False, "construction_worker"), None),
    "child": (lambda rng: person_shapes.pedestrian(rng, True, "child"), None),
    "cyclist": (lambda rng: person_shapes.bicycle(rng, True), (1.7, 0.6, 1.6)),
    "bicycle": (lambda rng: person_shapes.bicycle(rng, False), (1.7, 0.6, 1.1)),
    "motorcycle": (lambda rng: person_shapes.motorcycle(rng, True), (2.1, 0.77, 1.47)),
    "cone": (object_shapes.traffic_cone, (0.41, 0.41, 1.07)),
    "barrier": (object_shapes.barrier, (0.5, 2.5, 0.98)),
    "building": (lambda rng: object_shapes.building(rng, (12, 9, 7), True), None),
    "tree": (object_shapes.tree, None),
    "bush": (object_shapes.bush, None),
    "lamp": (lambda rng: object_shapes.lamp_post(True), None),
    "sign": (object_shapes.sign, None),
    "light": (lambda rng: object_shapes.traffic_light(True), None),
    "clutter": (object_shapes.clutter, None),
    "shelter": (lambda rng: object_shapes.bus_shelter(), None),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_shape_fills_its_box_with_convex_solids(name):
    rng = np.random.default_rng(3)
    for _ in range(6):
        shape = MAKERS[name][0](rng)
        corners = np.concatenate([solid.corners_m for solid in shape.solids])
        np.testing.assert_allclose(np.ptp(corners, axis=0), shape.size_m, atol=1e-6)
        for solid in shape.solids:
            beyond = solid.corners_m @ solid.planes[:, :3].T - solid.planes[:, 3]
            assert beyond.max() < 1e-6
            assert all(0 <= index < len(solid.faces) for index, _ in solid.decals)


@pytest.mark.parametrize("name", [name for name, (_, mean) in MAKERS.items() if mean])
def test_sizes_are_those_of_nuscenes_on_average(name):
    make, mean = MAKERS[name]
    rng = np.random.default_rng(0)
    sizes = np.array([make(rng).size_m for _ in range(40)])
    np.testing.assert_allclose(sizes.mean(axis=0), mean, rtol=0.13)


@pytest.mark.parametrize("name", ["car", "truck", "walking", "barrier"])
def test_two_of_a_kind_differ(name):
    rng = np.random.default_rng(1)
    first, second = (MAKERS[name][0](rng) for _ in range(2))
    assert first.size_m != second.size_m


def test_a_car_is_no_cuboid():
    shape = vehicle_shapes.car(np.random.default_rng(0))
    middle = np.linspace(-0.5, 0.5, 30)
    grid = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), axis=-1).reshape(-1, 3)
    points = grid * shape.size_m
    inside = np.zeros(len(points), dtype=bool)
    for solid in shape.solids:
        inside |= (points @ solid.planes[:, :3].T <= solid.planes[:, 3]).all(axis=1)
    assert 0.35 < inside.mean() < 0.85
