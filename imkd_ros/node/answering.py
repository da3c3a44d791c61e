# SPDX-License-Identifier: Apache-2.0
"""Frames in, boxes and statuses out, in a thread of its own: the newest frame wins."""

import time
from dataclasses import dataclass, replace

from imkd_core.errors import ImkdError
from imkd_core.health.degradation import REPLACED, Action, Policy, not_answered
from imkd_core.runtime.detector import Detector
from imkd_core.types import Detections, Frame, SensorRig
from imkd_ros.bridge.assembly import capped
from imkd_ros.bridge.decoding import PendingFrame
from imkd_ros.bridge.policy import Judged, judge, no_boxes, status_of
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.node.calibration import CalibrationAside
from imkd_ros.node.health import InferenceState
from imkd_ros.node.mosaic import Mosaic, Scene
from imkd_ros.node.outputs import Outputs
from imkd_ros.node.status import IDLE, StatusOutput
from imkd_ros.node.worker import NewestWorker

#: An empty array that stands for no frame is stamped with the time until which it is known that
#: nothing was measured: so long ago.
_BLIND_AGE_NS = 500_000_000


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A frame for the inference thread, with the rig it belongs to."""

    frame: PendingFrame
    rig: SensorRig
    sync_ms: float
    offered_s: float


class Answering:
    """Answers frames by the policy, and tells what became of each.

    Args:
        sensors: the sensor set.
        detector: answers a frame.
        class_names: of the model.
        watch: looks at the sensors of each frame.
        outputs: where answers go.
        status: where statuses go.
        state: of the node; counters are kept in it.
        policy: what is done at each level.
        max_boxes: published at most.
        mosaic: draws frames that were answered.
        calibration: watches them.

    Attributes:
        policy, max_boxes: as given; may be changed at any time.
    """

    def __init__(
        self,
        *,
        sensors: SensorSet,
        detector: Detector,
        class_names: tuple[str, ...],
        watch: SensorWatch,
        outputs: Outputs,
        status: StatusOutput,
        state: InferenceState,
        policy: Policy,
        max_boxes: int,
        mosaic: Mosaic,
        calibration: CalibrationAside,
    ) -> None:
        self._sensors = sensors
        self._detector = detector
        self._class_names = class_names
        self._watch = watch
        self._outputs = outputs
        self._status = status
        self._state = state
        self.policy = policy
        self.max_boxes = max_boxes
        self._mosaic = mosaic
        self._calibration = calibration
        self._worker: NewestWorker[_Job] | None = None
        self._newest_ns = 0

    def start(self) -> None:
        """Start the thread."""
        self._state.refusal = self._state.withheld = ""
        self._newest_ns = 0
        self._status.start()
        self._worker = NewestWorker(self._work, self._on_refusal, "imkd_inference")

    def stop(self) -> None:
        """Let the frame in hand finish, drop the one that waits, and join the threads."""
        worker, self._worker = self._worker, None
        waiting = None if worker is None else worker.stop()
        if waiting is not None:
            self._tell(waiting.frame, not_answered("the node was deactivated"))
        self._mosaic.stop()
        self._calibration.stop()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._worker is not None:
            self._worker.check()
        self._mosaic.check()
        self._calibration.check()

    def offer(self, frame: PendingFrame, rig: SensorRig, now_ns: int) -> None:
        """Take in the next frame.

        Args:
            frame: the newest one.
            rig: calibration that it belongs to.
            now_ns: time now.
        """
        self._state.frames_in += 1
        if self._worker is None:
            return
        if not self._outputs.has_subscriber:
            self._tell(frame, IDLE)
            return
        job = _Job(
            frame=frame,
            rig=rig,
            sync_ms=(now_ns - frame.stamp_ns) * 1e-6,
            offered_s=time.perf_counter(),
        )
        replaced = self._worker.offer(job)
        if replaced is not None:
            self._state.frames_replaced += 1
            self._tell(replaced.frame, REPLACED)

    def publish_blind(self, now_ns: int) -> bool:
        """Publish an empty array while there is no frame, where the policy wants one.

        Returns:
            Whether it does.
        """
        if self.policy.blind != Action.PUBLISH_EMPTY or now_ns <= _BLIND_AGE_NS:
            return False
        stamp_ns = now_ns - _BLIND_AGE_NS
        if stamp_ns > self._newest_ns or now_ns < self._newest_ns:  # the clock went back
            self._publish(no_boxes(stamp_ns, self._class_names))
        return True

    def _tell(self, frame: PendingFrame, outcome: str) -> None:
        self._status.tell(status_of(frame, self._sensors, outcome))

    def _publish(self, detections: Detections) -> float:
        self._newest_ns = detections.stamp_ns
        return self._outputs.publish(detections)

    def _work(self, job: _Job) -> None:
        """Answer one frame; runs in the inference thread."""
        self._state.is_answering = True
        begin_s = time.perf_counter()
        judged = None
        try:
            judged = judge(job.frame, self._watch, self._sensors, self.policy)
            images_ms = (time.perf_counter() - begin_s) * 1e3
            self._detector.set_rig(job.rig)
            detections = judged.answered(self._detector.detect, self._class_names)
        except ImkdError as error:
            known = status_of(job.frame, self._sensors, "") if judged is None else judged.status
            self._status.tell(replace(known, outcome=not_answered(str(error))))
            raise
        finally:
            self._state.is_answering = False
        self._state.refusal = ""
        if judged.action != Action.PUBLISH or detections is None:
            self._withhold(job, judged, detections)
        else:
            self._finish(job, judged, detections, begin_s, images_ms)

    def _finish(
        self, job: _Job, judged: Judged, detections: Detections, begin_s: float, images_ms: float
    ) -> None:
        """Publish an answer and what it took."""
        published = capped(detections, self.max_boxes)
        publish_ms = self._publish(published)
        stage_ms = {
            "sync": job.sync_ms,
            "queue": (begin_s - job.offered_s) * 1e3,
            "images": images_ms,
            **detections.stage_ms,
            "publish": publish_ms,
            "total": job.sync_ms + (time.perf_counter() - job.offered_s) * 1e3,
        }
        self._state.latency.add(stage_ms)
        self._state.frames_out += 1
        self._state.withheld = ""
        self._status.tell(judged.status)
        self._outputs.publish_latency(stage_ms, detections.stamp_ns)
        self._outputs.publish_annotations(job.frame, job.rig, published)
        if judged.frame is None:
            return
        self._calibration.offer(judged.frame, job.rig)
        if self._mosaic.is_due:
            self._mosaic.offer(self._scene(judged.frame, judged, detections, job.rig))

    def _scene(self, frame: Frame, judged: Judged, detections: Detections, rig: SensorRig) -> Scene:
        findings = (*self._watch.findings, *self._calibration.findings)
        suspect = {one.sensor: one.fault for one in findings}
        missing = judged.status.missing
        return Scene(frame=frame, rig=rig, detections=detections, missing=missing, suspect=suspect)

    def _withhold(self, job: _Job, judged: Judged, empty: Detections | None) -> None:
        """Do with a frame that is not answered what the policy says."""
        if empty is not None:
            self._publish(empty)
        self._state.frames_withheld += 1
        self._state.withheld = judged.status.outcome
        self._status.tell(judged.status)
        nothing = no_boxes(job.frame.stamp_ns, self._class_names)
        self._outputs.publish_annotations(job.frame, job.rig, nothing)

    def _on_refusal(self, error: ImkdError) -> None:
        """A frame could not be answered; runs in the inference thread."""
        self._state.refusal = str(error)
