# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.camera import camera_effects as effects
from imkd_core.simulation.camera import weather_effects as weather
from tests.core.simulation.camera.small_scenes import CAMERA, CONDITIONS_OF

HEIGHT, WIDTH = 96, 160


def gray(level=0.3):
    return np.full((HEIGHT, WIDTH, 3), level, dtype=np.float32)


def test_contrast_falls_to_five_percent_at_the_visibility():
    depth_m = np.array([[10.0, 80.0, 1e9]])
    inverse = (1 / depth_m).astype(np.float32)
    left = effects.transmission(inverse, np.ones((1, 3), np.float32), 80.0)
    assert left[0, 1] == pytest.approx(np.exp(-3), rel=1e-5)
    assert left[0, 0] > left[0, 1]
    assert left[0, 2] == 1


def test_fog_turns_what_is_far_into_airlight():
    image, inverse = gray(0.0), np.full((HEIGHT, WIDTH), 1 / 500, dtype=np.float32)
    length = effects.ray_length(WIDTH, HEIGHT, CAMERA.pixel_from_cam)
    effects.add_fog(image, inverse, length, CONDITIONS_OF["fog"], np.array([0.5, 0.4, 0.3]))
    np.testing.assert_allclose(image[40, 80], [0.5, 0.4, 0.3], atol=1e-4)


def test_rays_are_longer_than_their_depth_off_the_axis():
    length = effects.ray_length(WIDTH, HEIGHT, np.diag([100.0, 100.0, 1.0]))
    assert length[0, 0] == 1
    assert length[0, 100] == pytest.approx(np.sqrt(2), rel=1e-6)


def test_exposure_lifts_dark_scenes_within_limits():
    day, night = CONDITIONS_OF["clear"], CONDITIONS_OF["night"]
    assert effects.exposure_gain(gray(0.02), day) > effects.exposure_gain(gray(0.3), day)
    assert effects.exposure_gain(gray(1e-6), night) == 14.0
    assert effects.exposure_gain(gray(100.0), day) == pytest.approx(0.35)


def test_a_brighter_world_gives_a_brighter_picture_and_white_is_the_end():
    levels = [effects.expose(gray(x), 1.0, np.random.default_rng(0)).mean() for x in (0.05, 0.3, 9)]
    assert levels[0] < levels[1] < levels[2] <= 255
    assert levels[2] > 250


def test_noise_grows_with_the_gain():
    quiet, loud = (
        effects.expose(gray(0.2 / gain), gain, np.random.default_rng(0)).std() for gain in (1, 10)
    )
    assert 0.3 < quiet < loud < 20


def test_bloom_spreads_only_what_is_brighter_than_white():
    plain, lamp = gray(), gray()
    lamp[40:48, 80:88] = 5.0
    effects.add_bloom(plain, 1.0)
    assert plain.max() == pytest.approx(0.3)
    effects.add_bloom(lamp, 1.0)
    assert lamp[36, 76, 0] > 0.32


def test_the_shutter_is_open_longer_in_the_dark():
    assert effects.shutter_s(CONDITIONS_OF["night"]) > effects.shutter_s(CONDITIONS_OF["clear"])


def test_the_corners_are_darker_than_the_middle():
    image = gray()
    effects.add_vignette(image)
    assert image[0, 0, 0] < image[HEIGHT // 2, WIDTH // 2, 0]


def test_more_rain_leaves_more_streaks_and_drops():
    changed = []
    for rate in (2.0, 20.0):
        image = gray(0.1)
        weather.add_streaks(image, rate, np.full(3, 0.6), 400.0, np.random.default_rng(1))
        changed.append((image > 0.101).any(axis=2).mean())
    assert 0 < changed[0] < changed[1] < 0.5
    ramp = gray() * np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :, None]
    wet = ramp.copy()
    weather.add_lens_drops(wet, 20.0, np.random.default_rng(1))
    assert 0 < (np.abs(wet - ramp) > 0.01).any(axis=2).mean() < 0.5


def test_the_veil_is_strongest_around_the_sun_and_gone_when_it_is_hidden():
    image = gray(0.0)
    weather.add_sun_veil(image, (40.0, 30.0), np.ones(3), 1.0)
    assert image[30, 40, 0] > image[30, 150, 0] > 0
    hidden = gray(0.0)
    weather.add_sun_veil(hidden, (40.0, 30.0), np.ones(3), 0.0)
    assert hidden.max() == 0


def test_sideways_motion_smears_upright_edges_and_rest_none():
    edge = gray(0.0)
    edge[:, 80:] = 1.0
    still, moving = edge.copy(), edge.copy()
    weather.blur_by_motion(still, np.zeros(3), 1000.0, 0.01)
    weather.blur_by_motion(moving, np.array([10.0, 0, 0]), 1000.0, 0.01)
    assert np.array_equal(still, edge)
    assert 0 < moving[40, 79, 0] < 1


def test_forward_motion_smears_towards_the_rim():
    rng = np.random.default_rng(0)
    picture = rng.random((HEIGHT, 1600, 3)).astype(np.float32)
    moving = picture.copy()
    weather.blur_by_motion(moving, np.array([0, 0, 15.0]), 1000.0, 0.01)
    assert (
        np.abs(moving - picture)[:, :100].mean()
        > 5 * np.abs(moving - picture)[47:50, 798:802].mean()
    )
