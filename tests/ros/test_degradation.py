# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS while its sensors come and go: boxes, status and policy."""

import time

import pytest

pytest.importorskip("rclpy")


from tests.ros.node_bench import DEACTIVATE
from tests.ros.status_bench import feeds, stamps_of

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

CAMERAS, ALL = ("CAM_A", "CAM_B"), ("CAM_A", "CAM_B", "RADAR")


@pytest.fixture
def make_bench(make_calibrated_bench):
    return make_calibrated_bench


def test_every_frame_has_a_status_and_every_array_of_boxes_is_one_that_was_answered(make_bench):
    bench = make_bench()
    bench.listen_to_boxes()
    status = feeds(bench, "full")
    assert (status.name, status.severity) == ("imkd_detector: status", 0)
    assert status.values["used"] == "CAM_A, CAM_B, RADAR"
    assert {key for key in status.values if key.startswith("age_ms/")} == {
        f"age_ms/{name}" for name in ALL
    }
    assert bench.feed(lambda: len(bench.boxes) >= 8)
    state = bench.node._session._state
    assert bench.wait(lambda: not state.is_answering and len(stamps_of(bench)) == state.frames_out)
    bench.wait(lambda: False, 0.3)
    answered = [t.stamp_ns for t in bench.told if t.outcome == "answered"]
    assert answered == stamps_of(bench)
    frames = [t for t in bench.told if not t.outcome.startswith("no frame")]
    assert len({t.stamp_ns for t in frames}) == state.frames_in == len(frames)
    assert {t.stamp_ns for t in frames}.isdisjoint(
        t.stamp_ns for t in bench.told if t.outcome.startswith("no frame")
    )


def test_the_level_follows_the_sensors_down_and_up_again_and_blind_is_never_empty(make_bench):
    bench = make_bench()
    bench.listen_to_boxes()
    feeds(bench, "full")
    status = feeds(bench, "degraded", skip=("CAM_B",))
    assert (status.severity, set(status.missing)) == (1, {"CAM_B"})
    assert "'imkd_detector: CAM_B'" in status.message
    assert set(feeds(bench, "radar_only", skip=CAMERAS).missing) == set(CAMERAS)
    assert bench.feed(lambda: bench.level("frames") == 2, skip=CAMERAS)
    assert set(feeds(bench, "camera_only", skip=("RADAR",)).missing) == {"RADAR"}
    feeds(bench, "full")

    stopped_s = time.monotonic()
    blind = "no frame: all sensors are silent"
    assert bench.wait(lambda: bench.told and bench.told[-1].outcome == blind)
    assert bench.told[-1].severity == 2
    assert bench.told[-1].missing == dict.fromkeys(ALL, "silent")
    spent_s = time.monotonic() - stopped_s
    count = len(bench.boxes)
    assert bench.wait(lambda: bench.level("frames") == 2)
    begin = len(bench.told)
    assert bench.wait(lambda: len(bench.told) - begin >= 3)
    assert len(bench.boxes) == count
    assert spent_s < 2.0  # half a second on an idle machine: the fault suite measures that
    feeds(bench, "full")


@pytest.mark.parametrize(
    ("level", "skip"),
    [("degraded", ("CAM_B",)), ("radar_only", CAMERAS), ("camera_only", ("RADAR",))],
)
def test_the_policy_of_a_level_changes_at_run_time(make_bench, level, skip):
    bench = make_bench()
    bench.listen_to_boxes()
    feeds(bench, level, skip=skip)
    assert bench.set_parameter(f"policy.{level}", "stop").successful
    feeds(bench, level, f"stopped: policy {level}", skip=skip)
    bench.wait(lambda: False, 0.3)
    bench.boxes.clear()
    feeds(bench, level, f"stopped: policy {level}", skip=skip)
    assert bench.boxes == []
    assert bench.set_parameter(f"policy.{level}", "publish_empty").successful
    status = feeds(bench, level, f"empty: policy {level}", skip=skip)
    assert bench.wait(lambda: status.stamp_ns in stamps_of(bench))
    assert {len(message.detections) for message in bench.boxes} == {0}
    assert bench.set_parameter(f"policy.{level}", "publish").successful
    assert bench.feed(lambda: bench.boxes[-1].detections, skip=skip)


def test_a_policy_that_makes_no_sense_is_refused(make_bench):
    bench = make_bench()
    for name, value in (("policy.blind", "publish"), ("policy.degraded", "hide")):
        refused = bench.set_parameter(name, value)
        assert not refused.successful
        assert name in refused.reason
        assert "stop" in refused.reason


def test_empty_arrays_come_while_blind_where_they_were_asked_for(make_bench):
    bench = make_bench(**{"policy.blind": "publish_empty"})
    bench.listen_to_boxes()
    assert bench.wait(lambda: len(bench.boxes) >= 3)  # no sensor sent anything yet
    assert bench.wait(lambda: bench.told and bench.told[-1].outcome == "empty: policy blind")
    assert bench.told[-1].severity == 2
    feeds(bench, "full")
    assert bench.feed(lambda: bench.boxes[-1].detections)
    count = len(bench.boxes)
    assert bench.wait(lambda: len(bench.boxes) >= count + 2 and not bench.boxes[-1].detections)
    stamps = stamps_of(bench)
    assert stamps == sorted(set(stamps))


def test_while_nobody_listens_the_status_says_so(make_bench):
    bench = make_bench()
    status = feeds(bench, "full", "not answered: nobody listens to boxes")
    assert status.severity == 0
    assert bench.node._session._state.frames_out == 0


def test_before_the_first_message_and_after_deactivation(make_bench):
    bench = make_bench()
    bench.told.clear()
    assert bench.wait(lambda: len(bench.told) >= 3)
    assert {t.outcome for t in bench.told} == {"no frame: no sensor has sent anything yet"}
    assert {t.missing["CAM_A"] for t in bench.told} == {"never seen"}
    assert bench.change(DEACTIVATE)
    bench.wait(lambda: False, 0.3)
    bench.told.clear()
    bench.wait(lambda: False, 1.0)
    assert bench.told == []
