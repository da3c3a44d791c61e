# SPDX-License-Identifier: Apache-2.0
"""Why a node is not configured, on /diagnostics: a refusal is repeated until a configure works.

A session that was refused has no diagnostics; without this a monitor would hear nothing.
"""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from imkd_ros.node.diagnostics import diagnostic_array
from imkd_ros.node.verdicts import ERROR, OK, Status

#: How often a refusal is said, seconds.
REPEAT_S = 1.0

#: Name of the status.
CONFIGURE = "configure"


class Refusal:
    """Tells why configure was refused.

    There is a timer while it is told, and a publisher from the first refusal on: one that is
    destroyed with what it said last takes that along.

    Args:
        node: that was asked to configure.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._text = ""
        self._publisher: Any = None
        self._timer: Any = None

    def tell(self, text: str) -> None:
        """Say it now, and again and again.

        Args:
            text: what is wrong and what to do.
        """
        self._text = text
        if self._publisher is None:
            self._publisher = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        if self._timer is None:
            clock = Clock(clock_type=ClockType.STEADY_TIME)  # a simulated one may stand still
            self._timer = self._node.create_timer(REPEAT_S, self._repeat, clock=clock)
        self._repeat()

    def withdraw(self) -> None:
        """A configure worked: say so once, if anything was said before."""
        if self._timer is not None:
            self._stop()
            self._publish(Status(name=CONFIGURE, level=OK, message="configured"))

    def close(self) -> None:
        """Say no more, and give everything back."""
        if self._timer is not None:
            self._stop()
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def _stop(self) -> None:
        self._node.destroy_timer(self._timer)
        self._timer = None

    def _repeat(self) -> None:
        message = f"configure was refused: {self._text}"
        self._publish(Status(name=CONFIGURE, level=ERROR, message=message))

    def _publish(self, status: Status) -> None:
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(diagnostic_array([status], self._name, "", stamp))
