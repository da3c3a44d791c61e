# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.geometry import rigid_transform
from imkd_core.health.calibration_rig import rig_findings
from imkd_core.health.faults import (
    AGAINST_NAME,
    SAME_PLACE,
    WRONG_AXES,
    WRONG_LENS,
    WRONG_SCALE,
)
from imkd_core.simulation.rig import make_cameras, make_radars
from imkd_core.types import SensorRig

BODY_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def rig(cameras=None, radars=None):
    return SensorRig(
        cameras={**make_cameras((704, 256)), **(cameras or {})},
        radars={**make_radars(), **(radars or {})},
    )


def told(rig):
    return {(finding.sensor, finding.fault) for finding in rig_findings(rig)}


def turned(pose, axis, degrees):
    """A pose turned about an axis of its own frame."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = np.eye(3)
    rotation[i, i], rotation[j, j], rotation[i, j], rotation[j, i] = c, c, -s, s
    return rigid_transform(pose[:3, :3] @ rotation, pose[:3, 3])


def test_a_sound_rig_has_no_findings():
    assert told(rig()) == set()
    assert told(SensorRig(cameras=make_cameras(), radars=make_radars())) == set()
    assert told(SensorRig(cameras={}, radars={})) == set()


@given(
    pitch=st.floats(-20, 20),
    roll=st.floats(-20, 20),
    yaw=st.floats(-12, 12),
    shift=st.tuples(*[st.floats(-0.1, 0.1)] * 3),
)
def test_whatever_mounting_is_possible_is_not_blamed(pitch, roll, yaw, shift):
    cameras = {}
    for name, camera in make_cameras((704, 256)).items():
        pose = turned(turned(turned(camera.ego_from_cam, 1, yaw), 0, pitch), 2, roll)
        pose = rigid_transform(pose[:3, :3], pose[:3, 3] + shift)
        cameras[name] = replace(camera, ego_from_cam=pose)
    assert told(rig(cameras)) == set()


@pytest.mark.parametrize(("factor", "unit"), [(1000, "mm"), (100, "cm"), (39.37, "inches")])
def test_lengths_that_are_no_metres_are_told_of_each_sensor_far_off(factor, unit):
    camera = make_cameras((704, 256))["CAM_FRONT"]
    pose = rigid_transform(camera.ego_from_cam[:3, :3], camera.ego_from_cam[:3, 3] * factor)
    radar = make_radars()["RADAR_FRONT"]
    moved = rigid_transform(radar[:3, :3], radar[:3, 3] * factor)
    changed = rig({"CAM_FRONT": replace(camera, ego_from_cam=pose)}, {"RADAR_FRONT": moved})
    assert told(changed) == {("CAM_FRONT", WRONG_SCALE), ("RADAR_FRONT", WRONG_SCALE)}, unit


def test_all_sensors_in_the_origin_and_one_far_below_are_told():
    tiny = {
        name: rigid_transform(pose[:3, :3], pose[:3, 3] * 1e-3)
        for name, pose in make_radars().items()
    }
    found = told(SensorRig(cameras={}, radars=tiny))
    assert {(name, WRONG_SCALE) for name in tiny} <= found
    radar = make_radars()["RADAR_FRONT"]
    deep = rigid_transform(radar[:3, :3], radar[:3, 3] - (0, 0, 5))
    assert told(rig(radars={"RADAR_FRONT": deep})) == {("RADAR_FRONT", WRONG_SCALE)}


@pytest.mark.parametrize("name", sorted(make_cameras()))
def test_a_camera_frame_that_is_not_the_optical_one_is_told_and_how(name):
    camera = make_cameras((704, 256))[name]
    rotation, place = camera.ego_from_cam[:3, :3], camera.ego_from_cam[:3, 3]
    housing = rotation @ BODY_FROM_OPTICAL.T
    cases = {
        "housing": rigid_transform(housing, place),
        "head": turned(camera.ego_from_cam, 2, 180),
        "side": turned(camera.ego_from_cam, 2, 90),
        "sky": turned(camera.ego_from_cam, 0, 65),
        "ground": turned(camera.ego_from_cam, 0, -85),
    }
    for word, pose in cases.items():
        findings = rig_findings(rig({name: replace(camera, ego_from_cam=pose)}), since_ns=7)
        assert [(f.sensor, f.fault) for f in findings] == [(name, WRONG_AXES)], word
        assert word in findings[0].detail
        assert findings[0].is_certain
        assert findings[0].since_ns == 7
        assert "frame_id" in findings[0].remedy


def test_a_radar_that_cannot_see_the_road_is_told():
    radar = make_radars()["RADAR_FRONT"]
    for axis, degrees in ((1, 90), (1, -60), (0, 90)):
        found = told(rig(radars={"RADAR_FRONT": turned(radar, axis, degrees)}))
        assert found == {("RADAR_FRONT", WRONG_AXES)}
    assert told(rig(radars={"RADAR_FRONT": turned(radar, 0, 180)})) == set(), "upside down is usual"


@pytest.mark.parametrize(
    "matrix",
    [
        [[12660.0, 0, 352], [0, 12660, 128], [0, 0, 1]],
        [[30.0, 0, 352], [0, 30, 128], [0, 0, 1]],
        [[557.0, 0, 352], [0, 250, 128], [0, 0, 1]],
        [[1266.0, 0, 808], [0, 1266, 490], [0, 0, 1]],
        [[245.0, 0, 155], [0, 245, 62], [0, 0, 1]],
    ],
)
def test_a_lens_that_does_not_fit_its_picture_is_told(matrix):
    camera = replace(make_cameras((704, 256))["CAM_BACK"], pixel_from_cam=np.array(matrix))
    assert told(rig({"CAM_BACK": camera})) == {("CAM_BACK", WRONG_LENS)}


def test_a_fisheye_may_see_more_than_half_the_world():
    camera = replace(
        make_cameras((704, 256))["CAM_BACK"],
        pixel_from_cam=np.array([[200.0, 0, 352], [0, 200, 128], [0, 0, 1]]),
        distortion_model="equidistant",
        distortion=(0.0, 0.0, 0.0, 0.0),
    )
    assert told(rig({"CAM_BACK": camera})) == set()


def test_two_sensors_in_one_place_are_told_of_both():
    cameras, radars = make_cameras((704, 256)), make_radars()
    twin = replace(cameras["CAM_FRONT_LEFT"], ego_from_cam=cameras["CAM_FRONT"].ego_from_cam)
    found = told(rig({"CAM_FRONT_LEFT": twin}, {"RADAR_BACK_LEFT": radars["RADAR_BACK_RIGHT"]}))
    names = {"CAM_FRONT", "CAM_FRONT_LEFT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT"}
    assert {name for name, fault in found if fault == SAME_PLACE} == names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CAM_FRONT", "CAM_BACK"),
        ("CAM_FRONT_LEFT", "CAM_FRONT_RIGHT"),
        ("CAM_BACK_LEFT", "CAM_BACK_RIGHT"),
        ("RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT"),
        ("RADAR_BACK_LEFT", "RADAR_BACK_RIGHT"),
    ],
)
def test_transforms_swapped_between_sides_stand_against_the_names(one, other):
    cameras, radars = make_cameras((704, 256)), make_radars()
    if one in cameras:
        changed = rig({one: cameras[other], other: cameras[one]})
    else:
        changed = rig(radars={one: radars[other], other: radars[one]})
    assert told(changed) == {(one, AGAINST_NAME), (other, AGAINST_NAME)}


def test_names_without_a_side_are_free():
    cameras, radars = make_cameras((704, 256)), make_radars()
    names = {f"unit_{i}": camera for i, camera in enumerate(cameras.values())}
    assert told(SensorRig(cameras=names, radars={"r1": radars["RADAR_FRONT"]})) == set()
