# SPDX-License-Identifier: Apache-2.0
"""Every frame that was offered is answered, or told of with the reason; none is told of twice."""

import gc
import threading
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from imkd_core.errors import BackendError, SensorError
from imkd_core.health.degradation import Action, Level, Policy
from imkd_core.types import RadarCloud, SensorRig
from imkd_ros.bridge.decoding import PendingFrame, PendingImage
from imkd_ros.bridge.policy import no_boxes
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.tally import Tally
from imkd_ros.node.answering import Answering
from imkd_ros.node.health import InferenceState
from imkd_ros.node.status import IDLE

SENSORS = sensor_set_from_mapping({"cameras": {"A": {}}, "radars": {"R": {}}})
BEGIN_NS, PERIOD_NS = 10**12, 10**8


def refuse(text):
    raise SensorError(text)


def frame_of(number, sensors="AR"):
    stamp_ns = BEGIN_NS + number * PERIOD_NS
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    points = rng.normal(0, 9, (20, 7)).astype(np.float32)
    cloud = RadarCloud(sensor="R", stamp_ns=stamp_ns, points=points)
    return PendingFrame(
        stamp_ns=stamp_ns,
        cameras={"A": PendingImage("A", stamp_ns, lambda: pixels)} if "A" in sensors else {},
        radars={"R": (cloud,)} if "R" in sensors else {},
        reference_from_ego={},
        missing={name: "late" for name in "AR" if name not in sensors},
    )


class Bench:
    """Answering with a detector that can be held up, and what it published and told."""

    def __init__(self, policy=None):
        self.told, self.published, self.annotated, self.error = [], [], [], None
        self.unprepared, self.released = None, []
        self.watched = []
        self.has_subscriber = True
        self.ready, self.prepared = threading.Semaphore(0), threading.Event()
        self.prepared.set()
        self.begun, self.free = threading.Semaphore(0), threading.Event()
        self.free.set()
        self.done = threading.Semaphore(0)
        self.state = InferenceState()
        self.answering = Answering(
            sensors=SENSORS,
            detector=SimpleNamespace(
                resets=7,
                set_rig=lambda rig: None,
                prepare=self.prepare,
                answer=self.detect,
                release=self.released.append,
            ),
            class_names=("car",),
            watch=SensorWatch(Tally(), masks_bad_sensors=True),
            outputs=self,
            status=SimpleNamespace(tell=self.tell, start=lambda: None),
            state=self.state,
            policy=policy or Policy(),
            max_boxes=10,
            mosaic=SimpleNamespace(is_due=False, stop=lambda: None, check=lambda: None),
            calibration=SimpleNamespace(offer=self.watch, stop=lambda: None, check=lambda: None),
        )
        self.answering.start()

    def tell(self, status):
        self.told.append(status)
        self.done.release()

    def prepare(self, frame, resets):
        assert resets == 7
        self.ready.release()
        assert self.prepared.wait(5)
        if "R" not in frame.radars and self.unprepared is not None:
            raise self.unprepared
        return frame

    def detect(self, frame):
        self.begun.release()
        assert self.free.wait(5)
        if self.error is not None:
            raise self.error
        return no_boxes(frame.stamp_ns, ("car",))

    def publish(self, detections):
        self.published.append(detections.stamp_ns)
        return 0.0

    def watch(self, frame, rig):
        assert self.published[-1] == frame.stamp_ns, "after its answer went out"
        self.watched.append((frame.stamp_ns, sorted(frame.cameras)))

    def publish_latency(self, stage_ms, stamp_ns):
        """Nobody listens to it."""

    def publish_annotations(self, frame, rig, detections):
        self.annotated.append((frame.stamp_ns, len(detections)))

    def offer(self, frame):
        self.answering.offer(frame, SensorRig(cameras={}, radars={}), frame.stamp_ns + 10**7)

    def wait(self, count):
        for _ in range(count):
            assert self.done.acquire(timeout=5)

    @property
    def outcomes(self):
        return {status.stamp_ns: status.outcome for status in self.told}


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.free.set()
    bench.answering.stop()


def hold(bench, *frames):
    """Have the network look at the first frame, and prepare the others one after the other."""
    bench.free.clear()
    for number, frame in enumerate(frames):
        bench.offer(frame)
        assert bench.ready.acquire(timeout=5)
        if not number:
            assert bench.begun.acquire(timeout=5)


def test_of_frames_that_come_too_fast_each_is_told_once_and_the_newest_that_is_ready_wins(bench):
    frames = [frame_of(number) for number in range(4)]
    hold(bench, *frames)
    assert bench.state.is_answering
    bench.wait(2)
    bench.free.set()
    bench.wait(2)
    assert [bench.outcomes[frame.stamp_ns] for frame in frames] == [
        "answered",
        "replaced by a newer frame",
        "replaced by a newer frame",
        "answered",
    ]
    assert len(bench.told) == len(bench.outcomes) == bench.state.frames_in
    assert bench.published == [frames[0].stamp_ns, frames[3].stamp_ns]
    assert (bench.state.frames_out, bench.state.frames_replaced) == (2, 2)
    bench.answering.stop()
    assert not bench.state.is_answering


def test_frames_that_wait_for_their_turn_to_be_prepared_are_replaced_as_well(bench):
    bench.prepared.clear()
    frames = [frame_of(number) for number in range(4)]
    bench.offer(frames[0])
    assert bench.ready.acquire(timeout=5)
    for frame in frames[1:]:
        bench.offer(frame)
    bench.prepared.set()
    bench.wait(4)
    assert [bench.outcomes[frame.stamp_ns] for frame in frames][1:3] == [
        "replaced by a newer frame",
        "replaced by a newer frame",
    ]
    assert bench.outcomes[frames[3].stamp_ns] == "answered"


def test_a_frame_that_cannot_be_prepared_is_told_in_its_turn_and_the_next_is_answered(bench):
    bench.unprepared = SensorError("an image that does not fit")
    hold(bench, frame_of(0), frame_of(1, "A"))
    assert bench.told == []
    bench.free.set()
    bench.wait(2)
    bench.offer(frame_of(2))
    bench.wait(1)
    assert list(bench.outcomes.values()) == [
        "answered",
        "not answered: an image that does not fit",
        "answered",
    ]
    bench.answering.stop()
    assert not bench.state.is_answering


def test_what_is_replaced_behind_the_network_is_told_with_what_it_had_and_why_it_failed(bench):
    bench.unprepared = SensorError("an image that does not fit")
    no_image = PendingImage("A", frame_of(2).stamp_ns, lambda: refuse("corrupt"))
    corrupt = replace(frame_of(2), cameras={"A": no_image})
    hold(bench, frame_of(0), frame_of(1, "A"), corrupt, frame_of(3))
    bench.wait(2)
    bench.free.set()
    bench.wait(2)
    told = {status.stamp_ns: status for status in bench.told}
    first, second = told[frame_of(1).stamp_ns], told[frame_of(2).stamp_ns]
    assert first.outcome == "not answered: an image that does not fit"
    assert (second.outcome, second.level) == ("replaced by a newer frame", Level.RADAR_ONLY)
    assert second.missing == {"A": "corrupt"}
    assert [frame.stamp_ns for frame in bench.released] == [second.stamp_ns]
    assert bench.state.frames_replaced == 2


def test_a_refused_frame_is_forgotten_with_its_images(bench):
    """Not at the next collection: at 12 Hz its images would be gigabytes until then."""
    bench.unprepared = SensorError("an image that does not fit")
    gc.collect()
    gc.disable()
    try:
        frame = frame_of(1, "A")
        image = weakref.ref(frame.cameras["A"])
        bench.offer(frame)
        bench.wait(1)
        bench.told.clear()
        bench.unprepared = frame = None
        bench.offer(frame_of(2))
        bench.wait(1)
        bench.answering.stop()
        assert image() is None
    finally:
        gc.enable()


def test_a_frame_that_the_network_refuses_is_told_with_the_reason_and_what_it_had(bench):
    bench.error = BackendError("a value that is not finite")
    bench.offer(frame_of(1, "A"))
    bench.wait(1)
    (status,) = bench.told
    assert status.outcome == "not answered: a value that is not finite"
    assert (status.level, status.missing) == (Level.CAMERA_ONLY, {"R": "late"})
    bench.answering.stop()
    assert "not finite" in bench.state.refusal
    assert bench.published == []


def test_frames_that_wait_when_the_node_is_deactivated_are_told(bench):
    frames = [frame_of(number) for number in range(2)]
    hold(bench, *frames)
    bench.prepared.clear()
    bench.offer(frame_of(2))
    assert bench.ready.acquire(timeout=5)
    bench.offer(frame_of(3))

    def let_go():
        while bench.answering._preparing is not None:
            time.sleep(0.01)
        time.sleep(0.2)
        bench.prepared.set()
        bench.free.set()

    threading.Thread(target=let_go).start()
    bench.answering.stop()
    assert len(bench.told) == len(bench.outcomes) == 4
    assert bench.outcomes[frames[0].stamp_ns] == "answered"
    assert bench.outcomes[frame_of(3).stamp_ns] == "not answered: the node was deactivated"
    assert bench.published[0] == frames[0].stamp_ns
    assert not bench.state.is_answering


def test_while_nobody_listens_nothing_is_inferred_and_every_frame_is_told(bench):
    bench.has_subscriber = False
    bench.offer(frame_of(0))
    bench.offer(frame_of(1, "R"))
    assert [(status.outcome, status.level) for status in bench.told] == [
        (IDLE, Level.FULL),
        (IDLE, Level.RADAR_ONLY),
    ]
    assert not bench.begun.acquire(blocking=False)


def test_what_the_policy_withholds_is_counted_and_forgotten_with_the_next_answer(bench):
    bench.answering.policy = Policy(radar_only=Action.STOP, camera_only=Action.PUBLISH_EMPTY)
    bench.offer(frame_of(0, "R"))
    bench.wait(1)
    assert bench.state.withheld == "stopped: policy radar_only"
    bench.offer(frame_of(1, "A"))
    bench.wait(1)
    assert bench.published == [frame_of(1).stamp_ns]
    bench.offer(frame_of(2))
    bench.wait(1)
    assert (bench.state.withheld, bench.state.frames_withheld) == ("", 2)
    assert bench.state.frames_out == 1


def test_the_calibration_is_watched_in_frames_that_were_answered_and_in_no_others(bench):
    bench.answering.policy = Policy(radar_only=Action.PUBLISH_EMPTY)
    bench.offer(frame_of(0))
    bench.wait(1)
    bench.offer(frame_of(1, "R"))
    bench.wait(1)
    bench.answering.stop()
    assert bench.watched == [(frame_of(0).stamp_ns, ["A"])]


def test_empty_arrays_of_the_blind_come_where_asked_for_and_never_go_back_in_time(bench):
    assert not bench.answering.publish_blind(BEGIN_NS)
    bench.answering.policy = Policy(blind=Action.PUBLISH_EMPTY)
    bench.offer(frame_of(10))
    bench.wait(1)
    newest_ns = bench.published[-1]
    for ahead_ns in (10**7, 5 * 10**8, 6 * 10**8):
        assert bench.answering.publish_blind(newest_ns + ahead_ns)
    assert bench.published[-1] == newest_ns + 10**8
    assert bench.published == sorted(set(bench.published))
    assert len(bench.published) == 2
    assert bench.answering.publish_blind(BEGIN_NS - 10**10)  # the clock went back
    assert bench.published[-1] == BEGIN_NS - 10**10 - 5 * 10**8


def test_boxes_over_images_are_told_of_every_frame_that_is_answered_or_withheld(bench):
    bench.answering.policy = Policy(radar_only=Action.STOP)
    for number, sensors in enumerate(("AR", "R", "AR")):
        bench.offer(frame_of(number, sensors))
        bench.wait(1)
    bench.answering.stop()
    assert bench.annotated == [(BEGIN_NS + i * PERIOD_NS, 0) for i in range(3)]


def test_images_are_looked_at_ahead_while_somebody_listens(bench, monkeypatch):
    looked = []
    monkeypatch.setattr(SensorWatch, "look_ahead", lambda watch, image: looked.append(image))
    bench.answering.look_ahead("before anybody was seen to listen")
    bench.state.has_subscriber = True
    bench.answering.look_ahead("one")
    assert looked == ["one"]
