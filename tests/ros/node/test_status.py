# SPDX-License-Identifier: Apache-2.0
"""The status of a frame: level, sentence with where the remedy is, values for programs."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.lifecycle import LifecycleNode

from imkd_core.health.degradation import (
    ANSWERED,
    REPLACED,
    Action,
    FrameStatus,
    Level,
    not_answered,
    outcome_of,
)
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.node.health import InferenceState
from imkd_ros.node.status import IDLE, StatusOutput, as_status, without_frame
from imkd_ros.node.verdicts import ERROR, OK, WARN

SENSORS = sensor_set_from_mapping({"cameras": {"A": {}, "B": {}}, "radars": {"R": {}}})
NOW_NS = 5_000_000_000


def frame(level, outcome=ANSWERED, missing=None):
    return FrameStatus(
        stamp_ns=1, level=level, outcome=outcome, age_ms={"A": 12.345}, missing=missing or {}
    )


def test_values_are_for_programs():
    status = as_status(frame(Level.DEGRADED, missing={"B": "silent", "R": "late"}), "front/node")
    assert status.values == {
        "level": "degraded",
        "outcome": "answered",
        "used": "A",
        "missing": "B: silent; R: late",
        "age_ms/A": "12.3",
    }


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (frame(Level.FULL), OK, "all sensors are used"),
        (frame(Level.FULL, REPLACED), OK, "replaced by a newer frame"),
        (frame(Level.FULL, IDLE), OK, "nothing is inferred"),
        (frame(Level.FULL, not_answered("NaN")), ERROR, "'node: frames' in /diagnostics"),
        (frame(Level.DEGRADED, missing={"B": "silent"}), WARN, "'node: B' in /diagnostics"),
        (frame(Level.CAMERA_ONLY, IDLE, {"R": "late"}), WARN, "nothing is inferred"),
        (frame(Level.RADAR_ONLY, not_answered("NaN")), ERROR, "not answered: NaN"),
        (
            frame(Level.DEGRADED, outcome_of(Action.STOP, Level.DEGRADED), {"B": "late"}),
            WARN,
            "stopped: policy degraded",
        ),
        (
            frame(Level.BLIND, outcome_of(Action.PUBLISH_EMPTY, Level.BLIND)),
            ERROR,
            "empty: policy blind",
        ),
    ],
)
def test_the_level_and_the_sentence_tell_how_bad_it_is_and_where_to_look(status, level, words):
    told = as_status(status, "node")
    assert told.level == level
    assert words in told.message


def pipeline_of(newest="ABR", silent="", uncalibrated=""):
    rig = SimpleNamespace(
        cameras={name: 1 for name in "AB" if name not in uncalibrated},
        radars={name: 1 for name in "R" if name not in uncalibrated},
    )
    return SimpleNamespace(
        tally=SimpleNamespace(
            newest=dict.fromkeys(newest, (1, 1)),
            is_silent=lambda name, now_ns, timeout_ns: name in silent,
        ),
        uncalibrated=dict.fromkeys(uncalibrated, "start it"),
        rig=rig,
    )


def told(pipeline, now_ns=NOW_NS, last=Level.FULL, **state):
    node = InferenceState(**state)
    return without_frame(pipeline, SENSORS, node, now_ns, timeout_ns=10**9, last=last)


def test_every_reason_for_no_frame_is_told_with_that_of_each_sensor():
    never = told(pipeline_of(newest=""))
    assert never.outcome == "no frame: no sensor has sent anything yet"
    assert never.missing == dict.fromkeys("ABR", "never seen")
    silent = told(pipeline_of(newest="AR", silent="AR"))
    assert silent.outcome == "no frame: all sensors are silent"
    assert silent.missing == {"A": "silent", "B": "never seen", "R": "silent"}
    uncalibrated = told(pipeline_of(uncalibrated="ABR"))
    assert uncalibrated.outcome == "no frame: no sensor is calibrated"
    assert uncalibrated.missing == dict.fromkeys("ABR", "uncalibrated")
    standing = told(pipeline_of(), now_ns=0)
    assert standing.outcome.startswith("no frame: time stands still")
    assert {one.level for one in (never, silent, uncalibrated, standing)} == {Level.BLIND}


def test_radars_that_are_calibrated_are_not_blind():
    assert told(pipeline_of(uncalibrated="AB"), last=Level.RADAR_ONLY).level == Level.RADAR_ONLY


def test_while_sensors_send_and_no_frame_is_due_the_level_stays():
    waiting = told(pipeline_of(silent="A"), last=Level.DEGRADED)
    assert (waiting.level, waiting.stamp_ns) == (Level.DEGRADED, NOW_NS)
    assert told(pipeline_of(), is_answering=True).outcome == (
        "no frame: the one before is still being answered"
    )


@pytest.mark.ros
@pytest.mark.usefixtures("ros_environment")
@pytest.mark.parametrize("has_ended", [False, True])
def test_what_is_told_after_a_signal_ended_the_context_goes_nowhere_and_hurts_nobody(has_ended):
    context = Context()
    rclpy.init(context=context)
    node = LifecycleNode("status_test", context=context)
    try:
        told = StatusOutput(node, "model", lambda *_: None)
        assert told.is_due
        if has_ended:
            context.shutdown()
        told.tell(frame(Level.DEGRADED, not_answered("the node was deactivated")))
        assert told.level == Level.DEGRADED
        assert not told.is_due
    finally:
        node.destroy_node()
        context.try_shutdown()
