# SPDX-License-Identifier: Apache-2.0
import numpy as np

from imkd_core.simulation.camera.light import daylight
from imkd_core.simulation.camera.painting import faces_in_view, paint
from imkd_core.simulation.camera.sky import airlight, cloud_pattern, see_sky, sky_color
from imkd_core.simulation.camera.skyline import skyline
from imkd_core.simulation.camera.view import View
from tests.core.simulation.camera.small_scenes import (
    CAMERA,
    CONDITIONS_OF,
    GLOBAL_FROM_CAM,
    plain_ground,
)

VIEW = View(
    width_px=CAMERA.width_px,
    height_px=CAMERA.height_px,
    pixel_from_cam=CAMERA.pixel_from_cam,
    global_from_cam=GLOBAL_FROM_CAM,
)
UP, LEVEL = np.array([[0.0, 0.6, 0.8]]), np.array([[0.0, 1.0, 0.01]])


def test_a_clear_sky_is_blue_above_and_paler_at_the_horizon():
    above, low = (sky_color(ray, CONDITIONS_OF["clear"])[0] for ray in (UP, LEVEL))
    assert above[2] > above[0]
    assert low[0] / low[2] > above[0] / above[2]


def test_rain_and_fog_are_gray_and_night_is_dark():
    for name in ("rain", "fog"):
        color = sky_color(UP, CONDITIONS_OF[name])[0]
        assert np.ptp(color) < 0.15 * color.mean()
    night, day = (sky_color(UP, CONDITIONS_OF[name]).mean() for name in ("night", "clear"))
    assert night < 0.02 * day


def test_the_sun_is_the_brightest_place_of_the_sky():
    condition = CONDITIONS_OF["low_sun"]
    to_sun = daylight(condition).to_sun[None]
    assert sky_color(to_sun, condition).min() > 5
    assert sky_color(UP, condition).max() < 2


def test_the_sky_has_the_size_of_the_picture_and_no_holes():
    sky = see_sky(VIEW, CONDITIONS_OF["clear"])
    assert sky.shape == (CAMERA.height_px, CAMERA.width_px, 3)
    assert np.isfinite(sky).all()
    assert (sky > 0).all()


def test_fog_hides_the_border_between_ground_and_sky():
    condition = CONDITIONS_OF["fog"]
    np.testing.assert_allclose(sky_color(LEVEL, condition)[0], airlight(condition), rtol=0.25)


def test_clouds_continue_at_the_border_of_their_tile():
    tile = cloud_pattern()
    step = np.abs(np.diff(tile, axis=0)).max()
    assert np.abs(tile[0] - tile[-1]).max() <= step
    assert tile.min() == 0
    assert tile.max() == 1


def test_a_skyline_surrounds_the_world_and_is_the_same_for_the_same_ground():
    ground = plain_ground()
    table = skyline(ground)
    assert skyline(ground) is table
    assert np.array_equal(skyline(plain_ground()).points_m, table.points_m)
    seen = paint(VIEW, table, faces_in_view(VIEW, table)).number > 0
    assert seen.any(axis=0).mean() > 0.9
    assert not seen[: CAMERA.height_px // 8].any()
