# SPDX-License-Identifier: Apache-2.0
"""Frames in, boxes and statuses out: the newest frame wins.

Two threads take turns with a frame: one waits for its images, looks at the sensors and prepares the
network's inputs; the other infers, decodes and publishes. While the network looks at a frame the
next is prepared; a newer one that is ready before its turn takes its place.
"""

import threading
import time
from dataclasses import dataclass, replace

from imkd_core.errors import ImkdError
from imkd_core.health.degradation import REPLACED, Action, FrameStatus, Policy, not_answered
from imkd_core.runtime.detector import Detector, Prepared
from imkd_core.types import CameraImage, Detections, Frame, SensorRig
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
    """A frame to be answered, with the rig and the resets of the memory that it belongs to."""

    frame: PendingFrame
    rig: SensorRig
    resets: int
    sync_ms: float
    offered_s: float


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A frame for the inference thread.

    Attributes:
        job: as it was offered.
        judged: what is to be done with it.
        prepared: for the network; None where it is not asked.
        queue_ms: that it waited to be prepared.
        images_ms: that it waited for its images.
        ready_s: since when it waits for the network.
    """

    job: _Job
    judged: Judged
    prepared: Prepared | None
    queue_ms: float
    images_ms: float
    ready_s: float

    def status(self, outcome: str) -> FrameStatus:
        """Return its status with another outcome than was foreseen."""
        return replace(self.judged.status, outcome=outcome)


@dataclass(frozen=True, kw_only=True)
class _Refused:
    """A frame that could not be prepared, told when its turn comes, or would have come.

    It holds the words and not the error, whose traceback holds the frame's images.
    """

    job: _Job
    known: FrameStatus
    text: str

    def status(self, _outcome: str = "") -> FrameStatus:
        """Return its status, which nothing changes."""
        return replace(self.known, outcome=not_answered(self.text))


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
        self._preparing: NewestWorker[_Job] | None = None
        self._inferring: NewestWorker[_Ready | _Refused] | None = None
        self._in_hand = 0
        self._counting = threading.Lock()
        self._newest_ns = 0

    def start(self) -> None:
        """Start the threads."""
        self._state.refusal = self._state.withheld = ""
        self._state.note_missing({})
        self._state.is_answering = False
        self._in_hand = 0
        self._newest_ns = 0
        self._status.start()
        self._inferring = NewestWorker(self._answer, self._on_refusal, "imkd_inference")
        self._preparing = NewestWorker(self._prepare, self._on_refusal, "imkd_prepare")

    def stop(self) -> None:
        """Let the network's frame in hand finish, drop those that wait, and join the threads."""
        deactivated = not_answered("the node was deactivated")
        preparing, self._preparing = self._preparing, None
        waiting = None if preparing is None else preparing.stop()
        if waiting is not None:
            self._tell(waiting.frame, deactivated)
        inferring, self._inferring = self._inferring, None
        ready = None if inferring is None else inferring.stop()
        if ready is not None:
            self._drop(ready, deactivated)
        self._mosaic.stop()
        self._calibration.stop()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        for worker in (self._preparing, self._inferring):
            if worker is not None:
                worker.check()
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
        if self._preparing is None:
            return
        if not self._outputs.has_subscriber:
            self._state.note_missing({})
            self._tell(frame, IDLE)
            return
        job = _Job(
            frame=frame,
            rig=rig,
            resets=self._detector.resets,
            sync_ms=(now_ns - frame.stamp_ns) * 1e-6,
            offered_s=time.perf_counter(),
        )
        replaced = self._preparing.offer(job)
        if replaced is not None:
            self._count_replaced()
            self._tell(replaced.frame, REPLACED)

    def look_ahead(self, image: CameraImage) -> None:
        """Look at an image before its frame is whole; for the threads that decode.

        Not while nobody listens, as was known at the last look at the graph: this thread asks
        nothing of a middleware that may be about to end.
        """
        if self._state.has_subscriber:
            self._watch.look_ahead(image)

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

    def _prepare(self, job: _Job) -> None:
        """Make a frame ready and hand it over; runs in a thread of its own."""
        self._take_in_hand(1)
        ready = self._prepared(job)
        replaced = None if self._inferring is None else self._inferring.offer(ready)
        if replaced is not None:
            self._count_replaced()
            self._drop(replaced, REPLACED)

    def _drop(self, item: _Ready | _Refused, outcome: str) -> None:
        """Tell of a frame in hand that its turn does not come."""
        if isinstance(item, _Refused):
            self._state.refusal = item.text
        elif item.prepared is not None:
            self._detector.release(item.prepared)
        self._status.tell(item.status(outcome))
        self._take_in_hand(-1)

    def _prepared(self, job: _Job) -> _Ready | _Refused:
        begin_s = time.perf_counter()
        judged = prepared = None
        try:
            judged = judge(job.frame, self._watch, self._sensors, self.policy)
            images_ms = (time.perf_counter() - begin_s) * 1e3
            self._state.note_missing(judged.status.missing)
            self._detector.set_rig(job.rig)
            if judged.asked is not None:
                prepared = self._detector.prepare(judged.asked, job.resets)
        except ImkdError as error:
            known = status_of(job.frame, self._sensors, "") if judged is None else judged.status
            return _Refused(job=job, known=known, text=str(error))
        return _Ready(
            job=job,
            judged=judged,
            prepared=prepared,
            queue_ms=(begin_s - job.offered_s) * 1e3,
            images_ms=images_ms,
            ready_s=time.perf_counter(),
        )

    def _answer(self, item: _Ready | _Refused) -> None:
        """Do with one frame what is to be done; runs in the inference thread."""
        try:
            if isinstance(item, _Refused):
                self._status.tell(item.status())
                self._state.refusal = item.text
            else:
                self._answer_ready(item)
        finally:
            self._take_in_hand(-1)

    def _answer_ready(self, ready: _Ready) -> None:
        job, judged = ready.job, ready.judged
        queue_ms = ready.queue_ms + (time.perf_counter() - ready.ready_s) * 1e3
        if ready.prepared is None:
            detections = judged.unasked(self._class_names)
        else:
            try:
                detections = self._detector.answer(ready.prepared)
            except ImkdError as error:
                self._status.tell(ready.status(not_answered(str(error))))
                raise
        self._state.refusal = ""
        if judged.action != Action.PUBLISH or detections is None:
            self._withhold(job, judged, detections)
        else:
            self._finish(ready, detections, queue_ms)

    def _count_replaced(self) -> None:
        with self._counting:
            self._state.frames_replaced += 1

    def _take_in_hand(self, change: int) -> None:
        with self._counting:
            self._in_hand += change
            self._state.is_answering = self._in_hand > 0

    def _finish(self, ready: _Ready, detections: Detections, queue_ms: float) -> None:
        """Publish an answer and what it took."""
        job, judged = ready.job, ready.judged
        published = capped(detections, self.max_boxes)
        publish_ms = self._publish(published)
        stage_ms = {
            "sync": job.sync_ms,
            "queue": queue_ms,
            "images": ready.images_ms,
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
        findings = (*judged.findings, *self._calibration.findings)
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
