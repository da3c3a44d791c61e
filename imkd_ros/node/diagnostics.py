# SPDX-License-Identifier: Apache-2.0
"""Health and latency as diagnostic_msgs (REP-107): `node: part`, level, sentence, values.

Latency of each frame goes out as a DiagnosticArray too, on `~/debug/latency`: it exists in every
ROS installation, carries the frame's stamp (so that it can be joined with the boxes) and the name
of each stage, and PlotJuggler draws its values as they are. Its one status is named
`<node>: latency`, its values are stage -> milliseconds.
"""

from collections.abc import Iterable, Mapping
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


def levels(statuses: Iterable[Status]) -> dict[str, int]:
    """Return name -> level: what must change for the diagnostics to go out at once."""
    return {status.name: status.level for status in statuses}
