# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: drawn while somebody looks, now and then, and never in the way."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from imkd_core.errors import SensorError
from imkd_core.health.monitor import without
from imkd_ros.bridge.policy import no_boxes
from imkd_ros.node.mosaic import Mosaic, Scene, draw
from tests.core.rigs import frame_of, rig_of


def scene_at(missing=None):
    rig = rig_of()
    frame = without(frame_of(rig), missing or {})
    boxes = no_boxes(frame.stamp_ns, ("car",))
    return Scene(frame=frame, rig=rig, detections=boxes, missing=missing or {})


class Bench:
    """A mosaic whose painter can be held up, and what came of it."""

    def __init__(self, rate_hz=100.0, error=None):
        self.looks, self.error, self.told, self.out = True, error, [], []
        self.painted = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.mosaic = Mosaic(
            is_wanted=lambda: self.looks,
            publish=lambda picture, stamp_ns: self.out.append((picture.shape, stamp_ns)),
            log=self.told.append,
            rate_hz=rate_hz,
            tile_width_px=64,
            paint=self.paint,
        )

    def paint(self, scene, width_px):
        assert self.free.wait(5)
        self.painted.release()
        if self.error is not None:
            raise self.error
        return np.zeros((8, width_px, 3), np.uint8)


@pytest.fixture
def scene():
    return scene_at()


def test_nothing_is_due_while_nobody_looks_and_no_thread_waits_for_it():
    bench = Bench()
    bench.looks = False
    assert not bench.mosaic.is_due
    bench.mosaic.check()
    bench.mosaic.stop()
    assert not any(thread.name == "imkd_mosaic" for thread in threading.enumerate())


def test_a_picture_carries_the_stamp_of_its_frame_and_the_next_is_due_after_a_while(scene):
    bench = Bench(rate_hz=0.01)
    assert bench.mosaic.is_due
    bench.mosaic.offer(scene)
    assert not bench.mosaic.is_due
    bench.mosaic.rate_hz = 100.0
    assert bench.painted.acquire(timeout=5)
    bench.mosaic.stop()
    assert bench.out == [((8, 64, 3), scene.frame.stamp_ns)]


def test_who_offers_a_scene_does_not_wait_for_the_painter(scene):
    bench = Bench()
    bench.free.clear()
    begin_s = time.monotonic()
    for _ in range(50):
        bench.mosaic.offer(scene)
    assert time.monotonic() - begin_s < 2.0
    bench.free.set()
    assert bench.painted.acquire(timeout=5)
    bench.mosaic.stop()
    assert len(bench.out) <= 2


def test_what_cannot_be_drawn_is_told_and_the_next_one_is_tried(scene):
    bench = Bench(error=SensorError("no such camera"))
    bench.mosaic.offer(scene)
    assert bench.painted.acquire(timeout=5)
    bench.mosaic.stop()
    assert "no such camera" in bench.told[0]


def test_a_bug_in_the_painter_is_told_and_the_work_goes_on(scene):
    bench = Bench(error=ZeroDivisionError("pixels"))
    bench.mosaic.offer(scene)
    assert bench.painted.acquire(timeout=5)
    while any(thread.name == "imkd_mosaic" for thread in threading.enumerate()):
        time.sleep(0.01)
    bench.mosaic.check()
    assert "ZeroDivisionError: pixels" in bench.told[0]
    bench.error = None
    bench.mosaic.offer(scene)
    assert bench.painted.acquire(timeout=5)
    bench.mosaic.stop()
    assert len(bench.out) == 1


def test_the_picture_shows_every_camera_and_what_is_missing():
    whole = draw(scene_at(), 160)
    name = next(iter(scene_at().rig.cameras))
    lacking = draw(scene_at(missing={name: "silent"}), 160)
    assert whole.shape == lacking.shape
    assert whole.dtype == np.uint8
    assert (whole != lacking).any()
