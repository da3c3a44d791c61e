# SPDX-License-Identifier: Apache-2.0
"""The live benchmarks: from what processes said to figures, and looks at a process."""

import argparse
import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from benchmarks import delivery, live_graph, soak
from benchmarks.goals import AIMS
from benchmarks.live_figures import LiveRun, figures, goals, warnings
from benchmarks.live_graph import dropped_of, frame_counts, parameter, role_of
from benchmarks.process_stats import read_stats
from imkd_core.errors import DataError
from imkd_core.visualization import encode_jpeg
from imkd_ros.graph.sent_log import SentMessage, read_sent_log, write_sent_log

MS = 1_000_000
STEP_NS = 1_000_000_000 // 12
CAMERAS = {"LEFT": "/left", "RIGHT": "/right"}


def run_of(frames: int = 24, **changes) -> LiveRun:
    """Two cameras, the right one 5 ms later; boxes 40 ms after it, 30 ms of them in the session."""
    sent, answers, stages = [], [], {}
    for number in range(frames):
        base_ns = 10**18 + number * STEP_NS
        for topic, later_ns in (("/left", 0), ("/right", 5 * MS), ("/radar", 6 * MS)):
            sent.append(SentMessage(topic, base_ns + later_ns, number * STEP_NS + later_ns))
        stamp_ns = base_ns + 5 * MS
        answers.append((stamp_ns, number * STEP_NS + 45 * MS))
        stages[stamp_ns] = {"queue": 1.0, "inference": 30.0, "decode": 2.0, "total": 99.0}
    values = {
        "sent": sent,
        "answers": answers,
        "stages": stages,
        "image_topics": CAMERAS,
        "accepted": {"LEFT": frames, "RIGHT": frames - 6},
        "activation_s": 1.5,
        "peak_rss_mb": 300.0,
        "role": "int8_u8",
    }
    return LiveRun(**{**values, **changes})


def test_time_is_from_the_newest_image_of_a_frame_to_its_boxes():
    run = run_of()
    assert list(run.answer_ms().values()) == pytest.approx([40.0] * 24)
    assert run.overhead_ms() == pytest.approx([10.0] * 24)
    assert run.outside_ms() == pytest.approx([7.0] * 24)  # 40 - 1 - 30 - 2; totals do not count
    assert run.rate_hz() == pytest.approx(12.0, abs=1e-3)


def test_the_goals_of_a_live_run_are_answered_with_their_values():
    met = {goal.name: goal for goal in goals(run_of())}
    mine = [aim.name for aim in AIMS.values() if aim.benchmark == "live_graph"]
    assert sorted(met) == sorted(mine)
    share = met[AIMS["overhead_share"].name]
    assert share.value == pytest.approx(1 / 3)
    assert share.reason == "divided by the inference stage of this run (int8_u8), p50 30.0 ms"
    assert met[AIMS["live_rate"].name].met
    assert not met[AIMS["live_delivery"].name].met
    assert len({figure.name for figure in figures(run_of())}) == len(figures(run_of()))


def test_answers_without_stages_and_a_late_player_are_told():
    run = run_of()
    some = dict(list(run.stages.items())[3:])
    texts = " ".join(warnings(run_of(stages=some, latest_s=0.2)))
    assert "3 of 24 answers" in texts
    assert "200 ms" in texts
    assert not warnings(run)


def test_delivered_is_what_the_camera_got_that_got_the_least_each_image_once():
    run = run_of(accepted={"LEFT": 24, "RIGHT": 18}, dropped={"LEFT": 24, "RIGHT": 6})
    assert run.least_delivered() == (pytest.approx(0.75), "RIGHT, the least of 2 cameras")
    by_name = {figure.name: figure for figure in figures(run)}
    assert by_name["images delivered"].value == pytest.approx(75.0)
    assert by_name["images dropped by the node"].value == 30
    goal = next(goal for goal in goals(run) if goal.name == AIMS["live_delivery"].name)
    assert (goal.value, goal.met) == (pytest.approx(75.0), False)
    assert "RIGHT" in goal.reason


def test_a_camera_that_sent_nothing_is_not_judged_and_one_that_is_unheard_got_nothing():
    cameras = {**CAMERAS, "BACK": "/back"}
    assert run_of(image_topics=cameras).delivered() == {"LEFT": 1.0, "RIGHT": 0.75}
    assert run_of(accepted={"LEFT": 24}).least_delivered()[0] == 0.0
    assert run_of(image_topics={"BACK": "/back"}).least_delivered()[0] == 0.0


def test_answers_to_radars_alone_are_told_apart_from_those_without_stages():
    run = run_of()
    stamp_ns = run.sent[-1].stamp_ns
    alone = run_of(
        answers=[*run.answers, (stamp_ns, run.answers[-1][1] + MS)],
        stages={**run.stages, stamp_ns: {"inference": 30.0}},
    )
    (text,) = warnings(alone)
    assert "1 of 25 answers are of radars alone" in text
    assert len(alone.overhead_ms()) == 24


@pytest.mark.parametrize(
    ("overrides", "model", "role"),
    [
        ([("model.precision", "fp32")], "onnxruntime 1.32.0 CPUExecutionProvider", "fp32"),
        ([], "onnxruntime 1.32.0 CPUExecutionProvider", "of cpu"),
        ([], "onnxruntime 1.32.0 OpenVINOExecutionProvider", "of openvino"),
        ([("model.precision", "auto")], "TensorRT 10.0", "of tensorrt"),
    ],
)
def test_the_file_that_ran_is_the_one_asked_for_or_that_of_its_runner(
    overrides, model, role, monkeypatch
):
    def role_for(bundle, asked, runner):
        return f"of {runner}" if asked == "auto" else asked

    monkeypatch.setattr(live_graph, "role_for", role_for)
    assert role_of(None, overrides, model) == role


def test_messages_that_the_node_dropped_are_counted_and_frames_say_why_they_did_not_come():
    counts = {"received": "7", "dropped: late": "2", "dropped: uncalibrated": "5"}
    assert dropped_of({**counts, "rate Hz": "12.0"}) == 7
    values = {"frames in": "9", "frames replaced by newer": "2", "dropped: no ego motion": "1"}
    assert frame_counts({**values, "cameras": "6/6"}) == {
        "in": 9,
        "replaced by newer": 2,
        "without: no ego motion": 1,
    }


def test_parameters_are_read_as_yaml():
    assert parameter("model.threads=1") == ("model.threads", 1)
    assert parameter("model.allow_spinning=true") == ("model.allow_spinning", True)
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=VALUE"):
        parameter("model.threads")


def test_a_log_of_what_was_sent_survives_the_file(tmp_path):
    messages = [SentMessage("/left", 17, 4), SentMessage("/right", 18, 5)]
    write_sent_log(tmp_path / "sent.txt", messages)
    assert read_sent_log(tmp_path / "sent.txt") == messages
    (tmp_path / "sent.txt").write_text("/left 17\n")
    with pytest.raises(DataError, match="when messages were sent"):
        read_sent_log(tmp_path / "sent.txt")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_threads_and_files_of_a_process_are_seen_and_a_dead_one_is_gone(tmp_path):
    before = read_stats(os.getpid())
    held = bytearray(os.urandom(1 << 20) * 64)
    with (tmp_path / "open").open("w"):
        after = read_stats(os.getpid())
    assert before.rss_mb + 50 < after.rss_mb <= after.peak_rss_mb
    assert after.files == before.files + 1
    assert after.cpu_s >= after.main_cpu_s > 0
    assert after.threads >= 1
    assert len(held) == 64 << 20
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    time.sleep(0.5)
    assert read_stats(process.pid) is None, "a zombie has no memory"
    process.wait()
    assert read_stats(process.pid) is None


def test_growth_leaves_the_warm_up_out():
    flat = [100.0] * 10 + [200.0] * 90
    assert soak.growth(flat) == 0.0
    assert soak.growth([100.0 + 0.1 * i for i in range(100)]) == pytest.approx(8.5, abs=0.5)
    assert soak.growth([100.0] * 19) is None


def test_looks_begin_with_the_first_answer_and_keep_their_distance():
    now = [0.0]
    looks = soak.Looks(1.0, clock=lambda: now[0])
    mine = {"detector": os.getpid()}
    looks.on_poll(mine)
    assert not looks.times_s
    looks.on_answer(1, 1)
    for now[0] in (5.0, 5.5, 6.0, 6.2, 7.1):
        looks.on_poll(mine)
    assert looks.times_s == pytest.approx([0.0, 1.0, 2.1])
    found = soak.report(looks, 30.0, False, [])
    assert found.facts["was_interrupted"]
    (goal,) = found.goals
    assert (goal.value, goal.met) == (None, None)
    assert "30 minutes" in goal.reason


def test_a_soak_of_half_an_hour_answers_its_goal():
    looks = soak.Looks(1.0)
    stats = read_stats(os.getpid())
    looks.times_s, looks.stats = [float(i) for i in range(1801)], [stats] * 1801
    (goal,) = soak.report(looks, 30.0, True, []).goals
    assert (goal.value, goal.met) == (0.0, True)


def test_each_case_of_delivery_has_its_profile_and_no_other(tmp_path):
    base = {"PATH": "/bin", "CYCLONEDDS_URI": "x", "FASTDDS_DEFAULT_PROFILES_FILE": "y"}
    for case in delivery.CASES:
        found = delivery.case_environment(case, base, tmp_path)
        names = set(found) - {"PATH"}
        if not case.has_profile:
            assert names == set()
        elif case.middleware == "cyclone":
            assert names == {"CYCLONEDDS_URI"}
        else:
            assert len(names) == 1
    assert len({case.name for case in delivery.CASES}) == len(delivery.CASES)


def test_delivered_counts_messages_and_says_when_none_came():
    found = {"sent": 96, "received": 48, "bytes": 10e6, "seconds": 2.0, "p50_ms": 1.0, "p95_ms": 2}
    rows = {
        row.name.rpartition(": ")[2]: row for row in delivery.case_figures(delivery.CASES[0], found)
    }
    assert rows["delivered"].value == 50.0
    assert rows["rate"].value == 5.0
    nothing = {**found, "received": 0, "bytes": 0, "p50_ms": None, "p95_ms": None}
    rows = delivery.case_figures(delivery.CASES[0], nothing)
    assert [row.value for row in rows] == [0.0, 0.0, None, None]


@pytest.mark.ros
@pytest.mark.parametrize("number", [1, 6])
def test_small_images_arrive_in_another_process(number, tmp_path, ros_environment):
    case = delivery.CASES[number]
    if case.middleware == "cyclone":
        pytest.importorskip("cyclonedds")
    (tmp_path / "images").mkdir()
    picture = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    for name in range(6):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(encode_jpeg(picture))
    found = delivery.run_case(case, 0.5, tmp_path)
    assert found["sent"] == 36
    assert 18 <= found["received"] <= 36, "best effort"
    assert found["bytes"] > found["received"] * 1000
    assert 0 < found["p50_ms"] <= found["p95_ms"]
