# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.health.calibration_radar import (
    RadarSettings,
    echoes_of,
    motion_error,
    radar_verdict,
    range_fault,
)
from imkd_core.health.faults import TURNED, WRONG_SPEEDS

SETTINGS = RadarSettings()


def turned(vector, degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def scans(degrees=0.0, factor=1.0, *, seed=0, speed=10.0, course=0.0, count=30, moving=0.3, lane=0):
    """Scans of a radar that is turned by some degrees and sends so many times the true speeds.

    Of the returns, a share moves at any speed; `lane` more drive as the vehicle does.
    """
    rng = np.random.default_rng(seed)
    found = []
    for step in range(count):
        foretold = turned([speed, 0.0], np.degrees(course) + 0.2 * step)
        azimuth = rng.uniform(-1.0, 1.0, 20 + lane)
        seen = turned(foretold, -degrees)  # in the axes of the radar as it sits
        radial = -(seen[0] * np.cos(azimuth) + seen[1] * np.sin(azimuth))
        moves = rng.random(len(azimuth)) < moving
        radial[moves] += rng.uniform(-15, 15, np.count_nonzero(moves))
        radial[20:] = 0.0
        radial += rng.normal(0, 0.12, len(azimuth))
        found.append(echoes_of(azimuth, factor * radial, foretold, SETTINGS))
    return found


@settings(max_examples=15)
@given(
    degrees=st.floats(-179, 179),
    course=st.floats(-3.1, 3.1),
    speed=st.floats(4, 30),
    seed=st.integers(0, 1000),
)
def test_the_error_of_the_yaw_is_found_among_moving_things(degrees, course, speed, seed):
    error = motion_error(scans(degrees, seed=seed, course=course, speed=speed), SETTINGS)
    assert error is not None
    off = (np.degrees(error.yaw_rad) - degrees + 180) % 360 - 180
    assert abs(off) < 0.8
    assert error.scale == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("degrees", "factor", "fault", "words"),
    [
        (0.0, 1.0, "", ""),
        (1.0, 1.0, "", ""),
        (3.0, 1.0, TURNED, "+3."),
        (-5.0, 1.0, TURNED, "-5."),
        (180.0, 1.0, TURNED, "sign"),
        (0.0, -1.0, TURNED, "sign"),
        (0.0, 3.6, WRONG_SPEEDS, "3.6"),
        (0.0, 1000.0, WRONG_SPEEDS, "times"),
        (0.0, 2.0, WRONG_SPEEDS, "still be in them"),
        (0.0, 0.0, WRONG_SPEEDS, "taken out twice"),
    ],
)
def test_the_verdict_names_the_fault_and_what_was_measured(degrees, factor, fault, words):
    verdict = radar_verdict(motion_error(scans(degrees, factor), SETTINGS), SETTINGS)
    assert verdict is not None
    assert verdict.fault == fault
    assert words in verdict.detail


def test_a_queue_that_drives_along_does_not_turn_the_radar():
    error = motion_error(scans(lane=14), SETTINGS)
    verdict = radar_verdict(error, SETTINGS)
    assert verdict is None or not verdict.fault
    crowded = motion_error(scans(lane=60), SETTINGS)
    verdict = radar_verdict(crowded, SETTINGS)
    assert verdict is None or not verdict.fault, "more drive along than stand"


def test_what_tells_nothing_is_not_judged():
    azimuth = np.linspace(-1, 1, 20)
    assert echoes_of(azimuth, azimuth, np.array([1.0, 0.0]), SETTINGS) is None, "too slow"
    assert echoes_of(azimuth[:0], azimuth[:0], np.array([9.0, 0.0]), SETTINGS) is None, "empty"
    assert motion_error(scans(count=5), SETTINGS) is None, "too few"
    assert motion_error(scans(moving=1.0), SETTINGS) is None, "all is clutter"
    ahead = [echoes_of(np.zeros(20), np.full(20, -9.0), np.array([9.0, 0.0]), SETTINGS)] * 30
    assert motion_error(ahead, SETTINGS) is None, "one direction"
    assert radar_verdict(None, SETTINGS) is None


def test_ranges_that_are_no_metres_are_told():
    ranges_m = np.random.default_rng(0).gamma(2.0, 15.0, 500)
    assert range_fault(ranges_m, SETTINGS) == ""
    assert range_fault(ranges_m[:10] * 1000, SETTINGS) == "", "too few"
    for factor in (1000.0, 100.0, 0.01, 0.001):
        assert "returns" in range_fault(ranges_m * factor, SETTINGS)
