# SPDX-License-Identifier: Apache-2.0
"""Frames without the sensors that are certainly bad, alike online and offline."""

import numpy as np
import pytest

from imkd_core.health.faults import BLACK
from imkd_core.types import CameraImage, Frame, RadarCloud
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.tally import FRAMES, Tally

PERIOD_NS = 100_000_000


def frame_at(number, rng, black=("A",), names=("A", "B"), with_radar=True):
    stamp_ns = 10**9 + number * PERIOD_NS
    cloud = RadarCloud(
        sensor="R", stamp_ns=stamp_ns, points=rng.normal(0, 9, (20, 7)).astype(np.float32)
    )
    cameras = {}
    for name in names:
        high = 5 if name in black else 256
        pixels = rng.integers(0, high, (64, 128, 3), dtype=np.uint8)
        cameras[name] = CameraImage(sensor=name, stamp_ns=stamp_ns, pixels=pixels)
    radars = {"R": (cloud,)} if with_radar else {}
    return Frame(stamp_ns=stamp_ns, cameras=cameras, radars=radars)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def test_a_certain_fault_takes_its_sensor_out_of_the_frame_which_is_counted(rng):
    tally = Tally()
    watch = SensorWatch(tally, masks_bad_sensors=True)
    left = [watch.admit(frame_at(number, rng)) for number in range(5)]

    assert [set(frame.cameras) for frame in left] == [{"A", "B"}] * 2 + [{"B"}] * 3
    assert all(set(frame.radars) == {"R"} for frame in left)
    assert watch.masked == {"A"}
    assert tally.drops == {"A": {BLACK: 3}}
    assert [(one.sensor, one.fault) for one in watch.findings] == [("A", BLACK)]


def test_without_masking_it_is_told_alone_and_masking_may_begin_at_any_time(rng):
    watch = SensorWatch(Tally(), masks_bad_sensors=False)
    for number in range(5):
        frame = frame_at(number, rng)
        assert watch.admit(frame) is frame
    assert watch.masked == frozenset()
    assert [one.sensor for one in watch.findings] == ["A"]

    watch.masks_bad_sensors = True
    assert set(watch.admit(frame_at(5, rng)).cameras) == {"B"}


def test_a_frame_of_bad_sensors_alone_is_not_answered_and_one_with_a_radar_is(rng):
    tally = Tally()
    watch = SensorWatch(tally, masks_bad_sensors=True)
    for number in range(5):
        left = watch.admit(frame_at(number, rng, names=("A",)))
    assert (set(left.cameras), set(left.radars)) == (set(), {"R"})
    assert watch.admit(frame_at(5, rng, names=("A",), with_radar=False)) is None
    assert tally.drops[FRAMES] == {"no usable sensor": 1}


def test_after_a_reset_the_past_counts_no_more(rng):
    watch = SensorWatch(Tally(), masks_bad_sensors=True)
    for number in range(5):
        watch.admit(frame_at(number, rng))
    watch.reset()
    assert (watch.findings, watch.masked) == ((), frozenset())
    assert set(watch.admit(frame_at(5, rng)).cameras) == {"A", "B"}


def test_the_same_frames_are_masked_alike():
    def left():
        rng, watch = np.random.default_rng(1), SensorWatch(Tally(), masks_bad_sensors=True)
        frames = [watch.admit(frame_at(number, rng)) for number in range(8)]
        return [sorted(frame.cameras) for frame in frames], watch.findings

    assert left() == left()
