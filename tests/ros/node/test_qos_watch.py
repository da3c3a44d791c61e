# SPDX-License-Identifier: Apache-2.0
"""Endpoints that do not fit, until they are gone; over the real middleware."""

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from imkd_ros.node.qos_watch import QosWatch

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OFTEN = QoSProfile(depth=5, deadline=Duration(nanoseconds=100_000_000))
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
INPUTS = [("CAM", "/cam/image", "sensor_msgs/msg/Image")]


@pytest.fixture
def graph():
    nodes = {}
    for name in ("node", "other"):  # a participant has one type for a topic
        context = Context()
        rclpy.init(context=context)
        nodes[name] = rclpy.create_node(f"watch_{name}", context=context)
    yield SimpleNamespace(**nodes)
    for node in nodes.values():
        node.destroy_node()
        node.context.try_shutdown()


def wait(condition, seconds=10.0):
    end_s = time.monotonic() + seconds
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert condition()


def ears(node, topic):
    return len(node.get_subscriptions_info_by_topic(topic))


def voices(node, topic):
    return len(node.get_publishers_info_by_topic(topic))


@pytest.mark.parametrize("qos", [LATCHED, OFTEN])
def test_a_subscriber_that_does_not_fit_is_remembered_until_it_is_gone(graph, qos):
    graph.node.create_publisher(Image, "~/output", 5)
    wrong = graph.other.create_subscription(Image, "/watch_node/output", print, qos)
    graph.other.create_subscription(Image, "/watch_node/output", print, BEST_EFFORT)
    wait(lambda: ears(graph.node, "~/output") == 2)
    watch = QosWatch(graph.node, INPUTS)
    watch.note("~/output", 100.0)
    assert watch.gone(104.0) == []
    graph.other.destroy_subscription(wrong)
    wait(lambda: ears(graph.node, "~/output") == 1)
    assert watch.gone(104.5) == []  # it looks once a second
    assert watch.gone(105.5) == ["~/output"]
    assert watch.gone(107.0) == []


@pytest.mark.parametrize(("kind", "qos"), [(Image, BEST_EFFORT), (CompressedImage, 5)])
def test_a_publisher_of_a_sensor_that_does_not_fit_is_remembered_until_it_is_gone(graph, kind, qos):
    graph.node.create_subscription(Image, "/cam/image", print, 5)
    wrong = graph.other.create_publisher(kind, "/cam/image", qos)
    wait(lambda: voices(graph.node, "/cam/image") == 1)
    watch = QosWatch(graph.node, INPUTS)
    watch.note("CAM", 100.0)
    assert watch.gone(104.0) == []
    graph.other.destroy_publisher(wrong)
    wait(lambda: voices(graph.node, "/cam/image") == 0)
    assert watch.gone(106.0) == ["CAM"]


def test_what_was_told_of_lately_is_not_forgotten(graph):
    watch = QosWatch(graph.node, INPUTS)
    watch.note("CAM", 100.0)
    assert watch.gone(102.9) == []
    watch.note("CAM", 103.0)
    assert watch.gone(105.0) == []
    assert watch.gone(106.5) == ["CAM"]


def test_strangers_among_themselves_are_no_concern(graph):
    graph.other.create_publisher(Image, "/cam/image", BEST_EFFORT)
    graph.other.create_subscription(Image, "/cam/image", print, 5)
    graph.node.create_subscription(Image, "/cam/image", print, BEST_EFFORT)
    wait(lambda: ears(graph.node, "/cam/image") == 2 and voices(graph.node, "/cam/image") == 1)
    watch = QosWatch(graph.node, INPUTS)
    watch.note("CAM", 100.0)
    assert watch.gone(104.0) == ["CAM"]
