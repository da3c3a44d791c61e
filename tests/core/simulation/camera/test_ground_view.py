# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.camera.ground_view import (
    horizon_rows,
    pyramid,
    raster_from_pixel,
    see_ground,
)
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Ground
from tests.core.simulation.camera.small_scenes import CAMERA, GLOBAL_FROM_CAM, plain_ground

VIEW = View(
    width_px=CAMERA.width_px,
    height_px=CAMERA.height_px,
    pixel_from_cam=CAMERA.pixel_from_cam,
    global_from_cam=GLOBAL_FROM_CAM,
)


def ground_with_line(x_m):
    albedo = np.full((300, 500, 3), 60, dtype=np.uint8)
    column = round((x_m + 60.0) / 0.25)
    albedo[:, column - 2 : column + 2] = 220
    return Ground(
        albedo=albedo, reflectance=albedo[..., 0].copy(), origin_m=(-60.0, -30.0), pixel_m=0.25
    )


@pytest.mark.parametrize("x_m", [6.0, 12.0, 25.0])
def test_a_line_on_the_ground_is_seen_where_it_projects(x_m):
    first, _ = horizon_rows(VIEW)
    seen = see_ground(VIEW, ground_with_line(x_m), first)
    row = first + int(seen[:, 176, 0].argmax())
    k = CAMERA.pixel_from_cam
    assert row == pytest.approx(k[1, 2] + 1.5 * k[1, 1] / x_m, abs=1.5)


def test_a_pixel_is_taken_to_the_raster_of_the_ground():
    matrix = raster_from_pixel(VIEW, (-60.0, -30.0), 0.25)
    k = CAMERA.pixel_from_cam
    point = matrix @ [k[0, 2] - 25.0, k[1, 2] + 37.5, 1.0]
    assert point[:2] / point[2] == pytest.approx([70 / 0.25 - 0.5, 31 / 0.25 - 0.5])


def test_the_horizon_of_a_level_camera_is_its_principal_row():
    first, full = horizon_rows(VIEW)
    assert first == full
    assert abs(first - CAMERA.pixel_from_cam[1, 2]) <= 1


def test_far_ground_does_not_flicker():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (300, 500, 3), dtype=np.uint8)
    ground = Ground(
        albedo=noise, reflectance=noise[..., 0].copy(), origin_m=(-60.0, -30.0), pixel_m=0.25
    )
    first, _ = horizon_rows(VIEW)
    seen = see_ground(VIEW, ground, first).astype(float)
    assert seen[8:12].std() < 0.5 * seen[-30:].std()


def test_levels_are_made_once_and_halve():
    ground = plain_ground()
    levels = pyramid(ground)
    assert pyramid(ground) is levels
    assert [level.shape[:2] for level in levels[:3]] == [(300, 500), (150, 250), (75, 125)]
