# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from imkd_core.simulation.camera.cameras import mean_of_four, render
from imkd_core.simulation.camera.faces import place_faces
from imkd_core.simulation.camera.painting import faces_in_view, paint
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


def picture(snapshot, seed=0):
    return render(snapshot, CAMERA, GLOBAL_FROM_CAM, np.random.default_rng(seed))


def test_the_same_draw_gives_the_same_bytes_and_another_draw_others():
    snapshot = snapshot_of(placed_at(car_like(), 12.0, 1.0))
    assert np.array_equal(picture(snapshot), picture(snapshot))
    assert not np.array_equal(picture(snapshot), picture(snapshot, seed=1))


@pytest.mark.parametrize("name", sorted(CONDITIONS_OF))
def test_a_picture_has_the_cameras_size_and_a_sane_brightness(name):
    seen = picture(snapshot_of(placed_at(car_like(), 12.0, 1.0), condition=name))
    assert seen.shape == (CAMERA.height_px, CAMERA.width_px, 3)
    assert seen.dtype == np.uint8
    assert 20 < seen.mean() < 200


def test_an_empty_world_can_be_seen():
    assert picture(snapshot_of()).std() > 5


def test_what_is_behind_the_camera_is_not_drawn():
    empty = picture(snapshot_of())
    behind = picture(snapshot_of(placed_at(cuboid(), -40.0, 0.0)))
    assert np.array_equal(empty, behind)


def test_night_is_darker_than_day():
    car = placed_at(car_like(), 12.0, 1.0)
    day, night = (picture(snapshot_of(car, condition=name)) for name in ("clear", "night"))
    assert night.mean() < 0.75 * day.mean()


def test_the_side_that_faces_the_sun_is_brighter():
    shares = []
    for azimuth_rad in (np.pi, 0.0):
        snapshot = snapshot_of(placed_at(cuboid(), 12.0, 0.0), sun_azimuth_rad=azimuth_rad)
        view = View(
            width_px=CAMERA.width_px,
            height_px=CAMERA.height_px,
            pixel_from_cam=CAMERA.pixel_from_cam,
            global_from_cam=GLOBAL_FROM_CAM,
        )
        table = place_faces(snapshot.placed)
        on_body = paint(view, table, faces_in_view(view, table)).number > 0
        seen = picture(snapshot).astype(float)
        shares.append(seen[on_body].mean())
    assert shares[0] > 1.2 * shares[1]


def test_fog_takes_more_contrast_the_farther_a_body_is():
    contrasts = []
    for range_m in (10.0, 20.0, 40.0, 60.0):
        snapshot = snapshot_of(placed_at(cuboid(dark=True), range_m, 0.0), condition="fog")
        seen = picture(snapshot).astype(float).mean(axis=2)
        row = int(CAMERA.pixel_from_cam[1, 2]) + 1
        center = int(CAMERA.pixel_from_cam[0, 2])
        contrasts.append(seen[row - 4 : row - 1, :20].mean() - seen[row - 4 : row, center].mean())
    assert all(near > far + 1 for near, far in itertools.pairwise(contrasts))


def test_the_mean_of_four_is_what_a_smaller_picture_of_all_colours_shows():
    rng = np.random.default_rng(3)
    number = np.repeat(np.repeat(rng.integers(0, 5, (6, 9)), 3, axis=0), 2, axis=1)
    colors = rng.random((5, 4)).astype(np.float32)
    expected = colors[number].reshape(9, 2, 9, 2, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(mean_of_four(colors, number.astype(np.int32)), expected, atol=1e-6)
