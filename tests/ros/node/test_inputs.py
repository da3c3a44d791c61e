# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the node, with a real executor."""

import time
from collections import Counter

import pytest

pytest.importorskip("rclpy")

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from imkd_core.resources import sensors_file
from imkd_ros.bridge.pipeline import TF_TOPIC
from imkd_ros.bridge.sensors import load_sensor_set
from imkd_ros.node import inputs as inputs_module
from imkd_ros.node.inputs import Inputs, wanted_types

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("inputs_test", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_all_transforms_that_wait_are_taken_in_one_turn_in_their_order(node):
    came, frames = Counter(), []

    def on_message(topic, message):
        came[topic] += 1
        frames.append(message.transforms[0].child_frame_id)

    sensors = load_sensor_set(sensors_file(""))
    inputs = Inputs(node, sensors, 2, "", on_message, lambda name, text: None)
    inputs.open_calibration()
    publisher = node.create_publisher(TFMessage, TF_TOPIC, 100)
    end_s = time.monotonic() + 10
    while not publisher.get_subscription_count() and time.monotonic() < end_s:
        time.sleep(0.05)
    for number in range(60):
        publisher.publish(TFMessage(transforms=[TransformStamped(child_frame_id=str(number))]))
    time.sleep(0.5)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        for _ in range(20):  # turns of other entities may come first
            executor.spin_once(timeout_sec=0.1)
            if came:
                break
        assert came[TF_TOPIC] == 60
        assert frames == [str(number) for number in range(60)]
    finally:
        executor.shutdown()
        inputs.close()


def camera_info(stamp_s, focal_px):
    matrix = [focal_px, 0.0, 320.0, 0.0, focal_px, 240.0, 0.0, 0.0, 1.0]
    message = CameraInfo(width=640, height=480, k=matrix)
    message.header.stamp.sec = stamp_s
    return message


@pytest.mark.parametrize(("again_s", "expected"), [(60.0, [500, 600]), (0.0, [500] * 4 + [600])])
def test_a_calibration_that_comes_again_unchanged_is_read_now_and_then(
    node, monkeypatch, again_s, expected
):
    monkeypatch.setattr(inputs_module, "_AGAIN_S", again_s)
    sensors, focal_px = load_sensor_set(sensors_file("")), []
    topic = sensors.cameras["CAM_FRONT"].camera_info
    inputs = Inputs(node, sensors, 10, "", lambda _, m: focal_px.append(m.k[0]), lambda *_: None)
    inputs.open_calibration()
    publisher = node.create_publisher(CameraInfo, topic, 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        end_s = time.monotonic() + 10
        while not publisher.get_subscription_count() and time.monotonic() < end_s:
            time.sleep(0.05)
        for number, value in enumerate([500.0] * 4 + [600.0]):
            publisher.publish(camera_info(number, value))
        while 600.0 not in focal_px and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
        assert focal_px == expected
    finally:
        executor.shutdown()
        inputs.close()


def test_a_publisher_of_another_type_is_told_and_one_of_the_right_type_is_not(node):
    told, sensors = {}, load_sensor_set(sensors_file(""))
    topic = sensors.cameras["CAM_BACK"].compressed_topic
    inputs = Inputs(node, sensors, 2, "", lambda *_: None, told.__setitem__)
    inputs.open_calibration()
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    node.create_publisher(Image, topic, 10)
    node.create_publisher(CompressedImage, sensors.cameras["CAM_FRONT"].compressed_topic, 10)
    try:
        end_s = time.monotonic() + 10
        while not told and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        inputs.close()
    assert list(told) == ["CAM_BACK"]
    assert all(word in told["CAM_BACK"] for word in (topic, "msg/Image", "msg/CompressedImage"))


def test_every_topic_that_is_listened_to_has_its_type():
    found = wanted_types(load_sensor_set(sensors_file("")), "/odometry")
    assert {name for name, _, _ in found} >= {"tf", "tf_static", "CAM_FRONT", "odometry"}
    assert len({topic for _, topic, _ in found}) == len(found) == 2 + 6 * 2 + 5 + 1
