# SPDX-License-Identifier: Apache-2.0
"""What lives from `configure` to `cleanup`: pipeline, model, topics, inference thread, health."""

import time
from dataclasses import replace
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from imkd_core.health.degradation import Action, Level, outcome_of
from imkd_core.resources import bundle_folder, sensors_file
from imkd_core.runtime.backends import open_backend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.detector import Detector
from imkd_core.types import CameraImage
from imkd_ros.bridge.assembly import backend_settings, pipeline_settings, thresholds
from imkd_ros.bridge.calibration_watch import CalibrationWatch
from imkd_ros.bridge.decoding import PendingFrame
from imkd_ros.bridge.motion_needs import motion_needs
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.policy import policy_of
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import load_sensor_set
from imkd_ros.bridge.tally import FRAMES, Problem
from imkd_ros.node.answering import Answering
from imkd_ros.node.calibration import CalibrationAside
from imkd_ros.node.diagnostics import HealthOutput
from imkd_ros.node.health import HealthMonitor, InferenceState
from imkd_ros.node.inputs import Inputs, wanted_types
from imkd_ros.node.memory_status import memory_status
from imkd_ros.node.mosaic import Mosaic
from imkd_ros.node.outputs import Outputs
from imkd_ros.node.qos_watch import QosWatch
from imkd_ros.node.status import StatusOutput, without_frame
from imkd_ros.node.throttle import Throttle
from imkd_ros.node.verdicts import Status

#: How often deadlines are looked at while a frame waits, seconds.
POLL_S = 0.01

#: How often health is judged; it is published when a level changed or the period is over.
HEALTH_S = 0.1

#: A clock that goes back by so much has jumped.
JUMP_NS = 500_000_000

#: Simulated time has so long to begin before it is missed, seconds.
CLOCK_S = 3.0

#: At most one warning per sensor and reason in this time, seconds.
WARNING_S = 5.0


class Session:
    """One configured node. `Session(node, settings)` opens everything, `close` gives it back.

    Args:
        node: the lifecycle node.
        settings: its parameters.

    Raises:
        ImkdError: the sensor file, the bundle or the backend is refused; nothing stays open.
    """

    def __init__(self, node: LifecycleNode, settings: NodeSettings) -> None:
        self._node = node
        self._log = node.get_logger()
        self._settings = settings
        policy = policy_of(settings)
        self._sensors = sensors = load_sensor_set(sensors_file(settings.text("sensors_file")))
        self._bundle = load_bundle(bundle_folder(settings.text("model.bundle")))
        self._pipeline = Pipeline(
            sensors, pipeline_settings(settings, sensors, self._bundle.inputs), self._look_ahead
        )
        limits = thresholds(settings, self._bundle)
        self._state = InferenceState()
        self._backend = open_backend(
            self._bundle, backend_settings(settings, len(sensors.cameras)), self._log.info
        )
        self._detector = Detector(
            self._bundle,
            self._backend,
            self._pipeline.rig,
            limits,
            remembers=settings.flag("model.memory"),
        )
        self._health = HealthMonitor(
            sensors,
            settings.nanoseconds("diagnostics.sensor_timeout_sec"),
            settings.number("diagnostics.latency_warn_ms"),
            motion_needs(sensors, self._bundle.inputs, settings.flag("model.memory")),
        )
        self._watch = SensorWatch(self._pipeline.tally, settings.flag("health.mask_bad_sensors"))
        self._calibration = CalibrationAside(
            CalibrationWatch(settings.flag("health.watch_calibration")), self._log.error
        )
        self._throttle = Throttle(WARNING_S)
        self._judged_ns = 0
        self._clock_due_s = self._looked_s = 0.0
        self._open_topics()
        self._answering = Answering(
            sensors=sensors,
            detector=self._detector,
            class_names=self._bundle.head.class_names,
            watch=self._watch,
            outputs=self._outputs,
            status=self._status,
            state=self._state,
            policy=policy,
            max_boxes=settings.count("post.max_boxes"),
            mosaic=self._mosaic,
            calibration=self._calibration,
        )

    def _open_topics(self) -> None:
        node, settings = self._node, self._settings
        odometry_topic = settings.text("ego_motion.odometry_topic")
        self._qos = QosWatch(node, wanted_types(self._sensors, odometry_topic))
        self._outputs = Outputs(
            node, settings.text("base_frame"), self._bundle.name, self._sensors, self._on_qos
        )
        self._status = StatusOutput(node, self._bundle.name, self._on_qos)
        self._mosaic = Mosaic(
            is_wanted=lambda: self._outputs.wants_mosaic,
            publish=self._outputs.publish_mosaic,
            log=self._log.error,
            rate_hz=settings.number("debug.mosaic_rate_hz"),
            tile_width_px=settings.count("debug.mosaic_tile_width_px"),
        )
        self._diagnostics = HealthOutput(node, self._bundle.name)
        self._inputs = Inputs(
            node,
            self._sensors,
            settings.count("input.queue_depth"),
            odometry_topic,
            self._on_message,
            self._on_qos,
        )
        self._inputs.open_calibration()
        # Timers on the steady clock: they must run while a simulated clock stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._health_timer = node.create_timer(HEALTH_S, self._on_health, clock=self._steady)
        self._poll_timer: Any = None

    @property
    def description(self) -> str:
        """One line for the log."""
        return f"model '{self._bundle.name}' on {self._backend.name}"

    def activate(self) -> None:
        """Start to listen and to infer."""
        self._state.is_active = True
        self._health.start(self._now_ns())
        self._clock_due_s = self._steady_s() + CLOCK_S
        self._answering.start()
        self._outputs.publish_labels(
            self._bundle.head.class_names, self._bundle.head.score_threshold
        )
        self._inputs.open_sensors()
        self._poll_timer = self._node.create_timer(POLL_S, self._on_poll, clock=self._steady)

    def deactivate(self) -> None:
        """Stop listening, let the frame in hand finish, join the thread."""
        self._state.is_active = False
        self._inputs.close_sensors()
        if self._poll_timer is not None:
            self._node.destroy_timer(self._poll_timer)
            self._poll_timer = None
        self._answering.stop()
        self._pipeline.reset()
        self._tell_unmade()
        self._watch.reset()
        self._detector.reset_memory("deactivated")

    def close(self) -> None:
        """Give everything back; the session is of no use afterwards."""
        self.deactivate()
        self._node.destroy_timer(self._health_timer)
        self._inputs.close()
        self._pipeline.close()
        self._outputs.close()
        self._status.close()
        self._diagnostics.close()
        self._backend.close()

    def reset(self) -> None:
        """Forget readings, ego motion and earlier frames."""
        self._pipeline.reset()
        self._tell_unmade()
        self._watch.reset()
        self._calibration.reset()
        self._detector.reset_memory("asked to")

    def apply(self, settings: NodeSettings) -> None:
        """Take parameters that changed at run time.

        Raises:
            ConfigError: a threshold names an unknown class or an impossible value.
        """
        self._detector.thresholds = thresholds(settings, self._bundle)
        self._health.timeout_ns = settings.nanoseconds("diagnostics.sensor_timeout_sec")
        self._health.latency_warn_ms = settings.number("diagnostics.latency_warn_ms")
        self._watch.masks_bad_sensors = settings.flag("health.mask_bad_sensors")
        self._calibration.want(settings.flag("health.watch_calibration"))
        self._answering.policy = policy_of(settings)
        self._answering.max_boxes = settings.count("post.max_boxes")
        self._mosaic.rate_hz = settings.number("debug.mosaic_rate_hz")
        self._mosaic.tile_width_px = settings.count("debug.mosaic_tile_width_px")
        self._settings = settings

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_message(self, topic: str, message: Any) -> None:
        now_ns = self._now_ns()
        self._offer(self._pipeline.on_message(topic, message, now_ns), now_ns)
        is_idle = self._poll_timer is not None and self._poll_timer.is_canceled()
        if is_idle and self._pipeline.next_deadline_ns is not None:
            self._poll_timer.reset()

    def _look_ahead(self, image: CameraImage) -> None:
        """Look at an image before its frame is whole; runs in a thread that decodes."""
        if self._state.is_active:
            self._answering.look_ahead(image)

    def _on_poll(self) -> None:
        """Send off the frames whose time is up; rest while none waits."""
        now_ns = self._now_ns()
        due_ns = self._pipeline.next_deadline_ns
        if due_ns is None:
            self._poll_timer.cancel()
        elif now_ns >= due_ns:
            self._offer(self._pipeline.poll(now_ns), now_ns)

    def _offer(self, frames: list[PendingFrame], now_ns: int) -> None:
        self._tell_unmade()
        for frame in frames:
            self._health.note_frame({**self._state.corrupt, **frame.missing}, now_ns)
            self._answering.offer(frame, self._pipeline.rig, now_ns)

    def _tell_unmade(self) -> None:
        """Tell of the frames that were due and did not come about."""
        for unmade in self._pipeline.take_unmade():
            self._status.tell_unmade(unmade)

    def _on_qos(self, name: str, text: str) -> None:
        self._health.note_qos(name, text)
        self._qos.note(name, self._steady_s())
        self._warn(Problem(sensor=name, reason="qos", text=text))

    def _warn(self, problem: Problem) -> None:
        if self._throttle.is_due((problem.sensor, problem.reason), self._steady_s()):
            self._log.warning(f"{problem.sensor}: {problem.reason}: {problem.text}")

    def _steady_s(self) -> float:
        return time.monotonic()

    def _on_health(self) -> None:
        """Log what is new, judge, and publish when it is time or a level changed."""
        self._answering.check()
        now_ns = self._now_ns()
        self._watch_clock(now_ns)
        self._pipeline.refresh_calibration()
        for event in self._pipeline.take_events():
            self._log.info(event)
        problems = self._pipeline.tally.take_problems()
        if self._state.refusal:
            problems.append(Problem(sensor=FRAMES, reason="not answered", text=self._state.refusal))
        for problem in problems:
            self._warn(problem)
        self._health.note_problems(problems, now_ns)
        for name in self._qos.gone(self._steady_s()):
            self._health.forget_qos(name)
        self._state.has_subscriber = self._outputs.has_subscriber
        self._state.findings = (*self._watch.findings, *self._calibration.findings)
        self._state.masked, self._state.judged = self._watch.masked, self._calibration.judged
        self._state.substitution = self._backend.substitution
        self._state.is_time_standing = now_ns == 0 and self._steady_s() > self._clock_due_s
        if self._state.is_active:
            self._tell_silence(now_ns)
        now_s, period_s = self._steady_s(), self._settings.number("diagnostics.period_sec")
        is_due = self._diagnostics.is_due(now_s, period_s)
        statuses = self._statuses(now_ns, with_details=is_due)
        if not is_due and self._diagnostics.is_news(statuses):
            is_due, statuses = True, self._statuses(now_ns, with_details=True)
        if is_due:
            self._diagnostics.publish(statuses, now_s)

    def _watch_clock(self, now_ns: int) -> None:
        """Forget when sensors came, where the clock went back; they have a moment to come anew."""
        if now_ns < self._judged_ns - JUMP_NS:
            self._pipeline.tally.forget_after(now_ns)
            self._looked_s = 0.0
        self._judged_ns = now_ns

    def _tell_silence(self, now_ns: int) -> None:
        """Tell why no frame comes, where none came for a while or none can come any more."""
        before_s, self._looked_s = self._looked_s, self._steady_s()
        if self._looked_s - before_s > 2 * HEALTH_S:
            return  # this thread was held up, and messages wait
        last = self._status.level
        status = without_frame(
            self._pipeline,
            self._sensors,
            self._state,
            now_ns,
            timeout_ns=self._health.timeout_ns,
            last=last,
        )
        is_news = status.level == Level.BLIND and last != Level.BLIND
        if not self._status.is_due and not is_news:
            return
        if status.level == Level.BLIND and self._answering.publish_blind(now_ns):
            status = replace(status, outcome=outcome_of(Action.PUBLISH_EMPTY, Level.BLIND))
        self._status.tell(status)

    def _statuses(self, now_ns: int, *, with_details: bool) -> list[Status]:
        statuses = self._health.evaluate(
            self._pipeline, self._state, now_ns, with_details=with_details
        )
        return statuses + memory_status(self._detector.memory)
