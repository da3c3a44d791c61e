# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging.radar_fan import look, rectangles
from imkd_core.simulation.world.scene import Body, Shape
from tests.core.simulation.ranging.made_up_scenes import box_body, box_solid, placed, pose, snapshot

RADAR = pose(2.0, 1.0, 0.5, 0.4)


def seen(*things, mounted=RADAR):
    return rectangles(snapshot(*things), mounted)


def test_a_body_keeps_its_place_and_motion_in_the_radar_frame():
    thing = placed(box_body(), 20, 3, 0.9, velocity=(3.0, 4.0, 0.0), yaw_rate=0.2)
    found = seen(thing)
    np.testing.assert_allclose(found.center[0], RADAR[:2, :2].T @ (18.0, 2.0))
    np.testing.assert_allclose(found.velocity[0], RADAR[:2, :2].T @ (3.0, 4.0))
    np.testing.assert_allclose(found.forward[0], (np.cos(0.5), np.sin(0.5)))
    np.testing.assert_allclose(found.half[0], (2.25, 0.95))
    assert found.yaw_rate[0] == 0.2


def test_rays_enter_at_the_near_face_and_leave_at_the_far_one():
    found = seen(placed(box_body((4, 2, 2)), 20, 0), mounted=pose(0, 0, 0.5))
    fan = look(found)
    ahead = np.argmax(fan.ray[:, 0])
    assert fan.enter[0, ahead] == pytest.approx(18.0)
    assert fan.leave[0, ahead] == pytest.approx(22.0)
    assert fan.incidence[0, ahead] == pytest.approx(1.0)
    assert fan.free_m[ahead] == pytest.approx(18.0)
    assert np.isinf(fan.free_of_scenery_m[ahead])


def test_thin_things_between_the_rays_of_the_fan_are_seen_by_their_own_ray():
    post = box_body((0.1, 0.1, 3), category="")
    fan = look(seen(placed(post, 80, 17.3), mounted=pose(0, 0, 0.5)))
    assert np.isfinite(fan.enter).any()


def test_what_is_low_hides_nothing():
    found = seen(placed(box_body((4, 2, 0.6)), 10, 0), mounted=pose(0, 0, 0.5))
    assert np.isinf(look(found).free_m).all()


def test_scenery_is_seen_by_its_low_parts():
    trunk, crown = box_solid(0.4, 0.4, 3, center=(0, 0, -1)), box_solid(4, 4, 2, center=(0, 0, 1.5))
    shape = Shape(solids=(trunk, crown), size_m=(4, 4, 5))
    tree = Body(number=0, category="", shape=shape, rcs_dbsm=0.0)
    found = seen(placed(tree, 15, 0), mounted=pose(0, 0, 0.5))
    np.testing.assert_allclose(found.half, [[0.2, 0.2]])


def test_what_lies_behind_or_too_far_is_left_out():
    assert len(seen(placed(box_body(), -20, 0), placed(box_body(), 400, 0))) == 0


def test_nothing_at_all_leaves_the_view_free():
    fan = look(seen())
    assert fan.enter.shape == (0, len(fan.ray))
    assert np.isinf(fan.free_m).all()
