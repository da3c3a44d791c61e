# SPDX-License-Identifier: Apache-2.0
"""Faults of sensors in a recording of the live node: what /diagnostics tells, frame by frame.

    told = read_faults(recording, ("CAM_FRONT", ...))
    findings = told.of_frame(status.stamp_ns, status.missing)

The offline replay knows them of each frame; the node tells them when they change, a moment after
the frame that shows them. Sensors that a frame was answered without are in that frame's own status,
and that one counts.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imkd_core.data.bags.recording import open_bag
from imkd_core.health.faults import CERTAIN, REMEDIES, Finding
from imkd_ros.bridge.policy import LEFT_OUT

DIAGNOSTICS_TOPIC = "/diagnostics"

#: The node's name in front of its statuses, where it has the default one.
_NODE = "imkd_detector: "

#: Faults in the sentence of a sensor's status: "blurred: what to do; covered: ... (still used)".
_USE = re.compile(r" \((still used|left out of the frames)\)$")
_FAULT = re.compile(rf"(?:^|; )({'|'.join(map(re.escape, REMEDIES))}): ")


@dataclass(frozen=True, kw_only=True)
class FaultsTold:
    """The faults that were told, each until the next word.

    Attributes:
        stamps_ns: when something was told, rising.
        findings: what was told then, of all sensors.
    """

    stamps_ns: tuple[int, ...] = ()
    findings: tuple[tuple[Finding, ...], ...] = ()

    def at(self, stamp_ns: int) -> tuple[Finding, ...]:
        """Return the faults that were told last at a time."""
        place = bisect_right(self.stamps_ns, stamp_ns)
        return self.findings[place - 1] if place else ()

    def of_frame(self, stamp_ns: int, missing: Mapping[str, str]) -> tuple[Finding, ...]:
        """Return the faults of the sensors of a frame, and of those that it left out for theirs.

        Args:
            stamp_ns: of the frame.
            missing: sensor -> why the frame lacks it.
        """
        left_out = {(name, fault) for name, why in missing.items() for fault in _left_out(why)}
        bad = {name for name, _ in left_out}
        told = [
            one
            for one in self.at(stamp_ns)
            if one.sensor in bad or (one.sensor not in missing and not one.is_certain)
        ]
        untold = left_out - {(one.sensor, one.fault) for one in told}
        return (
            *told,
            *(
                Finding(sensor=name, fault=fault, since_ns=stamp_ns, is_certain=fault in CERTAIN)
                for name, fault in sorted(untold)
            ),
        )


def read_faults(
    recording: Path, sensors: Collection[str], topic: str = DIAGNOSTICS_TOPIC
) -> FaultsTold:
    """Return the faults of sensors that the node told in a recording.

    Args:
        recording: of the node's outputs.
        sensors: names of the sensor set.
        topic: of the diagnostics.

    Raises:
        DataError: the recording is damaged or has no such topic.
    """
    with open_bag(recording) as bag:
        return faults_told((bag.decode(message) for message in bag.messages([topic])), sensors)


def faults_told(messages: Iterable[Any], sensors: Collection[str]) -> FaultsTold:
    """Return the faults of sensors that messages tell.

    Args:
        messages: `diagnostic_msgs/DiagnosticArray` in the order of their sending; those of other
            nodes are passed over.
        sensors: names of the sensor set.
    """
    told: dict[int, tuple[Finding, ...]] = {}
    since_ns: dict[tuple[str, str], int] = {}
    for message in messages:
        statuses = {str(one.name): str(one.message) for one in message.status}
        if not any(name.startswith(_NODE) for name in statuses):
            continue
        stamp_ns = int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
        found = tuple(
            finding
            for name in sensors
            for finding in _findings(name, statuses.get(f"{_NODE}{name}", ""), stamp_ns, since_ns)
        )
        since_ns = {(one.sensor, one.fault): one.since_ns for one in found}
        told[stamp_ns] = found
    stamps_ns = tuple(sorted(told))
    return FaultsTold(stamps_ns=stamps_ns, findings=tuple(told[one] for one in stamps_ns))


def _findings(
    sensor: str, sentence: str, stamp_ns: int, since_ns: Mapping[tuple[str, str], int]
) -> Iterator[Finding]:
    """Yield the faults in the sentence of a sensor's status; other troubles are none of them.

    Args:
        sensor: whose.
        sentence: of its status.
        stamp_ns: when it was told.
        since_ns: (sensor, fault) -> when it was told first, of those that were told just before.
    """
    use = _USE.search(sentence)
    if use is None:
        return
    parts = _FAULT.split(sentence[: use.start()])
    for fault, remedy in zip(parts[1::2], parts[2::2], strict=True):
        yield Finding(
            sensor=sensor,
            fault=fault,
            since_ns=since_ns.get((sensor, fault), stamp_ns),
            is_certain=fault in CERTAIN and use[1] != "still used",
            detail=remedy.removesuffix(REMEDIES[fault]).removesuffix("; "),
        )


def _left_out(why: str) -> list[str]:
    """Return the faults for which a frame left a sensor out; none where it lacks it otherwise."""
    if not why.startswith(LEFT_OUT):
        return []
    return [fault for fault in why.removeprefix(LEFT_OUT).split(", ") if fault in REMEDIES]
