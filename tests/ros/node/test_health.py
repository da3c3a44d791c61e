# SPDX-License-Identifier: Apache-2.0
"""Verdicts: what is wrong is said with its remedy, what is well is not complained about."""

import numpy as np
import pytest

from imkd_core.health.faults import BLURRED, FROZEN, TURNED, Finding
from imkd_core.types import SensorRig
from imkd_ros.bridge.tally import FRAMES, Problem
from imkd_ros.node.health import HealthMonitor
from imkd_ros.node.latency import LatencyWindow
from imkd_ros.node.verdicts import ERROR, OK, WARN
from tests.ros.node.health_bench import SECOND, SENSORS, Bench


@pytest.fixture
def bench():
    return Bench()


def test_all_is_well_while_everything_arrives(bench):
    bench.hear(10 * SECOND)
    found = bench.judge(10 * SECOND)
    assert {status.level for status in found.values()} == {OK}
    assert found["frames"].values["cameras"] == "2/2"
    assert found["A"].values["age ms"] == "20"


def test_nothing_is_missed_before_the_timeout_after_the_start(bench):
    assert bench.judge(SECOND * 3 // 2)["A"].level == OK
    assert bench.judge(3 * SECOND)["A"].level == WARN


def test_the_grace_begins_anew_when_simulated_time_begins_or_goes_back(bench):
    bench.monitor.start(0)
    assert bench.judge(50 * SECOND)["A"].level == OK
    assert bench.judge(52 * SECOND)["A"].level == WARN
    assert bench.judge(20 * SECOND)["A"].level == OK


def test_problems_of_a_time_that_the_clock_left_are_not_told(bench):
    problems = [Problem(sensor=name, reason="late", text="it came late") for name in ("A", "tf")]
    bench.hear(60 * SECOND)
    bench.monitor.note_problems(problems, 60 * SECOND)
    found = bench.judge(61 * SECOND)
    assert (found["A"].level, found["tf"].level) == (WARN, WARN)
    bench.tally.forget_after(20 * SECOND)
    bench.hear(20 * SECOND)
    found = bench.judge(20 * SECOND)
    assert found["A"].level == OK
    assert "tf" not in found


def test_a_silent_sensor_is_named_with_its_topic_and_the_mask_shows_it(bench):
    bench.hear(10 * SECOND)
    bench.hear(12 * SECOND, ("A", "R"))
    found = bench.judge(12 * SECOND)
    assert found["B"].level == WARN
    assert "~/input/b/image" in found["B"].message
    assert found["frames"].level == WARN
    assert found["frames"].values["cameras"] == "1/2"
    assert found["frames"].values["masked"] == "B"
    bench.hear(13 * SECOND)
    assert bench.judge(13 * SECOND)["frames"].level == OK


def test_no_camera_at_all_is_an_error(bench):
    bench.hear(10 * SECOND, ("R",))
    assert bench.judge(10 * SECOND)["frames"].level == ERROR


def test_a_drop_warns_for_a_while_and_is_forgotten(bench):
    bench.hear(10 * SECOND)
    bench.monitor.note_problems([Problem(sensor="A", reason="bad image", text="cut")], 10 * SECOND)
    found = bench.judge(10 * SECOND)["A"]
    assert (found.level, found.message) == (WARN, "bad image: cut")
    bench.hear(14 * SECOND)
    assert bench.judge(14 * SECOND)["A"].level == OK


def test_missing_calibration_is_a_warning_and_a_camera_that_has_none_is_masked(bench):
    bench.hear(10 * SECOND)
    bench.uncalibrated = {"B": "start the vehicle description"}
    found = bench.judge(10 * SECOND)
    assert found["B"].message == "start the vehicle description"
    assert "start the vehicle description" in found["calibration"].message
    assert found["frames"].values["masked"] == "B"


def test_a_calibration_that_is_suspected_is_told_of_its_sensor_and_what_was_judged_of_all(bench):
    bench.hear(10 * SECOND)
    bench.rig = SensorRig(cameras={}, radars={"R": np.eye(4), "S": np.eye(4)})
    bench.state.judged = frozenset("R")
    bench.state.findings = (
        Finding(sensor="R", fault=TURNED, since_ns=0, is_certain=False, detail="by 3 degrees"),
    )
    found = bench.judge(10 * SECOND)
    assert found["R"].level == WARN
    assert found["R"].message.startswith("turned: by 3 degrees; ")
    assert found["R"].message.endswith("(still used)")
    assert found["calibration"].values["in the rig"] == "R, S"
    assert found["calibration"].values["judged by driving"] == "R"


def test_qos_is_said_where_nothing_arrives(bench):
    bench.hear(10 * SECOND, ("A", "R"))
    bench.monitor.note_qos("B", "publish it RELIABLE")
    bench.monitor.note_qos("tf_static", "publish it TRANSIENT_LOCAL")
    found = bench.judge(10 * SECOND)
    assert found["B"].message == "publish it RELIABLE"
    assert found["qos tf_static"].level == WARN


def test_lacking_ego_motion_has_a_status_of_its_own(bench):
    bench.hear(10 * SECOND)
    problem = Problem(sensor=FRAMES, reason="no ego motion", text="start the odometry")
    bench.monitor.note_problems([problem], 10 * SECOND)
    assert bench.judge(10 * SECOND)["ego_motion"].level == WARN
    refusal = Problem(sensor=FRAMES, reason="not answered", text="the network returned NaN")
    bench.monitor.note_problems([refusal], 11 * SECOND)
    assert bench.judge(11 * SECOND)["ego_motion"].message == "start the odometry"
    bench.hear(14 * SECOND)
    assert bench.judge(14 * SECOND)["ego_motion"].level == OK


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"is_time_standing": True}, ERROR, "/clock"),
        ({"refusal": "the network returned NaN"}, ERROR, "NaN"),
        ({"is_active": False}, OK, "not active"),
        ({"has_subscriber": False}, OK, "nothing is inferred"),
    ],
)
def test_the_state_of_the_node_is_told(bench, changes, level, words):
    bench.hear(10 * SECOND)
    for name, value in changes.items():
        setattr(bench.state, name, value)
    found = bench.judge(10 * SECOND)["frames"]
    assert found.level == level
    assert words in found.message


def test_latency_is_a_warning_above_its_limit(bench):
    bench.hear(10 * SECOND)
    bench.state.latency.add({"total": 90.0})
    assert bench.judge(10 * SECOND)["latency"].level == OK
    bench.state.latency.add({"total": 300.0})
    bench.state.latency.add({"total": 300.0})
    found = bench.judge(10 * SECOND)["latency"]
    assert found.level == WARN
    assert "model.threads" in found.message
    assert found.values["total p50 ms"] == "300.0"


def test_percentiles_look_back_a_bounded_time():
    window = LatencyWindow()
    for milliseconds in range(1000):
        window.add({"total": float(milliseconds)})
    p50, p95, p99 = window.percentiles()["total"]
    assert 800 <= p50 <= p95 <= p99 <= 999


def test_the_rate_is_measured_over_time(bench):
    for step in range(21):
        bench.hear(10 * SECOND + step * SECOND // 10)
        found = bench.judge(10 * SECOND + step * SECOND // 10)
    assert float(found["A"].values["rate Hz"]) == pytest.approx(10.0, abs=0.1)


def test_a_backend_that_stands_in_for_another_is_a_warning_that_says_why(bench):
    bench.hear(10 * SECOND)
    assert "backend" not in bench.judge(10 * SECOND)
    bench.state.substitution = "TensorRT cannot run, ONNX Runtime takes over: no driver"
    found = bench.judge(10 * SECOND)["backend"]
    assert found.level == WARN
    assert found.message.startswith(f"{bench.state.substitution}; ")
    assert "cleaned up and configured" in found.message


@pytest.mark.parametrize("is_masked", [True, False])
def test_a_fault_of_a_sensor_that_sends_is_told_with_its_remedy_and_whether_it_is_used(
    bench, is_masked
):
    bench.hear(10 * SECOND)
    bench.state.findings = (
        Finding(sensor="A", fault=FROZEN, since_ns=1, is_certain=True),
        Finding(sensor="B", fault=BLURRED, since_ns=1, is_certain=False),
    )
    bench.state.masked = frozenset({"A"}) if is_masked else frozenset()
    found = bench.judge(10 * SECOND)
    assert (found["A"].level, found["B"].level, found["R"].level) == (WARN, WARN, OK)
    assert "start its driver again" in found["A"].message
    assert found["A"].message.endswith("(left out of the frames)" if is_masked else "(still used)")
    assert "clean the lens" in found["B"].message
    assert found["B"].message.endswith("(still used)")
    assert found["frames"].values["cameras"] == ("1/2" if is_masked else "2/2")
    assert found["frames"].level == (WARN if is_masked else OK)


def test_what_was_seen_last_is_not_told_while_nothing_is_inferred(bench):
    bench.hear(10 * SECOND)
    bench.state.findings = (Finding(sensor="A", fault=FROZEN, since_ns=1, is_certain=True),)
    bench.state.masked = frozenset({"A"})
    bench.state.has_subscriber = False
    found = bench.judge(10 * SECOND)
    assert {status.level for status in found.values()} == {OK}


def test_a_silent_sensor_is_called_silent_whatever_it_showed_before(bench):
    bench.hear(10 * SECOND)
    bench.state.findings = (Finding(sensor="A", fault=FROZEN, since_ns=1, is_certain=True),)
    bench.hear(12 * SECOND, ("B", "R"))
    assert bench.judge(12 * SECOND)["A"].message.startswith("silent")


def test_stamps_that_jump_warn_for_a_while_with_what_to_do(bench):
    for step in range(12):
        bench.hear(10 * SECOND + step * SECOND // 10)
    now_ns = 10 * SECOND + 11 * SECOND // 10
    assert bench.judge(now_ns)["A"].values["stamp jumps"] == "0"
    bench.tally.accept("A", now_ns + 2 * SECOND, now_ns + SECOND // 10)
    bench.hear(now_ns + SECOND // 10, ("B", "R"))
    found = bench.judge(now_ns + SECOND // 10)
    assert found["A"].values["stamp jumps"] == "1"
    assert "synchronise the clocks" in found["A"].message
    assert [found[name].level for name in "ABR"] == [WARN, OK, OK]
    bench.hear(now_ns + 5 * SECOND)
    assert bench.judge(now_ns + 5 * SECOND)["B"].level == OK


def test_lost_messages_are_counted_and_their_share_is_that_of_late(bench):
    heard = [k for k in range(60) if k < 30 or k % 4]
    for k in heard:
        now_ns = 10 * SECOND + k * SECOND // 10
        bench.hear(now_ns, ("A",))
        found = bench.judge(now_ns)
    assert found["A"].values["lost"] == "7"  # the 32nd, 36th, ... 56th
    assert float(found["A"].values["loss %"]) == pytest.approx(14, abs=1)
    assert found["R"].values["loss %"] == "0"


def test_a_sensor_whose_period_is_known_is_missed_within_half_a_second(bench):
    for step in range(20):
        bench.hear(10 * SECOND + step * SECOND // 12)
    last_ns = 10 * SECOND + 19 * SECOND // 12
    assert bench.judge(last_ns + SECOND // 4)["frames"].level == OK
    bench.hear(last_ns + SECOND // 5, ("R",))
    found = bench.judge(last_ns + 2 * SECOND // 5)
    assert found["frames"].level == ERROR
    assert found["R"].level == OK


def test_what_the_policy_withheld_is_told_with_the_loss(bench):
    bench.hear(10 * SECOND)
    bench.hear(12 * SECOND, ("A", "R"))
    bench.state.withheld = "stopped: policy degraded"
    assert "(stopped: policy degraded)" in bench.judge(12 * SECOND)["frames"].message


def test_percentiles_are_made_where_details_are_asked_for(bench):
    bench.hear(10 * SECOND)
    bench.state.latency.add({"total": 300.0, "inference": 200.0})
    pipeline_statuses = bench.judge(10 * SECOND)
    brief = bench.judge(10 * SECOND, with_details=False)
    assert "inference p99 ms" in pipeline_statuses["latency"].values
    assert brief["latency"].values == {}
    assert {n: s.level for n, s in brief.items()} == {
        n: s.level for n, s in pipeline_statuses.items()
    }


def test_what_concerns_frames_has_one_status(bench):
    bench.hear(10 * SECOND)
    problem = Problem(sensor=FRAMES, reason="not answered", text="NaN")
    bench.monitor.note_problems([problem], 10 * SECOND)
    assert bench.count_of("frames", 10 * SECOND) == 1


def test_what_did_not_fit_is_forgotten_when_it_is_gone(bench):
    bench.monitor.note_qos("B", "publish it RELIABLE")
    bench.monitor.note_qos("~/output/status", "subscribe with durability VOLATILE")
    bench.hear(10 * SECOND, ("A", "R"))
    assert bench.judge(10 * SECOND)["qos ~/output/status"].level == WARN
    for name in ("B", "~/output/status"):
        bench.monitor.forget_qos(name)
    found = bench.judge(10 * SECOND)
    assert found["qos ~/output/status"].level == OK
    assert found["B"].message.startswith("no message yet")


def test_ego_motion_that_stays_away_is_an_error_where_boxes_need_it(bench):
    bench.monitor = HealthMonitor(SENSORS, SECOND, 100.0, ["the model's memory stays empty"])
    problem = Problem(sensor=FRAMES, reason="no ego motion", text="start the odometry")
    for step in range(30):
        bench.monitor.note_problems([problem], 10 * SECOND + step * SECOND // 10)
    assert bench.judge(10 * SECOND + 29 * SECOND // 10)["ego_motion"].level == ERROR
