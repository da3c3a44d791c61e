# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.health.doppler import DopplerSettings, motion_error, own_velocity, verdict

SETTINGS = DopplerSettings()


def measured(rng, velocity, count=60, moving=0.3, noise_mps=0.1):
    """Azimuths and radial speeds of standing things, and of some that move."""
    azimuth = rng.uniform(-1.0, 1.0, count)
    speed = -(velocity[0] * np.cos(azimuth) + velocity[1] * np.sin(azimuth))
    speed += rng.normal(0, noise_mps, count)
    others = rng.random(count) < moving
    speed[others] += rng.uniform(-15, 15, np.count_nonzero(others))
    return azimuth, speed


def turned(vector, angle_rad):
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


@given(
    speed_mps=st.floats(4, 30),
    course_rad=st.floats(-3.1, 3.1),
    seed=st.integers(0, 1000),
)
def test_the_motion_is_found_among_moving_things_wherever_the_radar_looks(
    speed_mps, course_rad, seed
):
    true = speed_mps * np.array([np.cos(course_rad), np.sin(course_rad)])
    found = own_velocity(*measured(np.random.default_rng(seed), true), SETTINGS)
    assert found is not None
    np.testing.assert_allclose(found, true, atol=0.35)


@pytest.mark.parametrize("degrees", [-90.0, -5.0, 0.0, 3.0, 90.0, 179.0])
def test_a_radar_that_is_turned_further_than_calibrated_shows_by_how_much(degrees):
    rng = np.random.default_rng(3)
    over_ground = np.array([12.0, 1.0])
    seen = turned(over_ground, -np.radians(degrees))  # in the axes of the radar as it sits
    error = motion_error(*measured(rng, seen), over_ground, SETTINGS)
    assert np.degrees(error.yaw_rad) == pytest.approx(degrees, abs=1.0)
    assert error.scale == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("degrees", "scale", "words"),
    [
        (0.0, 1.0, []),
        (1.0, 1.0, []),
        (4.0, 1.0, ["yaw is off by 4."]),
        (180.0, 1.0, ["180 degrees"]),
        (0.0, 3.6, ["velocity_scale"]),
    ],
)
def test_many_scans_give_a_verdict_that_says_what_to_do(degrees, scale, words):
    rng = np.random.default_rng(5)
    over_ground = np.array([9.0, -0.5])
    seen = scale * turned(over_ground, -np.radians(degrees))
    errors = [motion_error(*measured(rng, seen), over_ground, SETTINGS) for _ in range(20)]
    texts = verdict(errors, SETTINGS)
    assert len(texts) == len(words)
    assert all(word in text for word, text in zip(words, texts, strict=True))


def test_what_tells_nothing_gives_nothing():
    rng = np.random.default_rng(7)
    azimuth, speed = measured(rng, np.array([8.0, 0.0]))
    assert motion_error(azimuth, speed, np.array([1.0, 0.0]), SETTINGS) is None, "too slow"
    assert motion_error(azimuth[:3], speed[:3], np.array([8.0, 0.0]), SETTINGS) is None
    assert own_velocity(np.zeros(0), np.zeros(0), SETTINGS) is None
    assert own_velocity(np.full(20, 0.3), np.full(20, -5.0), SETTINGS) is None, "one direction"
    assert own_velocity(azimuth, rng.uniform(-30, 30, 60), SETTINGS) is None, "all is clutter"
    one = motion_error(azimuth, speed, np.array([8.0, 0.0]), SETTINGS)
    assert verdict([one] * 5, SETTINGS) == ()
