# SPDX-License-Identifier: Apache-2.0
"""The inference thread: the newest job wins, refusals are told, bugs are not swallowed."""

import threading

import pytest

from imkd_core.errors import BackendError
from imkd_ros.node.worker import NewestWorker


def test_of_waiting_jobs_only_the_newest_is_done_and_the_rest_is_counted():
    gate, begun, done = threading.Event(), threading.Event(), []

    def work(job):
        begun.set()
        assert gate.wait(5)
        done.append(job)

    worker = NewestWorker(work, done.append, "worker")
    assert worker.offer(0) is None
    assert begun.wait(5)
    assert [worker.offer(job) for job in (1, 2, 3)] == [None, 1, 2]
    gate.set()
    while len(done) < 2:
        threading.Event().wait(0.01)
    worker.stop()
    assert done == [0, 3]
    assert worker.dropped == 2


def test_a_refusal_is_told_and_the_work_goes_on():
    refusals, done, second = [], [], threading.Event()

    def work(job):
        if job == "bad":
            raise BackendError("NaN")
        done.append(job)
        second.set()

    told = threading.Event()
    worker = NewestWorker(work, lambda error: (refusals.append(str(error)), told.set()), "worker")
    worker.offer("bad")
    assert told.wait(5)
    worker.offer("good")
    assert second.wait(5)
    worker.stop()
    assert (refusals, done) == (["NaN"], ["good"])
    worker.check()


def test_a_bug_ends_the_thread_and_is_raised_by_check():
    def work(job):
        raise ZeroDivisionError(job)

    worker = NewestWorker(work, print, "a worker with a bug")
    worker.check()
    worker.offer("job")
    while any(thread.name == "a worker with a bug" for thread in threading.enumerate()):
        threading.Event().wait(0.01)
    with pytest.raises(RuntimeError, match="died") as raised:
        worker.check()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_stopping_drops_what_waits_and_joins_the_thread():
    worker = NewestWorker(print, print, "a worker to stop")
    worker.stop()
    assert not any(thread.name == "a worker to stop" for thread in threading.enumerate())
