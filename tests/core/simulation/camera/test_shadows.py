# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from imkd_core.simulation.camera.shadows import Sunlight, draw_shadows, hulls_of, shadow_parts
from tests.core.simulation.camera.small_scenes import car_like, cuboid, placed_at, snapshot_of

NOON = Sunlight(slope=(0.0, 0.0), casts=True)
EVENING = Sunlight(slope=(2.0, 0.0), casts=True)


def test_parts_of_a_shadow_hold_each_solid_or_all_of_them():
    points, ends = shadow_parts(car_like(), fine=True)
    assert (len(points), ends) == (16, [8, 16])
    assert shadow_parts(car_like(), fine=False)[1] == [16]


@pytest.mark.parametrize("yaw_rad", [0.0, 0.6])
def test_the_suns_shadow_of_a_cuboid_is_its_floor_drawn_out_by_its_height(yaw_rad):
    item = placed_at(cuboid((4.0, 2.0, 3.0)), 700.0, -200.0, yaw_rad)
    hulls = hulls_of(item, EVENING, fine=True)
    areas = {
        is_suns: cv2.contourArea((hulls.corners_m[a:b] - (700, -200)).astype(np.float32))
        for a, b, is_suns in hulls.parts
    }
    across = 4 * abs(np.sin(yaw_rad)) + 2 * np.cos(yaw_rad)
    assert areas[False] == pytest.approx(8.0, rel=1e-4)
    assert areas[True] == pytest.approx(8.0 + 2.0 * 3.0 * across, rel=1e-4)


def test_hulls_of_a_body_are_made_once_for_each_light():
    item = placed_at(car_like(), 5.0, 1.0)
    assert hulls_of(item, NOON, fine=True) is hulls_of(item, NOON, fine=True)
    assert hulls_of(item, NOON, fine=True) is not hulls_of(item, EVENING, fine=True)


def test_only_what_reaches_the_raster_is_drawn_and_without_sun_only_the_skys_shadow():
    scene = snapshot_of(placed_at(cuboid((2.0, 2.0, 4.0)), 12.0, 2.0))
    sky, sun = np.full((40, 60), 255, np.uint8), np.full((40, 60), 255, np.uint8)
    draw_shadows(scene, EVENING, (0.0, 0.0), 0.15, (sky, sun))
    assert sky.min() == 255
    assert sun[13, 40] == 0
    draw_shadows(scene, Sunlight(slope=(2.0, 0.0), casts=False), (10.0, 0.0), 0.15, (sky, sun))
    assert sky[13, 13] == 0
