# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from imkd_core.geometry import (
    Float64,
    invert_transform,
    project_points,
    rigid_transform,
    transform_points,
)
from imkd_core.health.calibration import CalibrationMonitor, CalibrationSettings
from imkd_core.health.calibration_radar_map import MapSettings
from imkd_core.health.calibration_reprojection import ReprojectionSettings
from imkd_core.health.calibration_turn import CameraSettings
from imkd_core.health.faults import SWAPPED, TURNED, WRONG_AXES, WRONG_SCALE, WRONG_SPEEDS
from imkd_core.simulation.rig import make_cameras, make_radars
from imkd_core.types import CameraImage, Frame, RadarCloud, SensorRig

STAMP_NS = 1_700_000_000_000_000_000
PERIOD_NS = 80_000_000
SPEED_MPS = 9.0
CAMERAS = {n: c for n, c in make_cameras((320, 128)).items() if n in ("CAM_FRONT", "CAM_BACK_LEFT")}
RADARS = {"RADAR_FRONT": make_radars()["RADAR_FRONT"]}
RIG = SensorRig(cameras=CAMERAS, radars=RADARS)
ALL = CalibrationSettings(
    cameras_at_once=0,
    scans=30,
    camera=CameraSettings(least_pairs=18, turned_pairs=18, least_moving=100),
)


def about_z(degrees):
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)[2])[0]


def turned(pose, degrees):
    return rigid_transform(about_z(degrees) @ pose[:3, :3], pose[:3, 3])


class World:
    """Dots that stand, seen from a vehicle that drives on; the true calibration is `RIG`."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.dots = rng.uniform((-30, -25, 0), (80, 25, 7), (1500, 3))
        self.shades = rng.integers(0, 256, len(self.dots))
        self.sides_m = rng.uniform(0.2, 0.5, len(self.dots))

    def picture(self, camera, odom_from_ego: Float64):
        view = np.full((camera.height_px, camera.width_px), 128, np.uint8)
        cam_from_odom = invert_transform(odom_from_ego @ camera.ego_from_cam)
        pixels, depth_m = project_points(
            camera.pixel_from_cam, transform_points(cam_from_odom, self.dots)
        )
        is_seen = (depth_m > 3) & (np.abs(np.nan_to_num(pixels, nan=1e6) - 160) < 200).all(axis=1)
        for i in sorted(np.flatnonzero(is_seen), key=lambda i: -depth_m[i]):
            half = camera.pixel_from_cam[0, 0] * self.sides_m[i] / depth_m[i] / 2
            corners = np.round(16 * (pixels[i] + [[-half, -half], [half, half]])).astype(int)
            cv2.rectangle(
                view, corners[0], corners[1], int(self.shades[i]), -1, cv2.LINE_AA, shift=4
            )
        return np.repeat(cv2.GaussianBlur(view, (3, 3), 0)[..., None], 3, axis=2)

    def scan(self, name, rng, assumed, factor=1.0):
        """A radar's scan, the own motion taken out by the calibration that is assumed."""
        azimuth = rng.uniform(-1, 1, 25)
        sight = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
        velocity = np.array([SPEED_MPS, 0, 0])
        radial = -sight @ (velocity @ RADARS[name][:3, :3])[:2] * factor
        over_ground = radial + sight @ (velocity @ assumed[:3, :3])[:2]
        points = np.zeros((25, 7), np.float32)
        points[:, :2] = sight * rng.uniform(5, 60, (25, 1))
        points[:, 4:6] = over_ground[:, None] * sight
        return points


def drive(count, *, rig=RIG, cameras=True, factor=1.0, range_scale=1.0, with_motion=True):
    """Frames as a vehicle makes them that believes in a rig."""
    world, rng = World(), np.random.default_rng(1)
    for number in range(count):
        stamp_ns = STAMP_NS + number * PERIOD_NS
        pose = rigid_transform(np.eye(3), (number * PERIOD_NS * 1e-9 * SPEED_MPS, 0, 0))
        images = {
            name: CameraImage(sensor=name, stamp_ns=stamp_ns, pixels=world.picture(camera, pose))
            for name, camera in CAMERAS.items()
            if cameras
        }
        radars = {}
        for name in RADARS:
            points = world.scan(name, rng, rig.radars[name], factor)
            points[:, :3] *= range_scale
            radars[name] = (RadarCloud(sensor=name, stamp_ns=stamp_ns, points=points),)
        yield Frame(
            stamp_ns=stamp_ns,
            cameras=images,
            radars=radars,
            reference_from_ego={stamp_ns: np.eye(4)} if with_motion else {},
            odom_from_ego=pose if with_motion else None,
        )


@pytest.fixture(scope="module")
def long_drive():
    return tuple(drive(40))


@pytest.fixture
def frames(long_drive):
    return long_drive[:28]


def watched(rig, frames, settings=ALL):
    monitor = CalibrationMonitor(rig, settings)
    for frame in frames:
        monitor.add(frame)
    return monitor


def told(monitor):
    return {(finding.sensor, finding.fault) for finding in monitor.findings}


def test_a_sound_calibration_is_judged_and_nothing_is_found(frames):
    monitor = watched(RIG, frames)
    assert monitor.judged == {"CAM_FRONT", "CAM_BACK_LEFT", "RADAR_FRONT"}
    assert monitor.findings == ()


def test_a_camera_that_is_turned_is_told_with_its_angle_and_since_when(frames):
    camera = CAMERAS["CAM_FRONT"]
    loose = replace(camera, ego_from_cam=turned(camera.ego_from_cam, -4.0))
    rig = SensorRig(cameras={**CAMERAS, "CAM_FRONT": loose}, radars=RADARS)
    monitor = watched(rig, frames)
    assert told(monitor) == {("CAM_FRONT", TURNED)}
    assert re.search(r"yaw \+(3\.[6-9]|4\.[0-4])", monitor.findings[0].remedy)
    assert frames[0].stamp_ns < monitor.findings[0].since_ns <= frames[-1].stamp_ns


def test_cameras_that_are_swapped_are_told_both(frames):
    rig = SensorRig(
        cameras=dict(zip(CAMERAS, reversed(CAMERAS.values()), strict=True)), radars=RADARS
    )
    found = told(watched(rig, frames))
    assert {("CAM_FRONT", SWAPPED), ("CAM_BACK_LEFT", SWAPPED)} <= found


def test_a_camera_that_sees_what_nothing_foretells_is_told_where_that_lasts(long_drive):
    front = CAMERAS["CAM_FRONT"]
    rolled = (
        cv2.Rodrigues(np.radians(30.0) * np.eye(3)[0])[0] @ turned(front.ego_from_cam, 140)[:3, :3]
    )
    elsewhere = replace(front, ego_from_cam=rigid_transform(rolled, front.ego_from_cam[:3, 3]))
    rig = SensorRig(cameras={**CAMERAS, "CAM_FRONT": elsewhere}, radars=RADARS)
    at_once, later, lorry = (
        watched(rig, long_drive, replace(ALL, lasting_pairs=count)) for count in (0, 12, 120)
    )
    (first,) = (finding for finding in at_once.findings if finding.fault == TURNED)
    (second,) = (finding for finding in later.findings if finding.fault == TURNED)
    assert first.sensor == "CAM_FRONT"
    assert first.is_certain
    assert second.since_ns == first.since_ns + 12 * PERIOD_NS
    assert ("CAM_FRONT", TURNED) not in told(lorry)
    assert "CAM_FRONT" not in lorry.judged


def test_with_rests_a_camera_is_judged_later_by_every_second_picture(long_drive):
    settings = replace(ALL, rest_frames=1)
    assert {"CAM_FRONT", "CAM_BACK_LEFT"} <= watched(RIG, long_drive, settings).judged
    assert "CAM_FRONT" not in watched(RIG, long_drive[:28], settings).judged


def test_in_turn_every_camera_is_judged_later(long_drive):
    monitor = watched(RIG, long_drive, replace(ALL, cameras_at_once=1))
    assert {"CAM_FRONT", "CAM_BACK_LEFT"} <= monitor.judged
    assert monitor.findings == ()
    assert "CAM_FRONT" not in watched(RIG, long_drive[:28], replace(ALL, cameras_at_once=1)).judged


@pytest.mark.parametrize(
    ("degrees", "factor", "range_scale", "fault"),
    [
        (0.0, 1.0, 1.0, None),
        (4.0, 1.0, 1.0, TURNED),
        (0.0, 3.6, 1.0, WRONG_SPEEDS),
        (0.0, 1.0, 1000.0, WRONG_SCALE),
    ],
)
def test_radars_are_judged_by_what_stands(degrees, factor, range_scale, fault):
    rig = SensorRig(cameras={}, radars={"RADAR_FRONT": turned(RADARS["RADAR_FRONT"], -degrees)})
    frames = drive(30, rig=rig, cameras=False, factor=factor, range_scale=range_scale)
    monitor = watched(rig, frames)
    assert told(monitor) == ({("RADAR_FRONT", fault)} if fault else set())
    assert monitor.judged == {"RADAR_FRONT"}


def passing(count, begin=0, step_m=0.35):
    """Frames of a radar that sees standing things, its driver having taken out the own motion."""
    stand = np.random.default_rng(2).uniform((-30, -30), (110, 30), (90, 2))
    rng = np.random.default_rng(begin)
    for number in range(begin, begin + count):
        stamp_ns = STAMP_NS + number * PERIOD_NS
        ego = rigid_transform(np.eye(3), (min(number, 200) * step_m, 0, 0))
        pose = ego @ RADARS["RADAR_FRONT"]
        seen = (stand - pose[:2, 3]) @ pose[:2, :2]
        seen = seen[(np.hypot(*seen.T) < 40) & (seen[:, 0] > 2)]
        points = np.zeros((len(seen), 7), np.float32)
        points[:, :2] = seen + rng.normal(0, 0.2, seen.shape)
        cloud = RadarCloud(sensor="RADAR_FRONT", stamp_ns=stamp_ns, points=points)
        yield Frame(
            stamp_ns=stamp_ns,
            cameras={},
            radars={"RADAR_FRONT": (cloud,)},
            reference_from_ego={stamp_ns: np.eye(4)},
            odom_from_ego=ego,
        )


def test_a_radar_whose_driver_takes_out_the_own_motion_is_judged_by_where_things_stand():
    seldom = replace(ALL, new_scans=45)
    sound = SensorRig(cameras={}, radars=RADARS)
    assert told(watched(sound, passing(200), seldom)) == set()
    loose = SensorRig(cameras={}, radars={"RADAR_FRONT": turned(RADARS["RADAR_FRONT"], -4.0)})
    monitor = watched(loose, passing(100), seldom)
    assert told(monitor) == set(), "one stretch of road alone accuses nobody"
    for frame in passing(100, begin=100):
        monitor.add(frame)
    assert told(monitor) == {("RADAR_FRONT", TURNED)}
    assert re.search(r"off by \+(3\.[5-9]|4\.[0-5])", monitor.findings[0].remedy)
    for frame in passing(160, begin=200):
        monitor.add(frame)
    assert told(monitor) == {("RADAR_FRONT", TURNED)}, "standing still makes it no better"


def beside(frames):
    """The frames, with a radar that sees the dots of the pictures, its own motion taken out."""
    dots, rng = World().dots, np.random.default_rng(7)
    dots = dots[dots[:, 2] < 2.5][::2]
    for frame in frames:
        pose = frame.odom_from_ego @ RADARS["RADAR_FRONT"]
        seen = ((dots - pose[:3, 3]) @ pose[:3, :3])[:, :2]
        seen = seen[(np.hypot(*seen.T) < 30) & (seen[:, 0] > 4)]
        points = np.zeros((len(seen), 7), np.float32)
        points[:, :2] = seen + rng.normal(0, 0.15, seen.shape)
        cloud = RadarCloud(sensor="RADAR_FRONT", stamp_ns=frame.stamp_ns, points=points)
        yield replace(frame, radars={"RADAR_FRONT": (cloud,)})


def test_a_radar_is_judged_by_the_pictures_of_cameras_that_are_sound(long_drive):
    few = MapSettings(new_scans=36, least_returns=10**9)  # its own scans are not to tell
    against = ReprojectionSettings(
        map=MapSettings(least_scans=30, sharper=0.3, least_maps=1), least_points=60
    )
    settings = replace(ALL, new_scans=36, map=few, reprojection=against)
    assert told(watched(RIG, beside(long_drive), settings)) == set()
    loose = {"RADAR_FRONT": turned(RADARS["RADAR_FRONT"], 4.0)}
    rig = SensorRig(cameras=CAMERAS, radars=loose)
    monitor = watched(rig, beside(long_drive), settings)
    assert told(monitor) == {("RADAR_FRONT", TURNED)}
    assert re.search(r"off by -(3\.[3-9]|4\.[0-7]) degrees against", monitor.findings[0].remedy)
    both = {n: replace(c, ego_from_cam=turned(c.ego_from_cam, 9.0)) for n, c in CAMERAS.items()}
    blamed = watched(SensorRig(cameras=both, radars=loose), beside(long_drive), settings)
    assert {sensor for sensor, _ in told(blamed)} == set(CAMERAS), "their pictures tell nothing"


def test_what_cannot_be_by_the_numbers_is_told_before_any_frame():
    camera = CAMERAS["CAM_FRONT"]
    level = rigid_transform(np.eye(3), camera.ego_from_cam[:3, 3])
    rig = SensorRig(
        cameras={**CAMERAS, "CAM_FRONT": replace(camera, ego_from_cam=level)}, radars={}
    )
    monitor = CalibrationMonitor(rig)
    assert told(monitor) == {("CAM_FRONT", WRONG_AXES)}
    monitor.reset()
    assert told(monitor) == {("CAM_FRONT", WRONG_AXES)}


def test_without_known_motion_and_while_standing_nothing_is_judged(frames):
    loose = SensorRig(cameras={}, radars={"RADAR_FRONT": turned(RADARS["RADAR_FRONT"], 9.0)})
    assert watched(loose, drive(30, cameras=False, with_motion=False)).judged == frozenset()
    still = [
        replace(frame, odom_from_ego=np.eye(4), reference_from_ego={frame.stamp_ns: np.eye(4)})
        for frame in frames
    ]
    assert watched(RIG, still).judged == frozenset()


def test_a_clock_that_jumps_back_begins_anew(frames):
    monitor = watched(RIG, frames)
    assert monitor.judged
    monitor.add(frames[0])
    assert monitor.judged == frozenset()


def test_radars_are_judged_where_no_camera_is_calibrated():
    loose = {"RADAR_FRONT": turned(RADARS["RADAR_FRONT"], 9.0)}
    rig = SensorRig(cameras={}, radars=loose)
    for at_once in (0, 1, 2):
        settings = replace(ALL, cameras_at_once=at_once)
        monitor = watched(rig, drive(40, rig=rig, cameras=False), settings)
        assert monitor.judged == {"RADAR_FRONT"}


@pytest.mark.parametrize("radars", [{}, RADARS], ids=["none", "silent"])
def test_what_cameras_saw_long_ago_is_forgotten_though_no_radar_asks(frames, radars):
    monitor = CalibrationMonitor(SensorRig(cameras=CAMERAS, radars=radars), ALL)
    most = 0
    for lap in range(4):
        for frame in frames:
            monitor.add(later(replace(frame, radars={}), lap * 12_000_000_000))
        most = max(most, len(monitor._seen))
    assert 0 < most <= len(frames) * len(CAMERAS)


def later(frame, by_ns):
    stamp_ns = frame.stamp_ns + by_ns
    cameras = {n: replace(image, stamp_ns=stamp_ns) for n, image in frame.cameras.items()}
    motion = {stamp_ns: np.eye(4)}
    return replace(frame, stamp_ns=stamp_ns, cameras=cameras, reference_from_ego=motion)


def test_sensors_that_the_rig_lacks_are_passed_over(frames):
    monitor = watched(SensorRig(cameras={}, radars={}), frames[:3])
    assert monitor.findings == ()
