# SPDX-License-Identifier: Apache-2.0
"""Small scenes for the tests of the ranging sensors."""

import numpy as np

from imkd_core.simulation.world.scene import (
    Body,
    Condition,
    Face,
    Ground,
    Placed,
    Shape,
    Snapshot,
    Solid,
    Surface,
)

GREY = Surface(albedo=(0.3, 0.3, 0.3), reflectance=0.4)


def box_solid(length, width, height, surface=GREY, center=(0.0, 0.0, 0.0), decals=()):
    x, y, z = length / 2, width / 2, height / 2
    sides = {
        "front": [(x, -y, -z), (x, y, -z), (x, y, z), (x, -y, z)],
        "back": [(-x, y, -z), (-x, -y, -z), (-x, -y, z), (-x, y, z)],
        "left": [(x, y, -z), (-x, y, -z), (-x, y, z), (x, y, z)],
        "right": [(-x, -y, -z), (x, -y, -z), (x, -y, z), (-x, -y, z)],
        "top": [(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)],
        "bottom": [(-x, y, -z), (x, y, -z), (x, -y, -z), (-x, -y, -z)],
    }
    faces = tuple(
        Face(corners_m=np.array(c, dtype=np.float64) + center, surface=surface)
        for c in sides.values()
    )
    return Solid(faces=faces, decals=tuple(decals))


def box_body(size=(4.5, 1.9, 1.6), number=0, category="vehicle.car", surface=GREY, rcs=12.0):
    shape = Shape(solids=(box_solid(*size, surface=surface),), size_m=size)
    return Body(number=number, category=category, shape=shape, rcs_dbsm=rcs)


def pose(x, y, z=0.0, yaw=0.0):
    c, s = np.cos(yaw), np.sin(yaw)
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    matrix[:3, 3] = x, y, z
    return matrix


def placed(body, x, y, yaw=0.0, velocity=(0.0, 0.0, 0.0), yaw_rate=0.0, lift=0.0):
    return Placed(
        body=body,
        global_from_body=pose(x, y, body.shape.size_m[2] / 2 + lift, yaw),
        velocity_mps=np.asarray(velocity, dtype=np.float64),
        yaw_rate_radps=yaw_rate,
    )


def ground(reflectance=60):
    return Ground(
        albedo=np.full((40, 60, 3), 120, dtype=np.uint8),
        reflectance=np.full((40, 60), reflectance, dtype=np.uint8),
        origin_m=(-150.0, -100.0),
        pixel_m=5.0,
    )


def snapshot(*bodies, condition="clear", ego=None, velocity=(0.0, 0.0, 0.0), floor=60, **weather):
    return Snapshot(
        time_s=0.0,
        global_from_ego=pose(0.0, 0.0) if ego is None else ego,
        ego_velocity_mps=np.asarray(velocity, dtype=np.float64),
        placed=tuple(bodies),
        ground=ground(floor),
        condition=Condition(name=condition, **weather),
    )


def random_snapshot(rng, count=25, reach=40.0, **options):
    bodies = []
    for number in range(count):
        size = tuple(rng.uniform((0.3, 0.3, 0.5), (12.0, 4.0, 5.0)))
        bearing, range_m = rng.uniform(-np.pi, np.pi), rng.uniform(10.0, reach)
        bodies.append(
            placed(
                box_body(size, number, rcs=rng.uniform(-5, 20)),
                range_m * np.cos(bearing),
                range_m * np.sin(bearing),
                rng.uniform(-np.pi, np.pi),
                (*rng.uniform(-10, 10, 2), 0.0),
                rng.uniform(-0.5, 0.5),
            )
        )
    return snapshot(*bodies, **options)


def shape_body(solid, size, number=0, category="vehicle.car", rcs=12.0):
    shape = Shape(solids=(solid,), size_m=size)
    return Body(number=number, category=category, shape=shape, rcs_dbsm=rcs)
