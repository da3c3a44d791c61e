# SPDX-License-Identifier: Apache-2.0
"""The player, as a process over real DDS: what it plays arrives, byte by byte and in time."""

import json
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_ros.graph.client import GraphClient
from imkd_ros.graph.sent_log import read_sent_log
from imkd_ros.player import main
from tests.ros.bag_tools import START_NS, finish, read_all, run, started, write_bag

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

TOPICS = ("/tf_static", "/header", "/text", "/image/compressed")
PLAYER, RECORDER = "imkd_ros.player", "imkd_ros.recorder"


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "drive")


def test_a_recorder_gets_the_bytes_in_order_with_spacing_and_a_monotone_clock(bag, tmp_path):
    rate = 4.0
    record = ("--topics", *TOPICS, "/clock:rosgraph_msgs/msg/Clock", "--idle", "2")
    with started(RECORDER, tmp_path / "copy", *record) as recorder:
        played = run(
            *(PLAYER, bag, "--rate", rate),
            *("--wait-for", *TOPICS),
        )
        assert played.returncode == 0, played.stderr
        code, counts, errors = finish(recorder)
    assert code == 0, errors
    original, copy = read_all(bag), read_all(tmp_path / "copy")
    clock = copy.pop("/clock")
    assert set(copy) == set(original) == set(TOPICS)
    for topic, messages in original.items():
        assert len(copy[topic]) == len(messages), topic
        for came, sent in zip(copy[topic], messages, strict=True):
            assert came.cdr in _padded(sent.cdr), topic
        assert {m.type_name for m in copy[topic]} == {m.type_name for m in messages}
    sent_s = np.array([m.stamp_ns for m in original["/header"]]) * 1e-9
    came_s = np.array([m.stamp_ns for m in copy["/header"]]) * 1e-9
    latency_s = came_s - sent_s / rate  # plus an unknown constant; the first ones find DDS asleep
    assert np.median(np.abs(latency_s - np.median(latency_s))) < 0.02
    ticks = np.array([_clock_ns(m.cdr) for m in clock])
    assert (np.diff(ticks) > 0).all()
    assert ticks[0] >= START_NS
    assert ticks[-1] >= original["/header"][-1].stamp_ns
    report = json.loads(played.stdout.splitlines()[-1])
    assert report["topics"] == {topic: len(messages) for topic, messages in original.items()}
    assert counts["lost"] == {}


def _padded(cdr: bytes) -> set[bytes]:
    """DDS may fill a message up to whole words."""
    return {cdr, cdr + bytes(-len(cdr) % 4)}


def _clock_ns(cdr: bytes) -> int:
    sec, nanosec = np.frombuffer(cdr[4:12], dtype="<u4")
    return int(sec) * 10**9 + int(nanosec)


def test_it_waits_for_the_subscribers_it_was_told_to(bag, tmp_path):
    late = ("--rate", 10, "--wait-for", "/text", "--topics", "/text")
    with started(PLAYER, bag, *late) as player:
        time.sleep(2.0)
        assert player.poll() is None, "nobody listens yet"
        with started(RECORDER, tmp_path / "copy", "--topics", "/text", "--idle", "1") as recorder:
            assert finish(player)[0] == 0
            assert finish(recorder)[1]["topics"] == {"/text": 20}


def test_it_gives_up_waiting_and_says_for_what(bag):
    result = run(PLAYER, bag, "--wait-for", "/text", "--wait-timeout", "0.3")
    assert result.returncode == 2
    assert "subscriber(s) on /text within 0.3 s" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_its_counts(bag, number):
    slowly = ("--rate", "0.1", "--loop", "--wait-for", "/text")
    with started(PLAYER, bag, *slowly) as player:
        with GraphClient(lambda: player.poll() is None) as listener:
            listener.count("/text", "std_msgs/msg/String")
            assert listener.wait_until(lambda: listener.counted("/text") > 0, 60.0)
        player.send_signal(number)
        code, report, errors = finish(player, timeout_s=10)
    assert code == 0
    assert "Traceback" not in errors
    assert 0 < report["played"] < 61


def test_it_plays_a_bag_as_often_as_it_is_told(bag):
    result = run(PLAYER, bag, "--rate", "50", "--loop", "3", "--topics", "/text", "--linger", "0")
    assert json.loads(result.stdout.splitlines()[-1])["topics"] == {"/text": 60}


def test_it_says_when_each_message_was_sent(bag, tmp_path):
    begin_ns = time.monotonic_ns()
    result = run(PLAYER, bag, "--rate", "50", "--linger", "0", "--sent-log", tmp_path / "sent.txt")
    counts = json.loads(result.stdout.splitlines()[-1])["topics"]
    sent = read_sent_log(tmp_path / "sent.txt")
    assert Counter(one.topic for one in sent) == counts
    stamps = [m.stamp_ns for m in read_all(bag)["/header"]]
    assert [one.stamp_ns for one in sent if one.topic == "/header"] == stamps
    times = [one.sent_ns for one in sent]
    assert begin_ns < times[0]
    assert times == sorted(times)
    assert times[-1] < time.monotonic_ns()


def test_a_late_subscriber_still_gets_what_is_latched(bag, tmp_path):
    with started(PLAYER, bag, "--linger", "30"):
        time.sleep(3.0)
        record = ("--topics", "/tf_static", "--max-messages", "1")
        with started(RECORDER, tmp_path / "copy", *record) as recorder:
            assert finish(recorder, timeout_s=15)[1]["topics"] == {"/tf_static": 1}


def test_topics_that_are_not_in_the_bag_are_named(bag, capsys):
    assert main([str(bag), "--topics", "/nothing"]) == 2
    assert "/nothing: not played" in capsys.readouterr().err
    assert main([str(bag), "--topics", "/text", "--wait-for", "/header"]) == 2
    assert "/header: not played" in capsys.readouterr().err


def test_a_missing_bag_and_a_missing_message_package_are_explained(tmp_path, capsys, monkeypatch):
    assert main([str(tmp_path / "none")]) == 2
    assert "there is no bag" in capsys.readouterr().err
    with BagWriter(tmp_path / "odd") as odd:
        odd.write("/a", "stereo_msgs/msg/DisparityImage", 1, b"\x00\x01\x00\x00")
    monkeypatch.setitem(__import__("sys").modules, "stereo_msgs.msg", None)
    assert main([str(tmp_path / "odd")]) == 2
    assert "install the ROS package 'stereo_msgs'" in capsys.readouterr().err


def test_an_empty_bag_ends_at_once(tmp_path):
    with BagWriter(tmp_path / "empty"):
        pass
    result = run(PLAYER, tmp_path / "empty", "--linger", "0.1", timeout_s=20)
    assert result.returncode == 0
    assert json.loads(result.stdout.splitlines()[-1])["played"] == 0


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "--wait-for" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["bag", "--rate", "0"])
    assert "above 0" in capsys.readouterr().err
