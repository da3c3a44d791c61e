# SPDX-License-Identifier: Apache-2.0
"""Walls and poles tell how a camera is rolled, where driving straight on cannot."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.geometry import invert_transform, project_points, rigid_transform, transform_points
from imkd_core.health.calibration_camera import camera_verdict, pair_of
from imkd_core.health.calibration_tracks import TrackSettings
from imkd_core.health.calibration_turn import CameraSettings, Pair, turn_of
from imkd_core.health.calibration_upright import (
    UprightSettings,
    is_level,
    roll_of,
    upright_edges,
    upright_verdict,
)
from imkd_core.health.faults import TURNED
from imkd_core.simulation.rig import make_cameras
from tests.core.health.turned_camera import about, turned

SETTINGS = UprightSettings()
CAMERAS = make_cameras((352, 128))


def picture(camera, ends, seed):
    """A grey picture of straight lines, given by both ends: (N, 2, 3) metres in the ego frame."""
    rng = np.random.default_rng(seed)
    view = np.full((camera.height_px, camera.width_px), 90, np.uint8)
    cam_from_ego = invert_transform(camera.ego_from_cam)
    for line in ends:
        pixels, depth_m = project_points(
            camera.pixel_from_cam, transform_points(cam_from_ego, line)
        )
        if (depth_m > 2).all() and np.abs(pixels).max() < 2000:
            one, other = np.round(16 * (pixels + 0.5)).astype(int)
            cv2.line(view, one, other, int(rng.integers(150, 255)), 3, cv2.LINE_AA, shift=4)
    return view


def poles(seed, top_m=9.0, lean_deg=0.0):
    rng = np.random.default_rng(seed)
    feet = np.column_stack([rng.uniform(-40, 40, (150, 2)), np.zeros(150)])
    return np.stack([feet, feet + about(0, lean_deg) @ [0, 0, top_m]], axis=1)


def edges(camera, count=6, lines=poles):
    found = [upright_edges(picture(camera, lines(seed), seed), SETTINGS) for seed in range(count)]
    return np.concatenate(found)


@settings(max_examples=10, deadline=None)
@given(name=st.sampled_from(sorted(CAMERAS)), degrees=st.floats(-6, 6))
def test_how_far_a_camera_is_rolled_is_found_wherever_it_looks(name, degrees):
    found = edges(turned(CAMERAS[name], 0, degrees))
    roll_rad = roll_of(CAMERAS[name], found, SETTINGS)
    assert roll_rad is not None
    assert np.degrees(roll_rad) == pytest.approx(degrees, abs=0.4)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_camera_that_is_turned_to_the_side_is_not_rolled_by_that(name):
    found = edges(turned(CAMERAS[name], 2, 5.0))
    assert upright_verdict(CAMERAS[name], found, SETTINGS).fault == ""


def test_the_verdict_says_the_angle_and_small_ones_are_not_told():
    camera = CAMERAS["CAM_FRONT"]
    verdict = upright_verdict(camera, edges(turned(camera, 0, -3.0)), SETTINGS)
    assert verdict.fault == TURNED
    assert not verdict.is_certain
    assert "rolled by -3." in verdict.detail or "rolled by -2.9" in verdict.detail
    assert upright_verdict(camera, edges(turned(camera, 0, 1.0)), SETTINGS).fault == ""


def leaning(slope_deg, side_deg):
    """Poles as a vehicle sees them that leans."""
    return lambda seed: poles(seed) @ (about(0, side_deg) @ about(1, slope_deg)).T


def others_of(name, lines):
    return [
        (camera, edges(camera, lines=lines)) for other, camera in CAMERAS.items() if other != name
    ]


@pytest.mark.parametrize(("slope_deg", "side_deg"), [(0, 0), (2, 0), (-4, 1.5), (6, -2), (0, 2.5)])
@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_vehicle_that_leans_rolls_no_camera_and_hides_none_that_is(name, slope_deg, side_deg):
    lines = leaning(slope_deg, side_deg)
    camera, others = CAMERAS[name], others_of(name, lines)
    sound = upright_verdict(camera, edges(camera, lines=lines), SETTINGS, others)
    assert sound.fault == ""
    for degrees in (2.5, -2.5):
        seen = edges(turned(camera, 0, degrees), lines=lines)
        verdict = upright_verdict(camera, seen, SETTINGS, others)
        assert verdict.fault == TURNED
        told = float(verdict.detail.partition("rolled by ")[2].split()[0])
        assert told == pytest.approx(degrees, abs=1.0)


@pytest.mark.parametrize("slope_deg", [2.0, -4.0, 6.0])
@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_alone_a_camera_is_not_blamed_for_a_slope(name, slope_deg):
    camera, lines = CAMERAS[name], leaning(slope_deg, 0)
    assert upright_verdict(camera, edges(camera, lines=lines), SETTINGS).fault == ""
    if name == "CAM_FRONT":
        rolled = edges(turned(camera, 0, 4.0), lines=lines)
        assert upright_verdict(camera, rolled, SETTINGS).fault == TURNED


def test_one_camera_that_is_rolled_makes_no_fault_of_the_others():
    lines = leaning(3.0, 0.5)
    rolled = (CAMERAS["CAM_BACK"], edges(turned(CAMERAS["CAM_BACK"], 0, 6.0), lines=lines))
    for name in ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_BACK_RIGHT"):
        rest = [(c, e) for c, e in others_of(name, lines) if c is not CAMERAS["CAM_BACK"]]
        own = edges(CAMERAS[name], lines=lines)
        assert upright_verdict(CAMERAS[name], own, SETTINGS, [*rest, rolled]).fault == "", name


def lanes(seed):
    """Markings along the road, and across: all on the ground."""
    offsets = np.random.default_rng(seed).uniform(-20, 20, 40)
    return np.array([[[4.0, y, 0.0], [60.0, y, 0.0]] for y in offsets])


def spray(seed):
    """Lines into all directions, overhead."""
    rng = np.random.default_rng(seed)
    one = rng.uniform((-30, -30, 2), (30, 30, 15), (400, 3))
    return np.stack([one, one + rng.normal(0, 3, (400, 3))], axis=1)


def test_markings_on_the_ground_tell_nothing():
    camera = CAMERAS["CAM_FRONT"]
    found = edges(turned(camera, 0, 4.0), lines=lanes)
    assert len(found) > 100
    assert roll_of(camera, found, SETTINGS) is None


def test_what_points_everywhere_makes_no_fault():
    for name, camera in CAMERAS.items():
        found = edges(camera, count=24, lines=spray)
        assert upright_verdict(camera, found, SETTINGS).fault == "", name


def test_without_edges_nothing_is_known():
    camera = CAMERAS["CAM_FRONT"]
    assert upright_edges(np.zeros((5, 5), np.uint8), SETTINGS).shape == (0, 4)
    assert upright_edges(np.full((128, 352), 90, np.uint8), SETTINGS).shape == (0, 4)
    assert roll_of(camera, np.zeros((0, 4)), SETTINGS) is None
    assert roll_of(camera, edges(camera, count=1)[:200], SETTINGS) is None


def test_a_large_picture_gives_the_same_edges_as_a_small_one_and_no_more_than_asked_for():
    camera = CAMERAS["CAM_FRONT"]
    small = picture(camera, poles(0), 0)
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    np.testing.assert_allclose(upright_edges(large, SETTINGS), upright_edges(small, SETTINGS))
    assert len(upright_edges(small, replace(SETTINGS, edges=17))) == 17


def test_pictures_of_curves_are_not_asked():
    straight = rigid_transform(about(2, 0.2), (-1, 0, 0))
    around = rigid_transform(about(2, 4.0), (-1, 0, 0))
    assert is_level(straight, 0.1, SETTINGS)
    assert not is_level(around, 0.1, SETTINGS)
    assert is_level(around, 2.0, SETTINGS), "slowly around a corner nothing leans"
    assert not is_level(straight, 0.0, SETTINGS)


def test_a_pair_of_pictures_has_edges_where_the_vehicle_drives_straight_on():
    camera, tracks, limits = CAMERAS["CAM_FRONT"], TrackSettings(), CameraSettings(turned_pairs=30)
    view = picture(camera, poles(1), 1)
    straight = rigid_transform(np.eye(3), (-0.8, 0, 0))
    pair = pair_of(view, view, straight, 0.1, tracks, limits)
    assert pair is not None
    assert len(pair.before) == len(pair.now) > 5
    np.testing.assert_array_equal(pair.edges, upright_edges(view, SETTINGS))
    around = rigid_transform(about(2, 6.0), (-0.8, 0, 0))
    assert len(pair_of(view, view, around, 0.1, tracks, limits).edges) == 0
    assert pair_of(view, view, np.eye(4), 0.1, tracks, limits) is None, "it stands"
    flat = np.full_like(view, 90)
    assert pair_of(flat, flat, straight, 0.1, tracks, limits) is None


def driven(camera, count=32):
    """Pairs of a camera that drives straight on past poles, along dots that tell of its motion."""
    rng = np.random.default_rng(3)
    motion = rigid_transform(np.eye(3), (-0.8, 0, 0))
    for seed in range(count):
        dots = rng.uniform((-40, -40, 0), (40, 40, 8), (900, 3))
        places = []
        for seen in (dots, dots + motion[:3, 3]):
            pixels, depth_m = project_points(
                camera.pixel_from_cam,
                transform_points(invert_transform(camera.ego_from_cam), seen),
            )
            place = (pixels + rng.normal(0, 0.1, pixels.shape) + 0.5) / (352, 128)
            places.append(np.where(depth_m[:, None] > 3, place, np.nan))
        is_seen = (np.abs(np.hstack(places) - 0.5) < 0.5).all(axis=1)
        yield Pair(
            before=places[0][is_seen],
            now=places[1][is_seen],
            now_from_before=motion,
            edges=upright_edges(picture(camera, poles(seed), seed), SETTINGS)
            if seed < 8
            else np.zeros((0, 4)),
        )


def test_straight_on_a_rolled_camera_is_told_by_what_is_upright_and_by_nothing_else():
    camera, limits = CAMERAS["CAM_FRONT"], CameraSettings(turned_pairs=30)
    pairs = tuple(driven(turned(camera, 0, 3.0)))
    turn = turn_of(camera, pairs, limits)
    assert turn is not None
    assert not turn.knows(np.eye(3)[0])
    verdict = camera_verdict("CAM_FRONT", CAMERAS, {"CAM_FRONT": pairs}, limits)
    assert verdict is not None
    assert "is upright leans" in verdict.detail
    blind = tuple(replace(pair, edges=np.zeros((0, 4))) for pair in pairs)
    assert camera_verdict("CAM_FRONT", CAMERAS, {"CAM_FRONT": blind}, limits).fault == ""
    sound = camera_verdict("CAM_FRONT", CAMERAS, {"CAM_FRONT": tuple(driven(camera))}, limits)
    assert sound.fault == ""
