# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging.atmosphere import (
    air_of,
    clutter_range,
    in_sun,
    sun_direction,
    transmission,
)
from imkd_core.simulation.world.scene import Condition


def fog(visibility_m):
    return air_of(Condition(name="fog", visibility_m=visibility_m))


def test_five_percent_is_left_at_the_visibility_one_way():
    light = transmission(fog(100.0), np.array([50.0], np.float32))  # 100 m both ways
    assert light[0] == pytest.approx(0.05, rel=0.01)


def test_a_ray_without_a_hit_is_dark_not_invalid():
    assert transmission(fog(100.0), np.array([np.inf], np.float32))[0] == 0


def test_clear_air_has_no_clutter():
    clear = air_of(Condition(name="clear"))
    assert np.isinf(clutter_range(clear, 1000, np.random.default_rng(0))).all()


@pytest.mark.parametrize(
    ("thin", "thick"),
    [
        (fog(300.0), fog(60.0)),
        (
            air_of(Condition(name="rain", rain_mmph=3.0)),
            air_of(Condition(name="rain", rain_mmph=30.0)),
        ),
    ],
)
def test_thicker_weather_returns_more_droplets_and_lets_less_through(thin, thick):
    drops = [
        np.isfinite(clutter_range(air, 50_000, np.random.default_rng(0))).sum()
        for air in (thin, thick)
    ]
    assert 0 < drops[0] < drops[1]
    far = np.array([50.0], np.float32)
    assert transmission(thin, far) > transmission(thick, far)


def test_droplets_are_near_and_thin_out():
    range_m = clutter_range(fog(60.0), 100_000, np.random.default_rng(1))
    range_m = range_m[np.isfinite(range_m)]
    assert range_m.min() >= 1.2
    assert range_m.max() <= 30.0
    counts, _ = np.histogram(range_m, bins=[2, 5, 8, 11])
    assert counts[0] > counts[1] > counts[2]


def test_only_a_low_sun_blinds_and_only_towards_it():
    low = Condition(name="low_sun", sun_elevation_rad=0.1, sun_azimuth_rad=0.7)
    to_sun = sun_direction(low)
    rays = np.stack([to_sun, -to_sun, [0, 0, 1]]).astype(np.float32)
    np.testing.assert_array_equal(in_sun(low, rays), [True, False, False])
    assert not in_sun(Condition(name="clear", sun_azimuth_rad=0.7), rays).any()
    assert not in_sun(Condition(name="night", sun_elevation_rad=-0.5), rays).any()
