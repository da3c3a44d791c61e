# SPDX-License-Identifier: Apache-2.0
"""One thread that works on the newest job: what waits is replaced, and counted. No ROS in here."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from imkd_core.errors import ImkdError

Job = TypeVar("Job")


class NewestWorker(Generic[Job]):
    """Runs `work(job)` in a thread of its own; of the jobs that wait only the newest is kept.

    Args:
        work: called in the thread.
        on_refusal: called in the thread with the `ImkdError` that `work` raised.
        name: of the thread.

    Any other exception ends the thread and is kept in `failure`: it is a bug, and the owner has to
    look (`check`) and to die loudly.
    """

    def __init__(
        self, work: Callable[[Job], None], on_refusal: Callable[[ImkdError], None], name: str
    ) -> None:
        self._work = work
        self._on_refusal = on_refusal
        self._condition = threading.Condition()
        self._waiting: Job | None = None
        self._is_stopping = False
        self._dropped = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Jobs that a newer one replaced before their turn."""
        return self._dropped

    def offer(self, job: Job) -> Job | None:
        """Hand in a job; return the one that was still waiting and is replaced by it."""
        with self._condition:
            replaced = self._waiting
            self._dropped += replaced is not None
            self._waiting = job
            self._condition.notify()
        return replaced

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise RuntimeError(f"the thread {self._thread.name} died") from self._failure

    def stop(self) -> Job | None:
        """Let the job in hand finish, join the thread, and return the job that waited."""
        with self._condition:
            self._is_stopping = True
            waiting, self._waiting = self._waiting, None
            self._condition.notify()
        self._thread.join()
        return waiting

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._attempt(job)
        except BaseException as error:  # noqa: BLE001 - kept for `check`, which raises it
            self._failure = error

    def _attempt(self, job: Job) -> None:
        try:
            self._work(job)
        except ImkdError as error:
            self._on_refusal(error)

    def _next(self) -> Job | None:
        with self._condition:
            while self._waiting is None and not self._is_stopping:
                self._condition.wait()
            job, self._waiting = self._waiting, None
            return None if self._is_stopping else job
