# SPDX-License-Identifier: Apache-2.0
"""Health as diagnostic messages."""

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from imkd_ros.node.diagnostics import diagnostic_array, latency_array, levels
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


def test_levels_are_compared_by_name():
    statuses = [Status(name="a", level=OK, message="x"), Status(name="b", level=ERROR, message="")]
    assert levels(statuses) == {"a": OK, "b": ERROR}
