# SPDX-License-Identifier: Apache-2.0
"""QoS events cost the executor nothing most of the time, and are still told."""

import time

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from imkd_ros.node.events import (
    OPEN_S,
    PERIOD_S,
    OccasionalGroup,
    PublisherEvents,
    SubscriptionEvents,
    TidyGroup,
)

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


def test_the_group_is_open_in_a_short_part_of_every_period():
    now = [0.0]
    group = OccasionalGroup(clock=lambda: now[0])
    seen = []
    for step in range(1000):
        now[0] = 3 * step * PERIOD_S / 1000
        seen.append(group.can_execute(None))
    assert sum(seen) / len(seen) == pytest.approx(OPEN_S / PERIOD_S, abs=0.01)
    assert OPEN_S > 0.1, "the health timer turns the executor ten times a second"


@pytest.mark.parametrize("make", [TidyGroup, OccasionalGroup])
def test_a_group_knows_what_lives_and_forgets_what_is_gone(make):
    class Entity:
        pass

    group, kept = make(), Entity()
    group.add_entity(kept)
    for _ in range(100):
        group.add_entity(Entity())
    assert group.has_entity(kept)
    assert len(group.entities) == 1


def test_two_that_do_not_fit_are_both_told():
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("events_test", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    told = []
    try:
        node.create_timer(0.1, lambda: None)
        node.create_subscription(
            String,
            "/events_test",
            lambda _message: None,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            event_callbacks=SubscriptionEvents(OccasionalGroup(), incompatible_qos=told.append),
        )
        node.create_publisher(
            String,
            "/events_test",
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            event_callbacks=PublisherEvents(OccasionalGroup(), incompatible_qos=told.append),
        )
        end_s = time.monotonic() + 10.0
        while len(told) < 2 and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
    assert [event.total_count for event in told] == [1, 1]
