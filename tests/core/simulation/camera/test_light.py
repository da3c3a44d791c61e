# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.camera.faces import place_faces
from imkd_core.simulation.camera.light import (
    bodies_in_view,
    daylight,
    face_light,
    light_scene,
    sunlit,
)
from imkd_core.simulation.camera.view import View
from tests.core.simulation.camera.small_scenes import (
    CAMERA,
    CONDITIONS_OF,
    GLOBAL_FROM_CAM,
    car_like,
    cuboid,
    placed_at,
    snapshot_of,
)


def ground_at(scene, x_m, y_m):
    column = int((x_m - scene.ground_origin_m[0]) / scene.ground_pixel_m)
    row = int((y_m - scene.ground_origin_m[1]) / scene.ground_pixel_m)
    return scene.ground[row, column].mean()


def test_the_sun_stands_where_the_condition_says():
    snapshot = snapshot_of(sun_elevation_rad=0.5, sun_azimuth_rad=1.0)
    to_sun = daylight(snapshot.condition).to_sun
    assert np.arcsin(to_sun[2]) == pytest.approx(0.5)
    assert np.arctan2(to_sun[1], to_sun[0]) == pytest.approx(1.0)


def test_no_sun_shines_at_night():
    assert daylight(CONDITIONS_OF["night"]).sun_rgb.max() == 0


def test_a_shadow_falls_away_from_the_sun_and_is_as_long_as_the_body_is_high():
    item = placed_at(cuboid((2.0, 2.0, 4.0)), 10.0, 5.0)
    scene = light_scene(snapshot_of(item, sun_elevation_rad=np.pi / 4, sun_azimuth_rad=0.0))
    open_ground = ground_at(scene, 10.0, 15.0)
    assert ground_at(scene, 6.5, 5.0) < 0.6 * open_ground
    assert ground_at(scene, 13.0, 5.0) == pytest.approx(open_ground, rel=0.02)
    assert ground_at(scene, 4.0, 5.0) == pytest.approx(open_ground, rel=0.02)


def test_without_sun_it_is_dark_under_a_body_only():
    item = placed_at(car_like(), 10.0, 5.0)
    scene = light_scene(snapshot_of(item, condition="fog"))
    open_ground = ground_at(scene, 10.0, 15.0)
    assert ground_at(scene, 10.0, 5.0) < 0.6 * open_ground
    assert ground_at(scene, 10.0, 8.0) == pytest.approx(open_ground, rel=0.02)


def test_a_car_behind_a_house_is_in_its_shade():
    car = placed_at(car_like(), 0.0, 0.0)
    house = placed_at(cuboid((20.0, 20.0, 20.0)), 20.0, 0.0)
    snapshot = snapshot_of(car, house, sun_elevation_rad=0.4, sun_azimuth_rad=0.0)
    assert sunlit(snapshot, daylight(snapshot.condition)).tolist() == [0.0, 1.0, 1.0]
    other = snapshot_of(car, house, sun_elevation_rad=0.4, sun_azimuth_rad=np.pi)
    assert sunlit(other, daylight(other.condition)).tolist() == [1.0, 1.0, 1.0]


def test_a_face_towards_the_sun_gets_more_light_than_one_away_from_it():
    table = place_faces((placed_at(cuboid(), 0.0, 0.0),))
    light = face_light(table, daylight(CONDITIONS_OF["clear"]), np.ones(2)).mean(axis=1)
    towards, away = table.normal[:, 0] > 0.9, table.normal[:, 0] < -0.9
    assert light[towards][0] > 1.3 * light[away][0]
    assert (light > 0).all()


def test_what_a_camera_cannot_see_is_left_out_and_the_rest_is_lit_alike():
    items = [placed_at(car_like(), x, y) for x, y in ((12, 0), (-12, 0), (20, 14), (0, 30), (0, 2))]
    snapshot = snapshot_of(*items)
    view = View(
        width_px=CAMERA.width_px,
        height_px=CAMERA.height_px,
        pixel_from_cam=CAMERA.pixel_from_cam,
        global_from_cam=GLOBAL_FROM_CAM,
    )
    assert bodies_in_view(snapshot, view).tolist() == [0, 2, 4]
    whole, seen = light_scene(snapshot), light_scene(snapshot, view)
    rows = np.isin(whole.faces.owner, [0, 2, 4, -1])
    np.testing.assert_allclose(seen.light, whole.light[rows], atol=1e-6)
    assert seen.ground.size < 0.6 * whole.ground.size
    for x_m, y_m in ((12.0, 0.0), (20.0, 14.0), (30.0, 3.0)):
        assert ground_at(seen, x_m, y_m) == pytest.approx(ground_at(whole, x_m, y_m), abs=0.02)
