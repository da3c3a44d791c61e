# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest

from imkd_core.geometry import project_points
from imkd_core.health.calibration_tracks import TrackSettings, follow, rays, small_grey
from imkd_core.simulation.rig import make_cameras

SETTINGS = TrackSettings()


def noise_picture(seed=0, size=(360, 160)):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[1] // 8, size[0] // 8), dtype=np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def test_points_are_followed_to_where_the_picture_moved():
    whole = noise_picture()
    before, now = whole[8:148, 12:332], whole[5:145, 3:323]  # moved by 9 and 3 px
    first, second = follow(before, now, SETTINGS)
    assert len(first) > 20
    moved_px = np.median((second - first) * (320, 140), axis=0)
    np.testing.assert_allclose(moved_px, (9, 3), atol=0.05)
    assert (first >= 0).all()
    assert (first <= 1).all()


def test_pictures_without_anything_to_follow_give_no_points():
    flat = np.full((100, 200), 90, np.uint8)
    for before, now in (
        (flat, flat),
        (noise_picture(), noise_picture()[:100]),
        (flat[:10, :10], flat[:10, :10]),
    ):
        first, second = follow(before, now, SETTINGS)
        assert first.shape == second.shape == (0, 2)


def test_other_pictures_are_not_taken_for_moved_ones():
    first, _ = follow(noise_picture(0), noise_picture(1), SETTINGS)
    assert len(first) < 12


def test_a_wide_picture_is_made_small_and_grey_and_a_small_one_stays():
    assert small_grey(np.zeros((900, 1600, 3), np.uint8), SETTINGS).shape == (396, 704)
    assert small_grey(np.zeros((99, 352, 3), np.uint8), SETTINGS).shape == (99, 352)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("none", ()),
        ("plumb_bob", (-0.2, 0.05, 0.001, -0.001, 0.0)),
        ("rational_polynomial", (0.3, 0.05, 0.0, 0.0, 0.01, 0.6, 0.1, 0.02)),
        ("equidistant", (-0.02, 0.003, 0.0, 0.0)),
    ],
)
def test_rays_lead_back_to_what_was_projected(model, coefficients):
    camera = replace(
        make_cameras((704, 256))["CAM_FRONT"], distortion_model=model, distortion=coefficients
    )
    points = np.random.default_rng(1).uniform((-4, -1, 8), (4, 1, 20), (50, 3))
    if model == "none":
        pixels = project_points(camera.pixel_from_cam, points)[0]
    else:
        project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
        lens = (np.zeros(3), np.zeros(3), camera.pixel_from_cam, np.array(coefficients))
        pixels = project(points.reshape(-1, 1, 3), *lens)[0].reshape(-1, 2)
    places = (pixels + 0.5) / (704, 256)
    expected = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(rays(camera, places), expected, atol=2e-4)
    assert rays(camera, np.zeros((0, 2))).shape == (0, 3)
