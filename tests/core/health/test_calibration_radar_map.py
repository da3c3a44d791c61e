# SPDX-License-Identifier: Apache-2.0
"""Things that stand stay in their place on a map of many scans, unless the radar is turned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.geometry import rigid_transform
from imkd_core.health.calibration_radar_map import (
    MapSettings,
    StillScan,
    map_verdict,
    map_yaw,
    still_scan,
)
from imkd_core.health.faults import TURNED
from imkd_core.types import RadarCloud

SETTINGS = MapSettings()


def about_z(degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def scans(degrees=0.0, *, mounted_deg=0.0, seed=0, count=75, step_m=0.6, clutter=0.3, things=120):
    """What a radar sees standing that is turned so much further than calibrated."""
    rng = np.random.default_rng(seed)
    stand = rng.uniform((-30, -30), (90, 30), (things, 2))
    found = []
    for number in range(count):
        pose = rigid_transform(about_z(mounted_deg + 0.1 * number), (number * step_m, 0.0, 0.5))
        true = pose[:2, :2] @ about_z(degrees)[:2, :2]
        seen = (stand - pose[:2, 3]) @ true
        seen = seen[(np.hypot(*seen.T) < 40) & (np.abs(np.arctan2(seen[:, 1], seen[:, 0])) < 1)]
        stray = rng.uniform((1, -25), (40, 25), (round(clutter * len(seen)), 2))
        places = np.concatenate([seen + rng.normal(0, 0.2, seen.shape), stray])
        found.append(StillScan(places_m=places, odom_from_radar=pose))
    return found


@settings(max_examples=12, deadline=None)
@given(degrees=st.floats(-6, 6), mounted_deg=st.floats(-180, 180), seed=st.integers(0, 1000))
def test_how_far_a_radar_is_turned_is_found_wherever_it_looks(degrees, mounted_deg, seed):
    yaw_rad = map_yaw(scans(degrees, mounted_deg=mounted_deg, seed=seed), SETTINGS)
    assert yaw_rad is not None
    assert np.degrees(yaw_rad) == pytest.approx(degrees, abs=0.35)


def rad(*degrees):
    return [float(np.radians(one)) for one in degrees]


def test_the_verdict_says_the_angle_and_small_ones_are_not_told():
    verdict = map_verdict(rad(-3.2, -3.8), SETTINGS)
    assert verdict is not None
    assert verdict.fault == TURNED
    assert "off by -3.5 degrees" in verdict.detail
    assert not verdict.is_certain
    sound = map_verdict(rad(-0.4, 1.2), SETTINGS)
    assert sound is not None
    assert sound.fault == ""


def test_one_stretch_of_road_alone_accuses_and_clears_nobody():
    assert map_verdict(rad(-2.2), SETTINGS) is None
    assert map_verdict(rad(0.1), SETTINGS) is None
    cleared = map_verdict(rad(-2.2, -1.1), SETTINGS)
    assert cleared is not None
    assert cleared.fault == ""


def test_what_tells_nothing_is_not_judged():
    assert map_yaw(scans(count=69), SETTINGS) is None, "too few scans"
    assert map_yaw(scans(step_m=0.1), SETTINGS) is None, "it hardly moves"
    assert map_yaw(scans(things=5), SETTINGS) is None, "too few returns"
    assert map_yaw([], SETTINGS) is None
    assert map_verdict([], SETTINGS) is None
    strays = [replace(one, places_m=one.places_m[-6:]) for one in scans(clutter=2.0)]
    assert map_yaw(strays, SETTINGS) is None, "nothing is seen twice"


@pytest.mark.parametrize("jump_m", [900.0, 4e6])
def test_an_odometry_that_begins_anew_makes_no_map(jump_m):
    drive = scans(3.0)
    for at in (5, 74):
        pose = drive[at].odom_from_radar.copy()
        pose[:2, 3] += jump_m
        jumped = [*drive[:at], replace(drive[at], odom_from_radar=pose), *drive[at + 1 :]]
        assert map_yaw(jumped, SETTINGS) is None, "a map of thousands of kilometres"


def test_a_radar_that_is_turned_beyond_what_is_tried_is_not_said_to_be_sound():
    yaw_rad = map_yaw(scans(14.0), SETTINGS)
    assert yaw_rad is None or abs(yaw_rad) > SETTINGS.yaw_rad


def test_of_a_scan_what_stands_and_is_near_counts():
    points = np.zeros((5, 7), np.float32)
    points[:, 0] = (0.5, 10.0, 20.0, 30.0, 60.0)
    points[2, 4], points[3, 5] = 3.0, -0.3
    cloud = RadarCloud(sensor="R", stamp_ns=1, points=points)
    found = still_scan(cloud, np.eye(4), SETTINGS)
    assert found.places_m[:, 0].tolist() == [10.0, 30.0]
    empty = RadarCloud(sensor="R", stamp_ns=1, points=np.zeros((0, 7), np.float32))
    assert still_scan(empty, np.eye(4), SETTINGS).places_m.shape == (0, 2)
    assert map_yaw([still_scan(empty, np.eye(4), SETTINGS)] * 80, SETTINGS) is None


def test_a_map_of_many_returns_is_made_of_some():
    many = scans(3.0, things=900)
    assert sum(len(one.places_m) for one in many) > 2 * SETTINGS.returns
    assert np.degrees(map_yaw(many, SETTINGS)) == pytest.approx(3.0, abs=0.35)
