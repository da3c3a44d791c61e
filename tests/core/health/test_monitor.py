# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.health import monitor
from imkd_core.health.faults import BLACK, EMPTY, FROZEN
from imkd_core.health.monitor import SensorHealth, without
from imkd_core.types import CameraImage, Frame, RadarCloud

PERIOD_NS = 100_000_000


def frame_at(number, rng, *, front=None, points=None, moved_m=None):
    """A frame of two cameras and a radar; `front` and `points` replace what they would see."""
    stamp_ns = 10**9 + number * PERIOD_NS
    pose = np.eye(4)
    pose[0, 3] = moved_m or 0.0
    pictures = {
        "front": rng.integers(0, 256, (128, 352, 3), dtype=np.uint8) if front is None else front,
        "back": rng.integers(0, 256, (128, 352, 3), dtype=np.uint8),
    }
    cloud = rng.normal(0, 10, (30, 7)).astype(np.float32) if points is None else points
    return Frame(
        stamp_ns=stamp_ns,
        cameras={
            name: CameraImage(sensor=name, stamp_ns=stamp_ns, pixels=pixels)
            for name, pixels in pictures.items()
        },
        radars={"radar": (RadarCloud(sensor="radar", stamp_ns=stamp_ns, points=cloud),)},
        odom_from_ego=None if moved_m is None else pose,
    )


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def faults(findings):
    return {(finding.sensor, finding.fault) for finding in findings}


def test_a_bad_camera_is_told_masked_and_taken_back_when_it_is_well_again(rng):
    health = SensorHealth()
    black = np.zeros((128, 352, 3), np.uint8) + rng.integers(0, 4, (128, 352, 1), dtype=np.uint8)
    for number in range(5):
        assert health.look(frame_at(number, rng)) == ()
    for number in range(5, 10):
        health.look(frame_at(number, rng, front=black + np.uint8(number)))

    assert faults(health.findings) == {("front", BLACK)}
    assert health.unusable == {"front"}
    assert health.findings[0].since_ns == 10**9 + 5 * PERIOD_NS
    assert "lens cap" in health.findings[0].remedy
    assert health.look(frame_at(10, rng)) == ()
    assert health.unusable == frozenset()


def test_an_empty_radar_is_told(rng):
    health = SensorHealth()
    for number in range(10):
        health.look(frame_at(number, rng))
    for number in range(10, 16):
        health.look(frame_at(number, rng, points=np.zeros((0, 7), np.float32)))

    assert faults(health.findings) == {("radar", EMPTY)}


@pytest.mark.parametrize(
    ("step_m", "is_masked"),
    [(0.0, False), (0.5, True), (None, True)],
    ids=["standing", "moving", "motion unknown"],
)
def test_a_picture_that_repeats_is_told_and_masked_unless_the_vehicle_stands(
    rng, step_m, is_masked
):
    health = SensorHealth()
    same = rng.integers(0, 256, (128, 352, 3), dtype=np.uint8)
    for number in range(10):
        moved_m = None if step_m is None else number * step_m
        health.look(frame_at(number, rng, front=same, moved_m=moved_m))

    assert faults(health.findings) == {("front", FROZEN)}
    assert ("front" in health.unusable) == is_masked


def test_a_reading_that_comes_in_two_frames_counts_once(rng):
    health = SensorHealth()
    frame = frame_at(0, rng)
    later = [replace(frame, stamp_ns=frame.stamp_ns + n * PERIOD_NS) for n in range(20)]

    assert all(health.look(one) == () for one in (frame, *later))


def test_all_scans_of_a_frame_are_looked_at_oldest_first(rng):
    health = SensorHealth()
    for number in range(10):
        health.look(frame_at(number, rng))
    empty = [
        RadarCloud(sensor="radar", stamp_ns=2 * 10**9 + n, points=np.zeros((0, 7), np.float32))
        for n in range(5)
    ]
    frame = replace(frame_at(11, rng), radars={"radar": tuple(reversed(empty))})

    assert faults(health.look(frame)) == {("radar", EMPTY)}


def test_a_sensor_that_is_silent_is_no_finding(rng):
    health = SensorHealth()
    black = np.zeros((128, 352, 3), np.uint8)
    for number in range(5):
        health.look(frame_at(number, rng, front=black))
    frame = frame_at(5, rng)

    assert health.look(without(frame, {"front"})) == ()


def test_time_that_goes_back_begins_anew(rng):
    health = SensorHealth()
    black = np.zeros((128, 352, 3), np.uint8)
    for number in range(100, 105):
        health.look(frame_at(number, rng, front=black))
    assert health.unusable == {"front"}

    assert health.look(frame_at(0, rng)) == ()


def test_the_same_frames_give_the_same_findings(rng):
    frames = [frame_at(number, rng) for number in range(20)]
    one, other = SensorHealth(), SensorHealth()

    assert [one.look(f) for f in frames] == [other.look(f) for f in frames]


def test_a_frame_without_some_sensors_keeps_the_others_as_they_are(rng):
    frame = frame_at(0, rng, moved_m=1.0)

    assert without(frame, {"nobody"}) is frame
    assert without(frame, ()) is frame
    left = without(frame, {"front", "radar"})
    assert set(left.cameras) == {"back"}
    assert set(left.radars) == set()
    assert left.cameras["back"] is frame.cameras["back"]
    assert left.stamp_ns == frame.stamp_ns


def test_what_was_looked_at_ahead_is_not_looked_at_again_and_findings_are_the_same(
    rng, monkeypatch
):
    black = np.zeros((128, 352, 3), np.uint8)
    frames = [frame_at(n, rng, front=black + np.uint8(n % 3)) for n in range(6)]
    plain = SensorHealth()
    expected = [plain.look(frame) for frame in frames]
    assert expected[-1]
    looked, real = [], monitor.picture_facts
    monkeypatch.setattr(monitor, "picture_facts", lambda pixels: looked.append(1) or real(pixels))
    health = SensorHealth()
    for frame, findings in zip(frames, expected, strict=True):
        for image in frame.cameras.values():
            health.look_ahead(image)
        assert health.look(frame) == findings
    assert len(looked) == 2 * len(frames)
