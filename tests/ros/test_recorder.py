# SPDX-License-Identifier: Apache-2.0
"""The recorder, as a process over real DDS: it completes its bag however it is ended."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from imkd_core.data.bags.messages import EXTRA_DEFINITIONS, typestore
from imkd_core.data.bags.recording import open_bag
from imkd_ros.graph.bag_topics import message_class
from imkd_ros.recorder import main
from tests.ros.bag_tools import START_NS, finish, read_all, run, started, write_bag

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

PLAYER, RECORDER = "imkd_ros.player", "imkd_ros.recorder"

#: The first images that are written to the disk together are more than one.
IMAGE_BYTES = 150_000


def wait_for(condition, seconds=60.0):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def bytes_below(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "drive")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_a_whole_bag(bag, tmp_path, number):
    with (
        started(RECORDER, tmp_path / "copy", "--topics", "/image/compressed", "/text") as recorder,
        started(PLAYER, bag, "--rate", "0.2", "--wait-for", "/image/compressed", "/text"),
    ):
        wait_for(lambda: bytes_below(tmp_path) > IMAGE_BYTES)
        assert not (tmp_path / "copy").exists()
        recorder.send_signal(number)
        code, report, errors = finish(recorder, timeout_s=10)
    assert code == 0, errors
    assert "Traceback" not in errors
    copy = read_all(tmp_path / "copy")
    assert {topic: len(messages) for topic, messages in copy.items()} == report["topics"]
    assert 0 < report["recorded"] < 40
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_it_stops_after_a_number_of_messages(bag, tmp_path):
    record = ("--topics", "/text", "--max-messages", "5")
    with started(RECORDER, tmp_path / "copy", *record) as recorder:
        run(PLAYER, bag, "--rate", "5", "--wait-for", "/text")
        code, report, _ = finish(recorder)
    assert (code, report["recorded"]) == (0, 5)
    assert len(read_all(tmp_path / "copy")["/text"]) == 5


def test_with_sim_time_the_log_time_is_the_time_of_the_bag(bag, tmp_path):
    record = ("--topics", "/header", "--idle", "1", "--use-sim-time")
    with started(RECORDER, tmp_path / "copy", *record) as recorder:
        run(PLAYER, bag, "--rate", "2", "--wait-for", "/header", "/clock", "--delay", "0.5")
        code, _, errors = finish(recorder)
    assert code == 0, errors
    original, copy = read_all(bag)["/header"], read_all(tmp_path / "copy")["/header"]
    assert len(copy) == len(original)
    late_ns = [now.stamp_ns - was.stamp_ns for was, now in zip(original, copy, strict=True)]
    assert abs(np.median(late_ns)) < 100_000_000
    assert copy[0].stamp_ns >= START_NS


def test_topics_that_never_came_are_reported(tmp_path):
    with started(RECORDER, tmp_path / "copy", "--topics", "/never") as recorder:
        wait_for(lambda: any(tmp_path.iterdir()))  # it records, and ends when it is told to
        recorder.send_signal(signal.SIGINT)
        code, report, _ = finish(recorder, timeout_s=10)
    assert code == 0
    assert report == {"recorded": 0, "topics": {}, "lost": {}, "missing": ["/never"]}
    with open_bag(tmp_path / "copy") as copy:
        assert copy.message_count == 0


def test_a_bag_that_exists_is_kept(bag, capsys):
    assert main([str(bag), "--topics", "/text"]) == 2
    assert "exists" in capsys.readouterr().err
    with open_bag(bag) as kept:
        assert kept.topics["/text"].count == 20


def test_a_type_that_is_not_installed_ends_it_with_the_remedy(tmp_path, capsys):
    assert main([str(tmp_path / "copy"), "--topics", "/a:acme_msgs/msg/Anvil"]) == 2
    assert "install the ROS package 'acme_msgs'" in capsys.readouterr().err
    assert main([str(tmp_path / "copy"), "--topics", "/a:Anvil"]) == 2
    assert "no message type" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_type_hashes_on_the_graph_are_those_of_the_bags():
    import rclpy

    rclpy.init()
    try:
        node = rclpy.create_node("hashes")
        for type_name in (*EXTRA_DEFINITIONS, "tf2_msgs/msg/TFMessage"):
            topic = "/" + type_name.replace("/", "_")
            publisher = node.create_publisher(message_class(type_name), topic, 1)
            (info,) = node.get_publishers_info_by_topic(topic)
            assert str(info.topic_type_hash) == typestore().hash_rihs01(type_name)
            node.destroy_publisher(publisher)
        node.destroy_node()
    finally:
        rclpy.shutdown()
