# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.camera.faces import place_faces
from imkd_core.simulation.camera.lamps import is_dark, lamps_on_ground, light_of_posts, own_beam
from imkd_core.simulation.camera.light import light_scene
from imkd_core.simulation.world.scene import Face, Shape, Solid, Surface
from tests.core.simulation.camera.small_scenes import (
    CONDITIONS_OF,
    block,
    car_like,
    cuboid,
    placed_at,
    snapshot_of,
)

BACKWARD = np.array([[-1.0, 0.0, 0.0]])
LAMP = Surface(albedo=(0.8, 0.8, 0.8), reflectance=0.4, glow=(1.6, 1.3, 0.8))


def street_lamp():
    solid = block((0.6, 0.3, 0.1))
    faces = tuple(Face(corners_m=face.corners_m, surface=LAMP) for face in solid.faces)
    return Shape(solids=(Solid(faces=faces),), size_m=(0.6, 0.3, 0.1))


def hung(shape, x_m, y_m, z_m):
    item = placed_at(shape, x_m, y_m)
    item.global_from_body[2, 3] = z_m
    return item


def test_only_night_is_dark():
    assert [name for name, condition in CONDITIONS_OF.items() if is_dark(condition)] == ["night"]


def test_head_lamps_light_what_is_ahead_and_the_nearer_the_more():
    night = snapshot_of(condition="night")
    near, far, behind, aside = (
        own_beam(night, np.array([point]), BACKWARD)[0]
        for point in ([12.0, 0, 0.5], [35.0, 0, 0.5], [-10.0, 0, 0.5], [12.0, 15.0, 0.5])
    )
    assert near > far > 0
    assert behind == 0
    assert aside < 0.2 * near


def test_head_lamps_are_cut_off_above():
    night = snapshot_of(condition="night")
    low, high = (own_beam(night, np.array([[20.0, 0, z]]), BACKWARD)[0] for z in (0.5, 3.5))
    assert high < 0.25 * low


def test_by_day_lamps_light_nothing():
    assert own_beam(snapshot_of(), np.array([[12.0, 0, 0.5]]), BACKWARD).tolist() == [0.0]


def test_a_street_lamp_makes_a_pool_below_it():
    night = snapshot_of(hung(street_lamp(), 5.0, 20.0, 7.5), condition="night")
    light = lamps_on_ground(night, (-30.0, -30.0), (200, 240), 0.3)
    row, column = np.unravel_index(light[..., 0].argmax(), light.shape[:2])
    brightest = np.array([column, row]) * 0.3 - 30.0
    assert np.abs(brightest - (5.0, 20.0)).max() < 2.0
    assert light[0, 0, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_street_lamp_lights_bodies_near_it_only():
    lamp = hung(street_lamp(), 0.0, 0.0, 7.5)
    placed = (lamp, placed_at(cuboid(), 5.0, 0.0), placed_at(cuboid(), 50.0, 0.0))
    table = place_faces(placed)
    light = light_of_posts(table, placed).max(axis=1)
    assert light[table.owner == 1].max() > 0.02
    assert light[table.owner == 2].max() == 0


def test_a_rear_lamp_reddens_the_ground_behind_it():
    scene = light_scene(snapshot_of(placed_at(car_like(), 20.0, 8.0), condition="night"))
    row = int((8.0 - scene.ground_origin_m[1]) / scene.ground_pixel_m)
    column = int((16.8 - scene.ground_origin_m[0]) / scene.ground_pixel_m)
    red, green, _ = scene.ground[row, column]
    assert red > 1.5 * green
