# SPDX-License-Identifier: Apache-2.0
"""Calibration is watched beside the answers: nobody waits for it, and it hurts none."""

import threading
import time

import pytest

from imkd_ros.node.calibration import CalibrationAside
from tests.core.rigs import frame_of, rig_of

NAME = "imkd_calibration"


class Watch:
    """A watch that can be held up, and what it was given."""

    def __init__(self):
        self.is_wanted, self.error = True, None
        self.findings, self.judged = (), frozenset()
        self.looked, self.threads = [], set()
        self.begun, self.free = threading.Semaphore(0), threading.Event()
        self.free.set()
        self.resets = 0

    def look(self, frame, rig):
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        assert self.free.wait(5)
        if self.error is not None:
            raise self.error
        self.looked.append((frame, rig))

    def reset(self):
        self.resets += 1


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def told():
    return []


@pytest.fixture
def aside(watch, told):
    aside = CalibrationAside(watch, told.append)
    yield aside
    watch.free.set()
    aside.stop()


@pytest.fixture(scope="module")
def rig():
    return rig_of()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def wait_for(condition):
    end_s = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_frame_is_looked_at_in_a_thread_of_its_own_with_its_rig(aside, watch, rig):
    frame = frame_of(rig)
    aside.offer(frame, rig)
    assert watch.begun.acquire(timeout=5)
    aside.stop()
    assert watch.looked == [(frame, rig)]
    assert watch.threads == {NAME}
    assert not threads()


def test_who_offers_frames_does_not_wait_and_those_in_between_are_passed_over(aside, watch, rig):
    watch.free.clear()
    frames = [frame_of(rig) for _ in range(20)]
    begin_s = time.monotonic()
    for frame in frames:
        aside.offer(frame, rig)
    assert time.monotonic() - begin_s < 2.0
    watch.free.set()
    wait_for(lambda: watch.looked and watch.looked[-1][0] is frames[-1])
    assert len(watch.looked) <= 2


def test_where_it_is_not_wanted_no_thread_starts_and_ceasing_forgets(aside, watch, rig):
    watch.is_wanted = False
    aside.offer(frame_of(rig), rig)
    assert not threads()
    aside.want(True)
    assert (watch.is_wanted, watch.resets) == (True, 0)
    aside.want(False)
    assert (watch.is_wanted, watch.resets) == (False, 1)


def test_a_bug_in_the_watch_is_told_and_the_next_frame_is_looked_at(aside, watch, told, rig):
    watch.error = ZeroDivisionError("angles")
    aside.offer(frame_of(rig), rig)
    wait_for(lambda: watch.threads and not threads())
    aside.check()
    assert "calibration could not be watched, boxes go on" in told[0]
    assert "ZeroDivisionError: angles" in told[0]
    watch.error = None
    aside.offer(frame_of(rig), rig)
    wait_for(lambda: watch.looked)


def test_after_a_stop_nothing_is_known(aside, watch):
    aside.stop()
    assert watch.resets == 1
