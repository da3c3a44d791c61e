# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.geometry import (
    invert_transform,
    project_points,
    rigid_transform,
    transform_points,
)
from imkd_core.health.calibration_camera import camera_verdict, is_usable
from imkd_core.health.calibration_turn import CameraSettings, Pair, turn_of
from imkd_core.health.faults import SWAPPED, TURNED
from imkd_core.simulation.rig import make_cameras
from tests.core.health.turned_camera import about, turned

SETTINGS = CameraSettings(turned_pairs=30)
CAMERAS = make_cameras((704, 256))


def drive(camera, *, seed=0, step_m=0.8, yaw_deg=0.0, count=32, moving=0.1, noise_px=0.15):
    """Pairs of a camera that drives through a cloud of points, some of which move."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        before_from_now = rigid_transform(about(2, yaw_deg), (step_m, 0, 0))
        points = rng.uniform((-40, -40, 0), (40, 40, 8), (900, 3))
        moves = rng.random(len(points)) < moving
        later = points + moves[:, None] * rng.uniform(-1, 1, (len(points), 3)) * (1, 1, 0)
        later = transform_points(invert_transform(before_from_now), later)
        cam_from_ego = invert_transform(camera.ego_from_cam)
        size = (camera.width_px, camera.height_px)
        places, keep = [], np.ones(len(points), dtype=bool)
        for seen in (points, later):
            pixels, depth_m = project_points(
                camera.pixel_from_cam, transform_points(cam_from_ego, seen)
            )
            pixels = pixels + rng.normal(0, noise_px, pixels.shape)
            place = (pixels + 0.5) / size
            keep &= (depth_m > 3) & (np.abs(np.nan_to_num(place, nan=9.0) - 0.5) < 0.5).all(axis=1)
            places.append(place)
        chosen = np.flatnonzero(keep)[:70]
        pairs.append(
            Pair(
                before=places[0][chosen],
                now=places[1][chosen],
                now_from_before=invert_transform(before_from_now),
            )
        )
    return pairs


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(sorted(CAMERAS)),
    degrees=st.floats(-6, 6),
    axis=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_how_far_a_camera_is_turned_is_found_across_the_direction_of_travel(
    name, degrees, axis, seed
):
    pairs = drive(turned(CAMERAS[name], axis, degrees), seed=seed)
    turn = turn_of(CAMERAS[name], pairs, SETTINGS)
    expected = np.degrees(cv2.Rodrigues(about(axis, degrees))[0].ravel())
    assert turn is not None
    across = np.eye(3)[axis]
    if np.linalg.norm(turn.known @ across) > 0.95:
        assert np.degrees(turn.rotation_rad)[axis] == pytest.approx(expected[axis], abs=0.5)


def test_about_the_direction_of_travel_nothing_is_known_before_the_vehicle_turns():
    camera = CAMERAS["CAM_FRONT"]
    straight = turn_of(camera, drive(turned(camera, 0, 4.0)), SETTINGS)
    assert straight is not None
    assert np.abs(straight.known[:, 0]).max() < 0.2
    assert np.degrees(np.linalg.norm(straight.rotation_rad)) < 0.5
    around = turn_of(camera, drive(turned(camera, 0, 4.0), yaw_deg=4.0), SETTINGS)
    assert around is not None
    assert len(around.known) == 3
    np.testing.assert_allclose(np.degrees(around.rotation_rad), (4, 0, 0), atol=0.5)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_sound_camera_is_not_blamed_and_a_loose_one_is_with_its_angle(name):
    sound = camera_verdict(name, CAMERAS, {name: drive(CAMERAS[name])}, SETTINGS)
    assert sound is not None
    assert sound.fault == ""
    loose = camera_verdict(name, CAMERAS, {name: drive(turned(CAMERAS[name], 1, 3.0))}, SETTINGS)
    assert loose is not None
    assert loose.fault == TURNED
    assert "pitch +" in loose.detail
    assert not loose.is_certain


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_camera_that_is_swapped_with_another_is_told_with_the_others_name(name):
    names = list(CAMERAS)
    for step in (1, 3):
        other = names[(names.index(name) + step) % len(names)]
        verdict = camera_verdict(name, CAMERAS, {name: drive(CAMERAS[other])}, SETTINGS)
        assert verdict is not None
        assert verdict.fault == SWAPPED
        assert verdict.is_certain
        assert f"'{other}'" in verdict.detail


def test_a_camera_that_looks_somewhere_else_altogether_is_certainly_turned():
    alone = {"CAM_FRONT": CAMERAS["CAM_FRONT"]}
    pairs = drive(turned(turned(CAMERAS["CAM_FRONT"], 2, 140.0), 0, 30.0))
    verdict = camera_verdict("CAM_FRONT", alone, {"CAM_FRONT": pairs}, SETTINGS)
    assert verdict is not None
    assert verdict.fault == TURNED
    assert verdict.is_certain
    assert verdict.has_to_last, "a lorry beside fills the picture for a while"


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_lorry_that_moves_as_another_camera_would_see_it_makes_no_swap(name):
    other = list(CAMERAS)[(list(CAMERAS).index(name) + 2) % len(CAMERAS)]
    seen = {name: drive(CAMERAS[other]), other: drive(CAMERAS[other], seed=5)}
    verdict = camera_verdict(name, CAMERAS, seen, SETTINGS)
    assert verdict is None or verdict.fault != SWAPPED, "the other camera is itself"
    both = {name: drive(CAMERAS[other]), other: drive(CAMERAS[name])}
    assert camera_verdict(name, CAMERAS, both, SETTINGS).fault == SWAPPED


def test_a_rotation_that_fits_no_better_is_not_believed():
    pairs = {"CAM_FRONT": drive(turned(CAMERAS["CAM_FRONT"], 1, 3.0))}
    assert turn_of(CAMERAS["CAM_FRONT"], pairs["CAM_FRONT"], SETTINGS).gain > 0.1
    assert camera_verdict("CAM_FRONT", CAMERAS, pairs, replace(SETTINGS, gain=9.0)) is None


def overtaken(camera, *, share, seed=0, count=40, own_m=0.8, others_m=1.8):
    """Pairs of a camera beside a queue that overtakes, of which so many of its points are."""
    rng = np.random.default_rng(seed)
    now_from_before = rigid_transform(np.eye(3), (-own_m, 0, 0))
    cam_from_ego = invert_transform(camera.ego_from_cam)
    pairs = []
    for _ in range(count):
        stands = rng.uniform((-40, -30, 0.2), (40, 30, 6), (3000, 3))
        stands = stands[np.abs(stands[:, 1]) > 5]
        queue = rng.uniform((-30, 2.2, 0.3), (30, 4.5, 3), (3000, 3))
        queue[::2, 1] *= -1
        found = []
        for points, moved_m, wanted in (
            (stands, 0.0, round(60 * (1 - share))),
            (queue, others_m, round(60 * share)),
        ):
            later = transform_points(now_from_before, points + np.array([moved_m, 0, 0]))
            places, keep = [], np.ones(len(points), dtype=bool)
            for seen in (points, later):
                pixels, depth_m = project_points(
                    camera.pixel_from_cam, transform_points(cam_from_ego, seen)
                )
                pixels = pixels + rng.normal(0, 0.15, pixels.shape)
                place = (pixels + 0.5) / (camera.width_px, camera.height_px)
                keep &= (depth_m > 1) & (np.abs(np.nan_to_num(place, nan=9.0) - 0.5) < 0.5).all(1)
                places.append(place)
            found.append([place[keep][:wanted] for place in places])
        before, now = (np.concatenate(both) for both in zip(*found, strict=True))
        pairs.append(Pair(before=before, now=now, now_from_before=now_from_before))
    return pairs


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8])
@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_queue_that_overtakes_makes_no_fault_of_a_sound_camera(name, share):
    pairs = overtaken(CAMERAS[name], share=share)
    assert turn_of(CAMERAS[name], pairs, SETTINGS).share < 0.6, "most of them go the other way"
    verdict = camera_verdict(name, CAMERAS, {name: pairs}, SETTINGS)
    assert verdict is None or verdict.fault == ""


def test_what_hardly_moves_is_not_judged():
    camera = CAMERAS["CAM_FRONT"]
    assert turn_of(camera, [], SETTINGS) is None
    assert turn_of(camera, drive(camera, count=5), SETTINGS) is None
    assert turn_of(camera, drive(camera, step_m=1e-3, moving=0.0), SETTINGS) is None
    assert not is_usable(np.eye(4), SETTINGS)
    assert not is_usable(rigid_transform(np.eye(3), (9, 0, 0)), SETTINGS)
    assert is_usable(rigid_transform(np.eye(3), (0.7, 0, 0)), SETTINGS)
