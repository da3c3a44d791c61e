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


def test_who_hands_over_waits_until_the_job_is_taken():
    gate, begun = threading.Event(), threading.Semaphore(0)

    def work(job):
        begun.release()
        assert gate.wait(5)

    worker = NewestWorker(work, print, "a worker that is handed to")
    assert worker.hand_over(0)
    assert begun.acquire(timeout=5)
    taken = []
    giver = threading.Thread(target=lambda: taken.append(worker.hand_over(1)))
    giver.start()
    giver.join(0.1)
    assert giver.is_alive()
    gate.set()
    giver.join(5)
    assert taken == [True]
    assert begun.acquire(timeout=5)
    worker.stop()
    assert not worker.hand_over(2), "a thread that has ended takes nothing"


def test_what_waits_to_be_handed_over_is_returned_by_stop():
    gate, begun = threading.Event(), threading.Event()

    def work(job):
        begun.set()
        assert gate.wait(5)

    worker = NewestWorker(work, print, "a worker that is stopped")
    worker.offer(0)
    assert begun.wait(5)
    taken = []
    giver = threading.Thread(target=lambda: taken.append(worker.hand_over(1)))
    giver.start()
    while worker._waiting is None:
        threading.Event().wait(0.01)
    threading.Timer(0.1, gate.set).start()
    assert worker.stop() == 1
    giver.join(5)
    assert taken == [True]
