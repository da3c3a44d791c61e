# SPDX-License-Identifier: Apache-2.0
"""The table of a moving rig: cheaper than a full rebuild, and equal to it bit by bit."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.geometry import rigid_transform
from imkd_core.runtime.view_cache import (
    PARTS_KEPT,
    POSE_TOLERANCE_M,
    POSE_TOLERANCE_RAD,
    ViewCache,
    holds,
)
from imkd_core.types import CameraModel
from imkd_core.view_lut import build_view_geometry
from tests.core.rigs import rig_of, rotation, spec_of

SPEC = spec_of()
RIG = tuple(rig_of(cameras=3).cameras.values())
ALL = (True, True, True)

#: Own motion of a camera since its exposure, in tolerances; some steps stay within, some do not.
STEPS = st.sampled_from([0.0, 0.5, -0.9, 1.5, 40.0])


def moved(camera, tolerances, turns=0.0):
    turn = rotation(turns * POSE_TOLERANCE_RAD, 0, 0)
    return rigid_transform(turn, (tolerances * POSE_TOLERANCE_M, 0, 0)) @ camera.ego_from_cam


def assert_same_bits(found, expected):
    for item in fields(found):
        one, two = getattr(found, item.name), getattr(expected, item.name)
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape) == (two.dtype, two.shape), item.name
            assert one.tobytes() == two.tobytes(), item.name


@given(st.lists(st.lists(st.tuples(STEPS, st.booleans()), min_size=3, max_size=3), max_size=4))
@settings(max_examples=12, deadline=None)
def test_any_drive_gives_the_bits_of_a_full_rebuild(drive):
    cache = ViewCache(SPEC)
    for frame in drive:
        cameras = [
            (camera, moved(camera, step)) for camera, (step, _) in zip(RIG, frame, strict=True)
        ]
        is_live = [live for _, live in frame]
        found = cache.geometry(cameras, is_live)
        assert_same_bits(found, build_view_geometry(found.cameras, SPEC))
        for (_, used), (_, wanted), live in zip(found.cameras, cameras, is_live, strict=True):
            assert not live or holds(used, wanted)


def test_only_the_cameras_that_moved_are_built_again():
    cache = ViewCache(SPEC)
    cache.geometry([(camera, moved(camera, 0)) for camera in RIG], ALL)
    assert (cache.tables, cache.parts) == (1, 3)
    steps = (0.0, 30.0, 0.5)
    cameras = [(camera, moved(camera, step)) for camera, step in zip(RIG, steps, strict=True)]
    found = cache.geometry(cameras, ALL)
    assert (cache.tables, cache.parts) == (2, 4)
    assert_same_bits(found, build_view_geometry(found.cameras, SPEC))
    np.testing.assert_array_equal(found.cameras[1][1], cameras[1][1])
    np.testing.assert_array_equal(found.cameras[2][1], RIG[2].ego_from_cam)


def test_at_steady_speed_and_stagger_nothing_is_built_again():
    cache = ViewCache(SPEC)
    for jitter in (0.0, 0.3, -0.4):
        cameras = [(camera, moved(camera, 70.0 * i + jitter)) for i, camera in enumerate(RIG)]
        cache.geometry(cameras, ALL)
    assert (cache.tables, cache.parts) == (1, 3)


def test_poses_that_scatter_come_again_and_need_no_building():
    cache = ViewCache(SPEC)
    for step in (0.0, 3.0, -3.0, 0.5, 2.5, -3.5, 3.5):
        cameras = [(camera, moved(camera, step)) for camera in RIG]
        found = cache.geometry(cameras, ALL)
        assert_same_bits(found, build_view_geometry(found.cameras, SPEC))
    assert cache.parts == 3 * len(RIG)


def test_no_more_parts_are_kept_than_allowed_and_those_used_last_stay():
    cache = ViewCache(SPEC)
    for step in range(PARTS_KEPT + 1):
        cache.geometry([(RIG[0], moved(RIG[0], 3.0 * step))], (True,))
    assert cache.parts == PARTS_KEPT + 1
    cache.geometry([(RIG[0], moved(RIG[0], 3.0))], (True,))
    assert cache.parts == PARTS_KEPT + 1
    cache.geometry([(RIG[0], moved(RIG[0], 0.0))], (True,))
    assert cache.parts == PARTS_KEPT + 2


@pytest.mark.parametrize(("share", "kept"), [(0.9, True), (1.1, False)])
def test_a_pose_holds_up_to_the_tolerance_of_place_and_of_angle(share, kept):
    (camera, *_) = RIG
    assert holds(camera.ego_from_cam, moved(camera, share)) is kept
    centre = rigid_transform(np.eye(3), camera.ego_from_cam[:3, 3])
    turn = rigid_transform(rotation(share * POSE_TOLERANCE_RAD, 0, 0), (0, 0, 0))
    turned = centre @ turn @ np.linalg.inv(centre) @ camera.ego_from_cam
    assert holds(camera.ego_from_cam, turned) is kept


def test_a_calibration_of_its_own_is_taken_exactly_however_near():
    cache = ViewCache(SPEC)
    cache.geometry([(camera, camera.ego_from_cam) for camera in RIG], ALL)
    pose = moved(RIG[0], 0.1)
    nudged = CameraModel(
        width_px=RIG[0].width_px,
        height_px=RIG[0].height_px,
        pixel_from_cam=RIG[0].pixel_from_cam,
        ego_from_cam=pose,
    )
    cameras = [(camera, camera.ego_from_cam) for camera in (nudged, *RIG[1:])]
    found = cache.geometry(cameras, ALL)
    assert (cache.tables, cache.parts) == (2, 4)
    np.testing.assert_array_equal(found.cameras[0][1], pose)
    assert_same_bits(found, build_view_geometry(cameras, SPEC))


def test_another_number_of_cameras_starts_anew():
    cache = ViewCache(SPEC)
    for count in (3, 2, 0, 3):
        cameras = [(camera, camera.ego_from_cam) for camera in RIG[:count]]
        found = cache.geometry(cameras, ALL[:count])
        assert_same_bits(found, build_view_geometry(cameras, SPEC))
        assert len(found.camera_params) == count
