# SPDX-License-Identifier: Apache-2.0
"""What is well and what is not, sensor by sensor, with the remedy. No ROS in here.

`diagnostics` makes messages of the `Status` values. Levels are those of diagnostic_msgs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imkd_core.health.degradation import MISSING_CORRUPT
from imkd_core.health.faults import Finding
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.bridge.tally import FRAMES, NO_MOTION, Problem
from imkd_ros.node.latency import LatencyWindow, latency_status
from imkd_ros.node.left_out import LeftOut
from imkd_ros.node.motion_status import MotionWatch
from imkd_ros.node.problems import RecentProblems
from imkd_ros.node.sensor_status import Look, SensorJudge
from imkd_ros.node.stamp_age import StampAges
from imkd_ros.node.verdicts import ERROR, OK, WARN, Reason, Status, joined


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
        corrupt: sensor -> why, of those whose images of the last frame could not be decoded.
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
    corrupt: Mapping[str, str] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()
    substitution: str = ""
    withheld: str = ""
    is_answering: bool = False

    def note_missing(self, missing: Mapping[str, str]) -> None:
        """Take note of what a frame that was looked at lacks.

        Args:
            missing: sensor -> why.
        """
        self.corrupt = {name: why for name, why in missing.items() if why == MISSING_CORRUPT}


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
        self._problems = RecentProblems()
        self._judge = SensorJudge(sensors, self._problems)
        self._left_out = LeftOut()
        self._ages = StampAges()
        self._qos: dict[str, str] = {}
        self._motion = MotionWatch(motion_needs)

    def note_problems(self, problems: Iterable[Problem], now_ns: int) -> None:
        """Remember the last problem of each sensor and kind for a while."""
        for problem in problems:
            if problem.reason == NO_MOTION:
                self._motion.note(problem.text, now_ns)
            else:
                self._problems.note(problem, now_ns)

    def note_frame(self, missing: Mapping[str, str], now_ns: int) -> None:
        """Take note of a frame that goes out.

        Args:
            missing: sensor -> why it is not in the frame.
            now_ns: time now.
        """
        self._left_out.note(missing, now_ns)

    def note_qos(self, name: str, text: str) -> None:
        """Remember that a topic's publisher or subscriber cannot be talked to, and the remedy."""
        self._qos[name] = text

    def forget_qos(self, name: str) -> None:
        """Whoever could not be talked to is gone."""
        self._qos[name] = ""

    def start(self, now_ns: int) -> None:
        """The node became active; sensors are missed only after `timeout_ns` from now on."""
        self._active_since_ns = now_ns
        self._left_out.clear()

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
        look = self._look(pipeline, state, now_ns)
        sending = [name for name in self._sensors.names if name not in look.lost]
        are_old = bool(sending) and all(name in look.clocks for name in sending)
        return [
            self._frames(pipeline, state, look),
            self._calibration(pipeline, state, now_ns),
            latency_status(
                state.latency,
                self.latency_warn_ms,
                with_details=with_details,
                are_stamps_old=are_old,
            ),
            *_substitution(state),
            *self._others(now_ns),
            *(self._judge.status(name, pipeline, look) for name in self._sensors.names),
        ]

    def _look(self, pipeline: Pipeline, state: InferenceState, now_ns: int) -> Look:
        lost = frozenset(n for n in self._sensors.names if self._is_lost(n, pipeline, now_ns))
        is_starting = self._is_starting(now_ns)
        tally = pipeline.tally
        return Look(
            now_ns=now_ns,
            is_active=state.is_active,
            is_starting=is_starting,
            has_subscriber=state.has_subscriber,
            lost=lost,
            left_out={} if is_starting else self._left_out.found(tally, now_ns),
            clocks=self._ages.stale(tally.newest, lost, now_ns),
            qos=self._qos,
            findings=state.findings,
            masked=state.masked if state.has_subscriber else frozenset(),
        )

    def _is_lost(self, name: str, pipeline: Pipeline, now_ns: int) -> bool:
        newest = pipeline.tally.newest.get(name)
        if newest is None or newest[1] < (self._active_since_ns or 0):
            return not self._is_starting(now_ns)
        return pipeline.tally.is_silent(name, now_ns, self.timeout_ns)

    def _is_starting(self, now_ns: int) -> bool:
        """Whether the node became active so lately that nothing is missed yet."""
        since_ns = self._active_since_ns
        return since_ns is not None and 0 <= now_ns - since_ns <= self.timeout_ns

    def _frames(self, pipeline: Pipeline, state: InferenceState, look: Look) -> Status:
        told_elsewhere = {*look.lost, *pipeline.uncalibrated}
        masked = {*told_elsewhere, *look.masked, *look.left_out}
        without = [name for name in self._sensors.names if name in masked]
        counts = pipeline.counters.get(FRAMES, {})
        values = {
            "cameras": _share(self._sensors.cameras, without),
            "radars": _share(self._sensors.radars, without),
            "masked": ", ".join(without),
            "frames in": str(state.frames_in),
            "frames out": str(state.frames_out),
            "frames replaced by newer": str(state.frames_replaced),
            "frames withheld": str(state.frames_withheld),
            "subscribers": "yes" if state.has_subscriber else "none: nothing is inferred",
            **{f"dropped: {reason}": str(count) for reason, count in counts.items()},
        }
        reasons = {n: f"{n} ({w})" for n, w in look.left_out.items() if n not in told_elsewhere}
        named = [reasons.get(name, name) for name in without]
        level, kind, message = self._frames_verdict(without, named, state, look)
        if state.withheld and level:
            message = f"{message} ({state.withheld})"
        return Status(name="frames", level=level, message=message, values=values, kind=kind)

    def _frames_verdict(
        self, without: Collection[str], named: Sequence[str], state: InferenceState, look: Look
    ) -> tuple[int, str, str]:
        """Return level, kind and sentence.

        Args:
            without: names of the sensors that frames do not have.
            named: the same, with the reasons that frames give.
            state: of the node.
            look: what is known of all sensors.
        """
        cameras = self._sensors.cameras
        rules = (
            (
                state.is_time_standing,
                ERROR,
                "time",
                "time stands still: use_sim_time is set and nobody publishes /clock; play the "
                "bag with its clock, or set use_sim_time to false",
            ),
            (not state.is_active, OK, "not active", "not active"),
            (bool(state.refusal), ERROR, "refusal", state.refusal),
            (bool(without) and look.is_starting, OK, "starting", "waiting for sensors"),
            (
                bool(cameras) and all(name in without for name in cameras),
                ERROR,
                "no camera",
                "no camera: see the status of each camera for what to do",
            ),
            (
                bool(without),
                WARN,
                f"without {', '.join(without)}",
                f"running without {', '.join(named)}: see their status for what to do",
            ),
            (not state.has_subscriber, OK, "idle", "nobody listens: nothing is inferred"),
        )
        verdicts = ((level, kind, message) for holds, level, kind, message in rules if holds)
        return next(verdicts, (OK, "", "all sensors are in use"))

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
            kind=names,
        )

    def _others(self, now_ns: int) -> list[Status]:
        """Return what concerns no sensor: TF, ego motion, QoS of outputs."""
        statuses = []
        told_elsewhere = (*self._sensors.names, FRAMES)  # see `_frames`
        for name in self._problems.sensors:
            recent = [] if name in told_elsewhere else self._problems.of(name, now_ns)
            if recent:
                reasons = [Reason(kind=one.reason, text=one.text) for one in recent]
                statuses.append(joined(name, reasons, "", {}))
        statuses.append(self._motion.status(now_ns))
        for name, text in self._qos.items():
            if name not in self._sensors.names:
                reasons = [Reason(kind=text, text=text)] if text else []
                statuses.append(joined(f"qos {name}", reasons, "ok: what did not fit is gone", {}))
        return statuses


def _substitution(state: InferenceState) -> list[Status]:
    """Return a warning if another backend runs the model than was asked for; it stays."""
    if not state.substitution:
        return []
    message = (
        f"{state.substitution}; it stays so until the node is cleaned up and configured again, "
        "which tries the wanted backend anew, or its process started again where the reason says so"
    )
    return [Status(name="backend", level=WARN, message=message)]


def _share(names: Collection[str], without: Collection[str]) -> str:
    """Return "5/6"."""
    return f"{sum(name not in without for name in names)}/{len(names)}"
