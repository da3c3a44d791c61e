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
from tf2_msgs.msg import TFMessage

from imkd_core.resources import sensors_file
from imkd_ros.bridge.pipeline import TF_TOPIC
from imkd_ros.bridge.sensors import load_sensor_set
from imkd_ros.node.inputs import Inputs

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
