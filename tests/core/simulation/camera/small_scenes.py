# SPDX-License-Identifier: Apache-2.0
"""Cuboids and cars of cuboids on a plain road, for tests of the cameras."""

from dataclasses import replace

import numpy as np

from imkd_core.calibration import CameraModel
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

#: Unequal sides; the camera looks along x of the global frame from 1.5 m above the origin.
CAMERA = CameraModel(
    width_px=352,
    height_px=200,
    pixel_from_cam=np.array([[250.0, 0, 175.5], [0, 250.0, 90.0], [0, 0, 1]]),
    ego_from_cam=np.eye(4),
)
GLOBAL_FROM_CAM = np.array(
    [[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]], dtype=np.float64
)

CONDITIONS_OF = {
    "clear": Condition(name="clear"),
    "rain": Condition(name="rain", rain_mmph=8, visibility_m=1500, ambient=0.6, sun=0, wet=1),
    "fog": Condition(name="fog", visibility_m=80, ambient=0.7, sun=0, wet=0.3),
    "night": Condition(name="night", ambient=0.02, sun=0, sun_elevation_rad=-0.3),
    "low_sun": Condition(name="low_sun", sun_elevation_rad=0.12, ambient=0.5, sun=0.8),
}

PAINT = Surface(albedo=(0.5, 0.5, 0.5), reflectance=0.4)
DARK = Surface(albedo=(0.02, 0.02, 0.02), reflectance=0.1)
LAMP = Surface(albedo=(0.5, 0.02, 0.02), reflectance=0.3, glow=(1.5, 0.05, 0.02))

_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
_FACES = ((4, 6, 7, 5), (2, 0, 1, 3), (6, 2, 3, 7), (0, 4, 5, 1), (1, 5, 7, 3), (2, 6, 4, 0))


def block(size_m, center_m=(0.0, 0.0, 0.0), surface=PAINT, lamps=False):
    corners = _CORNERS * np.asarray(size_m) / 2 + center_m
    faces = tuple(Face(corners_m=corners[list(face)], surface=surface) for face in _FACES)
    rear = faces[1].corners_m
    small = rear.mean(axis=0) + 0.3 * (rear - rear.mean(axis=0))
    return Solid(faces=faces, decals=((1, Face(corners_m=small, surface=LAMP)),) if lamps else ())


def cuboid(size_m=(4.0, 2.0, 2.0), dark=False):
    return Shape(solids=(block(size_m, surface=DARK if dark else PAINT),), size_m=size_m)


def car_like():
    low, high = block((4.4, 1.8, 0.8), (0, 0, -0.35), lamps=True), block((2, 1.6, 0.7), (0, 0, 0.4))
    return Shape(solids=(low, high), size_m=(4.4, 1.8, 1.5))


def placed_at(shape, x_m, y_m, yaw_rad=0.0, number=0):
    pose = np.eye(4)
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    pose[:3, 3] = (x_m, y_m, shape.size_m[2] / 2)
    body = Body(number=number, category="vehicle.car", shape=shape, rcs_dbsm=10.0)
    return Placed(body=body, global_from_body=pose, velocity_mps=np.zeros(3))


def plain_ground():
    rng = np.random.default_rng(0)
    albedo = rng.integers(80, 100, (300, 500, 3), dtype=np.uint8)
    return Ground(
        albedo=albedo, reflectance=albedo[..., 0].copy(), origin_m=(-60.0, -30.0), pixel_m=0.25
    )


def snapshot_of(*placed, condition="clear", ground=None, **changes):
    return Snapshot(
        time_s=0.0,
        global_from_ego=np.eye(4),
        ego_velocity_mps=np.array([8.0, 0.0, 0.0]),
        placed=placed,
        ground=ground or plain_ground(),
        condition=replace(CONDITIONS_OF[condition], **changes),
    )
