# SPDX-License-Identifier: Apache-2.0
"""The status of one sensor: all that is not well with it, and its rates. No ROS in here."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from imkd_core.health.faults import Finding
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.bridge.tally import Problem
from imkd_ros.node.left_out import left_out_reason
from imkd_ros.node.problems import RecentProblems
from imkd_ros.node.verdicts import OK, Reason, Status, joined

#: Span over which rates are measured.
_RATE_SPAN_NS = 5_000_000_000

_UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of all sensors when they are judged.

    Attributes:
        now_ns: time now.
        is_active: sensors are listened to.
        is_starting: only since lately, so that nothing is missed yet.
        has_subscriber: somebody listens, so that pictures and scans are looked at.
        lost: sensors that are silent, or never came.
        left_out: sensor -> why frames have lacked it for a while.
        clocks: sensor -> what to tell of its old stamps.
        qos: sensor -> remedy, where a publisher of it cannot be talked to.
        findings: faults of the sensors, and of the calibration.
        masked: sensors that were left out for their faults.
    """

    now_ns: int
    is_active: bool
    is_starting: bool
    has_subscriber: bool
    lost: frozenset[str]
    left_out: Mapping[str, str]
    clocks: Mapping[str, Reason]
    qos: Mapping[str, str]
    findings: tuple[Finding, ...]
    masked: frozenset[str]


class SensorJudge:
    """Makes the statuses of sensors; remembers what rates and jumps are counted from.

    Args:
        sensors: the sensor set.
        problems: what went wrong of late; jumps of stamps are noted in it.
    """

    def __init__(self, sensors: SensorSet, problems: RecentProblems) -> None:
        self._sensors = sensors
        self._problems = problems
        self._history: dict[str, deque[tuple[int, int, int]]] = {}
        self._jumps: dict[str, int] = {}

    def status(self, name: str, pipeline: Pipeline, look: Look) -> Status:
        """Return the status of one sensor.

        Args:
            name: of the sensor.
            pipeline: what arrived and what was dropped.
            look: what is known of all sensors.
        """
        self._note_jumps(name, pipeline, look.now_ns)
        values = self._values(name, pipeline, look.now_ns)
        if not look.is_active:
            return Status(name=name, level=OK, message="not active", values=values)
        reasons = self._reasons(name, pipeline, look)
        return joined(name, reasons, "ok" if look.has_subscriber else self._unseen(name), values)

    def _unseen(self, name: str) -> str:
        what = "pictures" if name in self._sensors.cameras else "scans"
        return f"ok; its {what} are not looked at: nobody listens"

    def _reasons(self, name: str, pipeline: Pipeline, look: Look) -> list[Reason]:
        if name in look.lost:
            return self._absence(name, pipeline, look)
        found = self._recent(name, look.now_ns)
        if name in pipeline.uncalibrated:
            if not look.is_starting:
                found.append(Reason(kind=_UNCALIBRATED, text=pipeline.uncalibrated[name]))
        elif name in look.left_out:
            newest = pipeline.tally.newest.get(name)
            found.append(left_out_reason(look.left_out[name], newest))
        if name in look.clocks:
            found.append(look.clocks[name])
        return found + (_faults(name, look) if look.has_subscriber else [])

    def _absence(self, name: str, pipeline: Pipeline, look: Look) -> list[Reason]:
        """Return why nothing of a sensor arrives that could be used."""
        if look.qos.get(name):
            return [Reason(kind="qos", text=look.qos[name])]
        if recent := self._recent(name, look.now_ns):
            return recent
        topic = self._topic(name)
        kind = "silent" if name in pipeline.tally.newest else "no message yet"
        text = (
            f"{kind} on {topic}; check that the driver runs (ros2 topic hz {topic}) and that "
            "the sensor file names its topic"
        )
        return [Reason(kind=kind, text=text)]

    def _recent(self, name: str, now_ns: int) -> list[Reason]:
        return [
            Reason(kind=one.reason, text=f"{one.reason}: {one.text}")
            for one in self._problems.of(name, now_ns)
            if one.reason != _UNCALIBRATED  # told from what is missing now
        ]

    def _topic(self, name: str) -> str:
        camera = self._sensors.cameras.get(name)
        return self._sensors.radars[name].points if camera is None else camera.image

    def _note_jumps(self, name: str, pipeline: Pipeline, now_ns: int) -> None:
        rhythm = pipeline.tally.rhythms.get(name)
        jumps = 0 if rhythm is None else rhythm.jumps
        if jumps > self._jumps.get(name, 0):
            text = (
                "its stamps left the clock by more than half a second; synchronise the clocks "
                "(PTP, NTP), and see whether its driver was started again"
            )
            self._problems.note(Problem(sensor=name, reason="stamps jumped", text=text), now_ns)
        self._jumps[name] = jumps

    def _values(self, name: str, pipeline: Pipeline, now_ns: int) -> dict[str, str]:
        tally = pipeline.tally
        newest, rhythm = tally.newest.get(name), tally.rhythms.get(name)
        lost = 0 if rhythm is None else rhythm.lost
        rate_hz, loss = self._rates(name, tally.accepted.get(name, 0), lost, now_ns)
        values = {
            "rate Hz": f"{rate_hz:.1f}",
            "loss %": f"{100 * loss:.0f}",
            "received": str(tally.accepted.get(name, 0)),
            "lost": str(lost),
            "stamp jumps": "0" if rhythm is None else str(rhythm.jumps),
            **{f"dropped: {r}": str(n) for r, n in tally.drops.get(name, {}).items()},
        }
        if newest is not None:
            values["age ms"] = f"{(now_ns - newest[0]) / 1e6:.0f}"
        return values

    def _rates(self, name: str, count: int, lost: int, now_ns: int) -> tuple[float, float]:
        """Return readings a second, and the share of readings that was lost, of late."""
        history = self._history.setdefault(name, deque())
        if history and now_ns < history[-1][0]:
            history.clear()
        history.append((now_ns, count, lost))
        while now_ns - history[0][0] > _RATE_SPAN_NS:
            history.popleft()
        then_ns, count_then, lost_then = history[0]
        came, gone, span_ns = count - count_then, lost - lost_then, now_ns - then_ns
        rate_hz = came * 1e9 / span_ns if span_ns > 0 else 0.0
        return rate_hz, gone / (came + gone) if came + gone else 0.0


def _faults(name: str, look: Look) -> list[Reason]:
    """Return what a sensor that sends shows to be wrong with it."""
    found = [finding for finding in look.findings if finding.sensor == name]
    if not found:
        return []
    use = "left out of the frames" if name in look.masked else "still used"
    texts = "; ".join(f"{finding.fault}: {finding.remedy}" for finding in found)
    kinds = "+".join(finding.fault for finding in found)
    return [Reason(kind=f"{kinds} ({use})", text=f"{texts} ({use})")]
