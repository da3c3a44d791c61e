# SPDX-License-Identifier: Apache-2.0
"""A radar that is calibrated sees things where the pictures show them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.geometry import invert_transform, project_points, rigid_transform, transform_points
from imkd_core.health.calibration_radar_map import StillScan, laid_out
from imkd_core.health.calibration_reprojection import (
    ReprojectionSettings,
    places_of,
    reprojection_verdict,
    reprojection_yaw,
)
from imkd_core.health.calibration_turn import Pair
from imkd_core.health.faults import TURNED
from imkd_core.simulation.rig import make_cameras

SETTINGS = ReprojectionSettings()
CAMERAS = make_cameras((352, 128))


def about_z(degrees):
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)[2])[0]


def pair_of_points(camera, points, now_from_before, noise_px=0.0):
    """What a camera sees of points, given in the ego frame at the second picture."""
    rng = np.random.default_rng(0)
    places = []
    for seen in (transform_points(invert_transform(now_from_before), points), points):
        in_cam = transform_points(invert_transform(camera.ego_from_cam), seen)
        pixels, depth_m = project_points(camera.pixel_from_cam, in_cam)
        place = (pixels + rng.normal(0, noise_px, pixels.shape) + 0.5) / (352, 128)
        places.append(np.where(depth_m[:, None] > 1, place, np.nan))
    is_seen = (np.abs(np.hstack(places) - 0.5) < 0.5).all(axis=1)
    pair = Pair(before=places[0][is_seen], now=places[1][is_seen], now_from_before=now_from_before)
    return pair, points[is_seen]


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_points_that_stand_are_found_where_they_are(name):
    points = np.random.default_rng(1).uniform((-30, -30, 0.5), (30, 30, 2.8), (2000, 3))
    motion = rigid_transform(about_z(2.0), (-2.4, 0.05, 0))
    pair, true = pair_of_points(CAMERAS[name], points, motion)
    found = places_of(CAMERAS[name], pair, SETTINGS)
    now_m = CAMERAS[name].ego_from_cam[:3, 3]
    near, far = true - now_m, true - transform_points(motion, now_m[None])
    apart = np.linalg.norm(np.cross(near, far), axis=1) ** 2
    apart /= (near**2).sum(axis=1) * (far**2).sum(axis=1)
    reach_m = np.linalg.norm(near, axis=1)
    assert len(found) == np.count_nonzero((apart > 2e-6) & (reach_m > 2) & (reach_m < 35)) > 100
    away_m = np.linalg.norm(found[:, None] - true[None], axis=2).min(axis=1)
    assert away_m.max() < 1e-3


def test_what_lies_beyond_the_limits_or_does_not_stand_has_no_place():
    camera, motion = CAMERAS["CAM_FRONT_LEFT"], rigid_transform(np.eye(3), (-1.0, 0, 0))
    rng = np.random.default_rng(2)
    for low, high in (((-90, 40, 0.5), (90, 90, 2.5)), ((-20, -20, 3.5), (20, 20, 8.0))):
        points = rng.uniform(low, high, (6000, 3))
        pair, true = pair_of_points(camera, points, motion)
        assert len(true) > 20
        assert len(places_of(camera, pair, SETTINGS)) == 0
    pair, _ = pair_of_points(camera, rng.uniform((-20, -20, 0.5), (20, 20, 2.5), (2000, 3)), motion)
    whole = len(places_of(camera, pair, SETTINGS))
    risen = replace(pair, now=pair.now + np.array([0.0, 0.1]))
    assert len(places_of(camera, risen, SETTINGS)) < 0.2 * whole
    backwards = replace(pair, before=pair.now, now=pair.before)
    assert len(places_of(camera, backwards, SETTINGS)) == 0
    nothing = replace(pair, before=pair.before[:0], now=pair.now[:0])
    assert places_of(camera, nothing, SETTINGS).shape == (0, 3)


def world(degrees, *, seed=0, count=75, step_m=0.6, things=150, common=0.6):
    """Places in pictures, and scans of a radar that is turned so much further than calibrated.

    A share of the things is seen by both.
    """
    rng = np.random.default_rng(seed)
    stand = rng.uniform((-30, -30), (90, 30), (things, 2))
    shown = stand[rng.random(things) < common]
    places = np.concatenate([shown, rng.uniform((-30, -30), (90, 30), (things, 2))])
    places = np.repeat(places, 3, axis=0) + rng.normal(0, 0.2, (3 * len(places), 2))
    scans = []
    for number in range(count):
        pose = rigid_transform(about_z(0.1 * number), (number * step_m, 0.0, 0.5))
        seen = (stand - pose[:2, 3]) @ pose[:2, :2] @ about_z(degrees)[:2, :2]
        seen = seen[(np.hypot(*seen.T) < 35) & (np.abs(np.arctan2(seen[:, 1], seen[:, 0])) < 1)]
        seen += rng.normal(0, 0.2, seen.shape)
        scans.append(StillScan(places_m=seen, odom_from_radar=pose))
    return places, scans


@settings(max_examples=10, deadline=None)
@given(degrees=st.floats(-6, 6), seed=st.integers(0, 1000))
def test_how_far_a_radar_is_turned_against_the_pictures_is_found(degrees, seed):
    yaw_rad = reprojection_yaw(*world(degrees, seed=seed), SETTINGS)
    assert yaw_rad is not None
    assert np.degrees(yaw_rad) == pytest.approx(degrees, abs=0.7)


def test_the_verdict_says_the_angle_and_small_ones_are_not_told():
    def told(degrees):
        yaws_rad = [reprojection_yaw(*world(degrees, seed=seed), SETTINGS) for seed in (0, 1)]
        return reprojection_verdict(yaws_rad, SETTINGS)

    verdict = told(3.5)
    assert verdict is not None
    assert verdict.fault == TURNED
    assert "against the pictures" in verdict.detail
    assert "+3." in verdict.detail or "+4.0" in verdict.detail
    sound = told(0.8)
    assert sound is not None
    assert sound.fault == ""


def test_what_tells_nothing_is_not_judged():
    places, scans = world(4.0)
    assert reprojection_yaw(places[:100], scans, SETTINGS) is None, "too few points"
    assert reprojection_yaw(places, scans[:50], SETTINGS) is None, "too few scans"
    assert reprojection_yaw(places[:0], scans, SETTINGS) is None
    astray = np.vstack([places, [[9000.0, 0.0]]])
    assert reprojection_yaw(astray, scans, SETTINGS) is None, "a map too large"
    for seed in range(8):
        elsewhere = np.random.default_rng(90 + seed).uniform((-30, -30), (90, 30), (450, 2))
        assert reprojection_yaw(elsewhere, scans, SETTINGS) is None, "nothing in common"
    assert reprojection_verdict([np.radians(4.0)], SETTINGS) is None, "one stretch of road alone"


def test_one_thing_that_is_seen_often_does_not_outweigh_the_others():
    places, scans = world(4.0)
    beside = laid_out(scans[40:41], 0.0)[:8]  # where they would lie, were it not turned
    crowded = np.concatenate([places, np.repeat(beside, 300, axis=0)])
    assert np.degrees(reprojection_yaw(crowded, scans, SETTINGS)) == pytest.approx(4.0, abs=0.7)
