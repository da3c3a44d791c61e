# SPDX-License-Identifier: Apache-2.0
"""What is left of a frame makes its level; the level says what is published."""

import numpy as np
import pytest

from imkd_core.errors import ConfigError, SensorError
from imkd_core.health.degradation import ANSWERED, Action, Level, Policy
from imkd_core.types import RadarCloud
from imkd_ros.bridge.decoding import PendingFrame, PendingImage
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.policy import judge, no_boxes, policy_of, status_of
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.tally import Tally

SENSORS = sensor_set_from_mapping({"cameras": {"A": {}, "B": {}}, "radars": {"R": {}}})
PERIOD_NS = 100_000_000


def frame_of(number, cameras="AB", radars="R", missing=None, corrupt="", black=""):
    stamp_ns = 10**9 + number * PERIOD_NS
    rng = np.random.default_rng(number)

    def decode(name):
        if name in corrupt:
            raise SensorError("cut off")
        return rng.integers(0, 4 if name in black else 256, (64, 128, 3), dtype=np.uint8)

    images = {
        name: PendingImage(name, stamp_ns - 20_000_000, lambda name=name: decode(name))
        for name in cameras
    }
    points = rng.normal(0, 9, (20, 7)).astype(np.float32)
    scans = {
        n: (RadarCloud(sensor=n, stamp_ns=stamp_ns + 5_000_000, points=points),) for n in radars
    }
    return PendingFrame(
        stamp_ns=stamp_ns,
        cameras=images,
        radars=scans,
        reference_from_ego={},
        missing=missing or {},
    )


def judged(pending, policy=None, watch=None):
    return judge(
        pending, watch or SensorWatch(Tally(), masks_bad_sensors=True), SENSORS, policy or Policy()
    )


def never(frame):
    raise AssertionError(f"{frame} is not to be answered")


def test_a_whole_frame_is_answered_with_the_ages_of_its_sensors():
    one = judged(frame_of(1))
    assert (one.action, one.status.level, one.status.outcome) == (
        Action.PUBLISH,
        Level.FULL,
        ANSWERED,
    )
    assert one.status.age_ms == pytest.approx({"A": 20.0, "B": 20.0, "R": -5.0})
    assert one.status.missing == {}
    assert one.answered(lambda frame: no_boxes(frame.stamp_ns, ("car",)), ("car",)).stamp_ns == (
        one.status.stamp_ns
    )


@pytest.mark.parametrize(
    ("cameras", "radars", "level"),
    [("A", "R", "degraded"), ("AB", "", "camera_only"), ("", "R", "radar_only")],
)
@pytest.mark.parametrize("action", Action)
def test_each_level_is_dealt_with_as_its_parameter_says(cameras, radars, level, action):
    policy = policy_of(NodeSettings(values={f"policy.{level}": action.value}))
    one = judged(frame_of(1, cameras, radars, missing={"B": "silent"}), policy)
    assert (one.status.level, one.action) == (level, action)
    assert one.status.missing == {"B": "silent"}
    asked = []

    def detect(frame):
        asked.append(frame)
        return no_boxes(frame.stamp_ns, ("car",))

    answer = one.answered(detect, ("car",))
    assert len(asked) == (action == Action.PUBLISH)
    assert (answer is None) == (action == Action.STOP)
    words = {Action.PUBLISH: ANSWERED, Action.PUBLISH_EMPTY: f"empty: policy {level}"}
    assert one.status.outcome == words.get(action, f"stopped: policy {level}")


def test_a_corrupt_image_is_missing_and_lowers_the_level():
    one = judged(frame_of(1, corrupt="B"))
    assert one.status.level == Level.DEGRADED
    assert one.status.missing == {"B": "corrupt"}
    assert set(one.status.used) == {"A", "R"}


def test_a_sensor_that_is_left_out_is_missing_with_its_fault():
    watch = SensorWatch(Tally(), masks_bad_sensors=True)
    for number in range(5):
        one = judged(frame_of(number, black="A"), watch=watch)
    assert one.status.missing == {"A": "left out: black"}
    assert set(one.frame.cameras) == {"B"}
    assert one.status.level == Level.DEGRADED


@pytest.mark.parametrize("blind", [Action.STOP, Action.PUBLISH_EMPTY])
def test_blind_is_nothing_unless_empty_was_asked_for(blind):
    one = judged(frame_of(1, corrupt="AB", radars=""), Policy(blind=blind))
    assert one.status.level == Level.BLIND
    assert one.status.missing == {"A": "corrupt", "B": "corrupt"}
    answer = one.answered(never, ("car",))
    if blind == Action.STOP:
        assert answer is None
    else:
        assert (len(answer), answer.stamp_ns) == (0, one.status.stamp_ns)


def test_boxes_of_no_sensor_cannot_be_asked_for():
    with pytest.raises(ConfigError, match=r"policy\.blind"):
        NodeSettings(values={"policy.blind": "publish"})


def test_a_frame_that_nobody_looks_into_has_its_status_without_being_decoded():
    status = status_of(frame_of(1, "A", missing={"B": "late"}, corrupt="A"), SENSORS, "replaced")
    assert (status.level, status.outcome) == (Level.DEGRADED, "replaced")
    assert set(status.used) == {"A", "R"}
    assert status.missing == {"B": "late"}


def test_a_slower_sensor_between_two_of_its_readings_is_no_degradation():
    never_published = Policy(degraded=Action.STOP)
    resting = judged(frame_of(1, "A", missing={"B": "not due"}), never_published)
    assert (resting.status.level, resting.action) == (Level.FULL, Action.PUBLISH)
    assert resting.status.missing == {"B": "not due"}
    late = judged(frame_of(2, "A", missing={"B": "late"}), never_published)
    assert (late.status.level, late.action) == (Level.DEGRADED, Action.STOP)


def test_the_same_frames_are_judged_alike():
    def told():
        watch = SensorWatch(Tally(), masks_bad_sensors=True)
        return [judged(frame_of(k, black="A"), watch=watch).status for k in range(6)]

    assert told() == told()
