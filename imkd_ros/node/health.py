# SPDX-License-Identifier: Apache-2.0
"""What is well and what is not, sensor by sensor, with the remedy. No ROS in here.

`diagnostics` makes messages of the `Status` values. Levels are those of diagnostic_msgs.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from imkd_core.health.faults import Finding
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.bridge.tally import FRAMES, NO_MOTION, Problem
from imkd_ros.node.latency import LatencyWindow, latency_status
from imkd_ros.node.motion_status import MotionWatch
from imkd_ros.node.verdicts import ERROR, OK, WARN, Status

#: A drop keeps its sensor at WARN for so long.
_DROP_MEMORY_NS = 3_000_000_000

#: Span over which rates are measured.
_RATE_SPAN_NS = 5_000_000_000


@dataclass(kw_only=True)
class InferenceState:
    """What the node knows of its own work; written by the node, read here.

    Attributes:
        is_active: sensors are listened to.
        has_subscriber: somebody listens, so that frames are inferred.
        frames_in: frames that the synchroniser gave.
        frames_out: frames that were answered.
        frames_replaced: frames that a newer one replaced while inference was busy.
        frames_withheld: frames that the policy, or the lack of any usable sensor, left unanswered.
        refusal: why the last frame was not answered; empty when it was.
        latency: of the last frames.
        is_time_standing: the clock gives 0: sim time without a /clock.
        findings: faults of the sensors of the last frame looked at, and of the calibration.
        masked: sensors that were left out of it.
        judged: sensors whose calibration driving has told enough about.
        substitution: why another backend runs the model than was asked for; empty = none does.
        withheld: what the policy did with the last frame instead of answering it; empty = nothing.
        is_answering: a frame is being answered.
    """

    is_active: bool = False
    has_subscriber: bool = False
    frames_in: int = 0
    frames_out: int = 0
    frames_replaced: int = 0
    frames_withheld: int = 0
    refusal: str = ""
    latency: LatencyWindow = field(default_factory=LatencyWindow)
    is_time_standing: bool = False
    findings: tuple[Finding, ...] = ()
    masked: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    substitution: str = ""
    withheld: str = ""
    is_answering: bool = False


class HealthMonitor:
    """Judges all parts from counters that others keep.

    Args:
        sensors: the sensor set.
        timeout_ns: silence after which a sensor counts as lost in any case; one whose period is
            known does after three of its periods, or twice what is usual of it.
        latency_warn_ms: median of the whole latency that is a warning.
        motion_needs: what becomes wrong without ego motion, in words.
    """

    def __init__(
        self,
        sensors: SensorSet,
        timeout_ns: int,
        latency_warn_ms: float,
        motion_needs: Sequence[str] = (),
    ) -> None:
        self._sensors = sensors
        self.timeout_ns = timeout_ns
        self.latency_warn_ms = latency_warn_ms
        self._active_since_ns: int | None = None
        self._history: dict[str, deque[tuple[int, int, int]]] = {}
        self._jumps: dict[str, int] = {}
        self._problems: dict[str, tuple[int, Problem]] = {}
        self._qos: dict[str, str] = {}
        self._motion = MotionWatch(motion_needs)

    def note_problems(self, problems: Iterable[Problem], now_ns: int) -> None:
        """Remember the last problem of each sensor for a while."""
        for problem in problems:
            if problem.reason == NO_MOTION:
                self._motion.note(problem.text, now_ns)
            else:
                self._problems[problem.sensor] = (now_ns, problem)

    def note_qos(self, name: str, text: str) -> None:
        """Remember that a topic's publisher or subscriber cannot be talked to, and the remedy."""
        self._qos[name] = text

    def start(self, now_ns: int) -> None:
        """The node became active; sensors are missed only after `timeout_ns` from now on."""
        self._active_since_ns = now_ns

    def evaluate(
        self,
        pipeline: Pipeline,
        state: InferenceState,
        now_ns: int,
        *,
        with_details: bool = True,
    ) -> list[Status]:
        """Return the status of every part, the whole first.

        Args:
            pipeline: what arrived and what was dropped.
            state: of the node.
            now_ns: time now.
            with_details: have all values; without them levels and sentences alone hold, which is
                cheaper.
        """
        since_ns = self._active_since_ns
        if since_ns is not None and (since_ns == 0 or now_ns < since_ns):
            self.start(now_ns)  # simulated time has begun, or gone back
        sensors = [self._sensor(name, pipeline, state, now_ns) for name in self._sensors.names]
        return [
            self._frames(pipeline, state, now_ns),
            self._calibration(pipeline, state, now_ns),
            latency_status(state.latency, self.latency_warn_ms, with_details=with_details),
            *_substitution(state),
            *self._others(now_ns),
            *sensors,
        ]

    def _is_lost(self, name: str, pipeline: Pipeline, now_ns: int) -> bool:
        newest = pipeline.tally.newest.get(name)
        if newest is None or newest[1] < (self._active_since_ns or 0):
            return not self._is_starting(now_ns)
        return pipeline.tally.is_silent(name, now_ns, self.timeout_ns)

    def _is_starting(self, now_ns: int) -> bool:
        """Whether the node became active so lately that nothing is missed yet."""
        since_ns = self._active_since_ns
        return since_ns is not None and 0 <= now_ns - since_ns <= self.timeout_ns

    def _frames(self, pipeline: Pipeline, state: InferenceState, now_ns: int) -> Status:
        lost = [n for n in self._sensors.names if self._is_lost(n, pipeline, now_ns)]
        bad = state.masked if state.has_subscriber else frozenset()
        masked = [
            n for n in self._sensors.names if n in lost or n in pipeline.uncalibrated or n in bad
        ]
        counts = pipeline.counters.get(FRAMES, {})
        values = {
            "cameras": _share(self._sensors.cameras, masked),
            "radars": _share(self._sensors.radars, masked),
            "masked": ", ".join(masked),
            "frames in": str(state.frames_in),
            "frames out": str(state.frames_out),
            "frames replaced by newer": str(state.frames_replaced),
            "frames withheld": str(state.frames_withheld),
            "subscribers": "yes" if state.has_subscriber else "none: nothing is inferred",
            **{f"dropped: {reason}": str(count) for reason, count in counts.items()},
        }
        level, message = self._frames_verdict(masked, state, now_ns)
        return Status(name="frames", level=level, message=message, values=values)

    def _frames_verdict(
        self, masked: list[str], state: InferenceState, now_ns: int
    ) -> tuple[int, str]:
        cameras = self._sensors.cameras
        rules = (
            (
                state.is_time_standing,
                ERROR,
                "time stands still: use_sim_time is set and nobody publishes /clock; play the "
                "bag with its clock, or set use_sim_time to false",
            ),
            (not state.is_active, OK, "not active"),
            (bool(state.refusal), ERROR, state.refusal),
            (bool(masked) and self._is_starting(now_ns), OK, "waiting for sensors"),
            (
                bool(cameras) and all(name in masked for name in cameras),
                ERROR,
                "no camera: see the status of each camera for what to do",
            ),
            (
                bool(masked),
                WARN,
                f"running without {', '.join(masked)}: see their status for what to do",
            ),
            (not state.has_subscriber, OK, "nobody listens: nothing is inferred"),
        )
        verdicts = ((level, message) for holds, level, message in rules if holds)
        level, message = next(verdicts, (OK, "all sensors are in use"))
        return level, f"{message} ({state.withheld})" if state.withheld and level else message

    def _calibration(self, pipeline: Pipeline, state: InferenceState, now_ns: int) -> Status:
        lacking = pipeline.uncalibrated
        rig = pipeline.rig
        in_rig = [*rig.cameras, *rig.radars]
        values = {
            "in the rig": ", ".join(in_rig),
            "judged by driving": ", ".join(n for n in in_rig if n in state.judged),
            **lacking,
        }
        if not lacking:
            return Status(name="calibration", level=OK, message="complete", values=values)
        if not state.is_active or self._is_starting(now_ns):
            text = f"waiting for the calibration of {len(lacking)} sensors"
            return Status(name="calibration", level=OK, message=text, values=values)
        names, first = ", ".join(lacking), next(iter(lacking))
        return Status(
            name="calibration",
            level=WARN if rig.cameras or rig.radars else ERROR,
            message=f"not calibrated: {names}; {first}: {lacking[first]}",
            values=values,
        )

    def _others(self, now_ns: int) -> list[Status]:
        """Return what concerns no sensor: TF, ego motion, QoS of outputs."""
        statuses = []
        told_elsewhere = (*self._sensors.names, FRAMES)  # see `_frames`
        for name, (when_ns, problem) in self._problems.items():
            if name not in told_elsewhere and _is_recent(when_ns, now_ns):
                statuses.append(Status(name=name, level=WARN, message=problem.text))
        statuses.append(self._motion.status(now_ns))
        foreign = {
            name: text for name, text in self._qos.items() if name not in self._sensors.names
        }
        statuses += [
            Status(name=f"qos {name}", level=WARN, message=text) for name, text in foreign.items()
        ]
        return statuses

    def _sensor(self, name: str, pipeline: Pipeline, state: InferenceState, now_ns: int) -> Status:
        self._note_jumps(name, pipeline, now_ns)
        level, message = OK, "ok" if state.is_active else "not active"
        if state.is_active:
            level, message = self._sensor_verdict(name, pipeline, now_ns)
        if state.is_active and state.has_subscriber and level == OK:
            level, message = _fault_verdict(name, state)
        values = self._sensor_values(name, pipeline, now_ns)
        return Status(name=name, level=level, message=message, values=values)

    def _sensor_values(self, name: str, pipeline: Pipeline, now_ns: int) -> dict[str, str]:
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

    def _note_jumps(self, name: str, pipeline: Pipeline, now_ns: int) -> None:
        rhythm = pipeline.tally.rhythms.get(name)
        jumps = 0 if rhythm is None else rhythm.jumps
        if jumps > self._jumps.get(name, 0):
            text = (
                "its stamps left the clock by more than half a second; synchronise the clocks "
                "(PTP, NTP), and see whether its driver was started again"
            )
            self.note_problems([Problem(sensor=name, reason="stamps jumped", text=text)], now_ns)
        self._jumps[name] = jumps

    def _sensor_verdict(self, name: str, pipeline: Pipeline, now_ns: int) -> tuple[int, str]:
        when_ns, problem = self._problems.get(name, (0, None))
        is_recent = problem is not None and _is_recent(when_ns, now_ns)
        if name in self._qos and self._is_lost(name, pipeline, now_ns):
            return WARN, self._qos[name]
        if problem is not None and is_recent and problem.reason != "uncalibrated":
            return WARN, f"{problem.reason}: {problem.text}"
        if self._is_lost(name, pipeline, now_ns):
            topic = self._topic(name)
            state = "silent" if name in pipeline.tally.newest else "no message yet"
            return WARN, (
                f"{state} on {topic}; check that the driver runs (ros2 topic hz {topic}) and that "
                "the sensor file names its topic"
            )
        if name in pipeline.uncalibrated and not self._is_starting(now_ns):
            return WARN, pipeline.uncalibrated[name]
        return OK, "ok"

    def _topic(self, name: str) -> str:
        camera = self._sensors.cameras.get(name)
        return self._sensors.radars[name].points if camera is None else camera.image

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


def _is_recent(when_ns: int, now_ns: int) -> bool:
    """Whether a problem is still told; not where the clock went back behind it."""
    return abs(now_ns - when_ns) < _DROP_MEMORY_NS


def _fault_verdict(name: str, state: InferenceState) -> tuple[int, str]:
    """Return what a sensor that sends shows to be wrong with it."""
    found = [finding for finding in state.findings if finding.sensor == name]
    if not found:
        return OK, "ok"
    use = "left out of the frames" if name in state.masked else "still used"
    texts = "; ".join(f"{finding.fault}: {finding.remedy}" for finding in found)
    return WARN, f"{texts} ({use})"


def _substitution(state: InferenceState) -> list[Status]:
    """Return a warning if another backend runs the model than was asked for; it stays."""
    if not state.substitution:
        return []
    message = (
        f"{state.substitution}; it stays so until the node is cleaned up and configured again, "
        "which tries the wanted backend anew"
    )
    return [Status(name="backend", level=WARN, message=message)]


def _share(names: Iterable[str], masked: list[str]) -> str:
    """Return "5/6"."""
    all_names = list(names)
    return f"{sum(name not in masked for name in all_names)}/{len(all_names)}"
