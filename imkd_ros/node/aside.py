# SPDX-License-Identifier: Apache-2.0
"""Work beside the answers, which never waits for it: a thread of its own that gives way to all.

What waits is replaced by what is newer. What goes wrong is told and hurts no answer. No ROS here.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from imkd_core.errors import ImkdError
from imkd_ros.node.worker import NewestWorker

Job = TypeVar("Job")

#: How much the thread gives way, as nice(1) counts.
_NICENESS = 10


class Aside(Generic[Job]):
    """Runs `work(job)` in a thread that starts with the first job.

    Args:
        work: called in the thread.
        trouble: what cannot be done when something goes wrong, as "the mosaic could not be drawn".
        log: is told what went wrong, in words.
        name: of the thread.
    """

    def __init__(
        self,
        work: Callable[[Job], None],
        *,
        trouble: str,
        log: Callable[[str], object],
        name: str,
    ) -> None:
        self._work = work
        self._trouble = trouble
        self._log = log
        self._name = name
        self._worker: NewestWorker[Job] | None = None

    def offer(self, job: Job) -> None:
        """Have a job done, unless a newer one comes before its turn; returns at once."""
        if self._worker is None:
            self._worker = NewestWorker(self._attempt, self._on_refusal, self._name)
        self._worker.offer(job)

    def check(self) -> None:
        """Tell what ended the thread, if anything did; the next job starts another."""
        if self._worker is None:
            return
        try:
            self._worker.check()
        except RuntimeError as error:
            cause = error.__cause__
            self._log(
                f"{self._trouble}, boxes go on; a bug, please report it: "
                f"{type(cause).__name__}: {cause}"
            )
            self.stop()

    def stop(self) -> None:
        """Let the job in hand be finished, and join the thread."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _attempt(self, job: Job) -> None:
        _give_way()
        self._work(job)

    def _on_refusal(self, error: ImkdError) -> None:
        self._log(f"{self._trouble}: {error}")


def _give_way() -> None:
    """Let all other threads run first; on Linux niceness belongs to the thread."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
