# SPDX-License-Identifier: Apache-2.0
"""Health as diagnostic messages."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from imkd_ros.node.diagnostics import (
    HealthOutput,
    diagnostic_array,
    latency_array,
    verdicts_of,
)
from imkd_ros.node.verdicts import ERROR, OK, WARN, Status

pytestmark = pytest.mark.ros

STAMP = Time(sec=1)


def test_levels_are_those_of_diagnostic_msgs():
    expected = [DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR]
    statuses = [Status(name=str(n), level=n, message="") for n in (OK, WARN, ERROR)]
    array = diagnostic_array(statuses, "node", "tiny", STAMP)
    assert [status.level for status in array.status] == expected


def test_a_status_is_named_after_its_node_and_keeps_its_values():
    status = Status(name="CAM", level=WARN, message="do this", values={"age ms": "12"})
    message = diagnostic_array([status], "imkd_detector", "tiny", STAMP).status[0]
    assert message.name == "imkd_detector: CAM"
    assert message.message == "do this"
    assert message.hardware_id == "tiny"
    assert [(value.key, value.value) for value in message.values] == [("age ms", "12")]


def test_latency_names_its_stages_in_order_and_carries_the_stamp():
    array = latency_array({"sync": 1.23456, "total": 20.0}, "node", "tiny", STAMP)
    assert array.header.stamp == STAMP
    assert array.status[0].name == "node: latency"
    values = [(value.key, value.value) for value in array.status[0].values]
    assert values == [("sync", "1.235"), ("total", "20.000")]


def test_levels_and_kinds_are_compared_by_name_and_messages_are_not():
    statuses = [
        Status(name="a", level=OK, message="x"),
        Status(name="b", level=ERROR, message="12 ms", kind="late"),
    ]
    assert verdicts_of(statuses) == {"a": (OK, ""), "b": (ERROR, "late")}


class Node:
    """As much of a node as there is to publish with."""

    def __init__(self):
        self.published, self.logged = [], []

    def get_logger(self):
        return SimpleNamespace(info=self.logged.append, warning=self.logged.append)

    def get_fully_qualified_name(self):
        return "/front/node"

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: STAMP))

    def create_publisher(self, kind, topic, depth):
        return SimpleNamespace(publish=self.published.append)


def warning(message, kind):
    return [Status(name="CAM", level=WARN, message=message, kind=kind)]


def test_another_reason_is_news_and_other_numbers_are_not():
    output = HealthOutput(Node(), "tiny")
    assert output.is_news(warning("black", "black"))
    output.publish(warning("black for 1 s", "black"), 1.0)
    assert not output.is_news(warning("black for 2 s", "black"))
    assert output.is_news(warning("silent", "silent"))
    assert output.is_news([Status(name="CAM", level=OK, message="ok", kind="black")])


def test_a_period_goes_by_between_two_that_are_no_news():
    output = HealthOutput(Node(), "tiny")
    output.publish([], 5.0)
    assert not output.is_due(5.9, 1.0)
    assert output.is_due(6.0, 1.0)


def test_only_levels_that_change_are_logged():
    node = Node()
    output = HealthOutput(node, "tiny")
    output.publish(warning("black", "black"), 1.0)
    output.publish(warning("silent", "silent"), 2.0)
    output.publish([Status(name="CAM", level=OK, message="ok")], 3.0)
    assert node.logged == ["CAM: WARN: black", "CAM: OK: ok"]
    assert [one.status[0].name for one in node.published] == ["front/node: CAM"] * 3
