# SPDX-License-Identifier: Apache-2.0
"""Health and latency as diagnostic_msgs (REP-107): `node: part`, level, sentence, values.

Latency of each frame goes out as a DiagnosticArray too, on `~/debug/latency`: it exists in every
ROS installation, carries the frame's stamp (so that it can be joined with the boxes) and the name
of each stage, and PlotJuggler draws its values as they are. Its one status is named
`<node>: latency`, its values are stage -> milliseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from imkd_ros.node.verdicts import Status

#: Names of the levels, for logs.
LEVELS = ("OK", "WARN", "ERROR")


def diagnostic_array(statuses: Iterable[Status], node: str, hardware: str, stamp: Any) -> Any:
    """Return a `diagnostic_msgs/DiagnosticArray`.

    Args:
        statuses: what to tell.
        node: name of the node, in front of each status' name.
        hardware: `hardware_id` of all of them.
        stamp: `builtin_interfaces/Time` of the header.
    """
    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [
        DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{node}: {status.name}",
            message=status.message,
            hardware_id=hardware,
            values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
        )
        for status in statuses
    ]
    return message


def latency_array(stage_ms: Mapping[str, float], node: str, hardware: str, stamp: Any) -> Any:
    """Return the stages of one frame, milliseconds."""
    values = {stage: f"{milliseconds:.3f}" for stage, milliseconds in stage_ms.items()}
    status = Status(name="latency", level=0, message="milliseconds", values=values)
    return diagnostic_array([status], node, hardware, stamp)


class HealthOutput:
    """Publishes statuses on /diagnostics: in a period, and at once where there is news.

    Args:
        node: that the publisher belongs to.
        hardware: `hardware_id` of the statuses.
    """

    def __init__(self, node: Any, hardware: str) -> None:
        self._node = node
        self._log = node.get_logger()
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._hardware = hardware
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._told: dict[str, tuple[int, str]] = {}
        self._published_s = 0.0

    def is_due(self, now_s: float, period_s: float) -> bool:
        """Whether the last ones are a period ago, on the caller's steady clock."""
        return now_s - self._published_s >= period_s

    def is_news(self, statuses: Iterable[Status]) -> bool:
        """Whether a level, or the kind of a reason, is other than was published last."""
        return verdicts_of(statuses) != self._told

    def publish(self, statuses: Sequence[Status], now_s: float) -> None:
        """Publish all, and log the levels that changed."""
        for status in statuses:
            if self._told.get(status.name, (0, ""))[0] != status.level:
                self._log_level(status)
        self._told, self._published_s = verdicts_of(statuses), now_s
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(diagnostic_array(statuses, self._name, self._hardware, stamp))

    def close(self) -> None:
        """Give the publisher back."""
        self._node.destroy_publisher(self._publisher)

    def _log_level(self, status: Status) -> None:
        text = f"{status.name}: {LEVELS[status.level]}: {status.message}"
        if status.level == 0:
            self._log.info(text)
        else:  # a line of its own: rclpy allows one severity a line
            self._log.warning(text)


def verdicts_of(statuses: Iterable[Status]) -> dict[str, tuple[int, str]]:
    """Return name -> (level, kind): what must change for the diagnostics to go out at once.

    Messages are not compared: their numbers change with every frame.
    """
    return {status.name: (status.level, status.kind) for status in statuses}
