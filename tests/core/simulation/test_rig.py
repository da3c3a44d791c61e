# SPDX-License-Identifier: Apache-2.0
"""The made-up vehicle's sensors look where their names say."""

import numpy as np
import pytest

from imkd_core.errors import ConfigError
from imkd_core.geometry import invert_transform, project_points, transform_points
from imkd_core.simulation.rig import lidar_mount, make_cameras, make_radars

AHEAD_OF = {
    "CAM_FRONT": (30, 0, 1),
    "CAM_BACK": (-30, 0, 1),
    "CAM_FRONT_LEFT": (15, 20, 1),
    "CAM_BACK_RIGHT": (-8, -20, 1),
}


@pytest.mark.parametrize("channel", AHEAD_OF)
def test_a_camera_sees_what_lies_before_it(channel):
    camera = make_cameras()[channel]
    point = transform_points(invert_transform(camera.ego_from_cam), [AHEAD_OF[channel]])
    (pixel,), (depth,) = project_points(camera.pixel_from_cam, point)
    assert depth > 10
    assert 300 < pixel[0] < 1300
    assert 300 < pixel[1] < 600


def test_smaller_images_are_scaled_and_cut_at_the_top():
    full, small = make_cameras()["CAM_FRONT"], make_cameras((704, 256))["CAM_FRONT"]
    point = np.array([[1.0, 0.5, 20.0]])
    (u, v), (a, b) = (
        project_points(camera.pixel_from_cam, point)[0][0] for camera in (full, small)
    )
    assert a == pytest.approx(0.44 * (u + 0.5) - 0.5)
    assert b == pytest.approx(0.44 * (v + 0.5) - 0.5 - 140)


def test_radars_point_to_their_sides():
    radars = make_radars()
    assert radars["RADAR_FRONT"][0, 0] == pytest.approx(1)
    assert radars["RADAR_FRONT_LEFT"][1, 0] == pytest.approx(1)
    assert radars["RADAR_BACK_RIGHT"][0, 0] < -0.99


def test_the_lidars_y_axis_is_the_vehicles_forward():
    np.testing.assert_allclose(lidar_mount()[:3, 1], (1, 0, 0), atol=1e-12)
    assert lidar_mount()[2, 3] == pytest.approx(1.84)


@pytest.mark.parametrize("size", [(704, 400), (40, 20)])
def test_impossible_images_are_refused(size):
    with pytest.raises(ConfigError, match="704x256"):
        make_cameras(size)
