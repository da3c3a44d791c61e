# SPDX-License-Identifier: Apache-2.0
"""Many recordings, one after the other or in several processes; what is finished is kept.

    result = replay_fleet(plan, {"monday": Path("monday"), ...}, LocalWorkers(2), tell)

A recording whose results are complete and hang on the same key is not replayed again. One that
fails does not stop the others. Which worker replays what changes no byte of the results.
"""

import fcntl
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2

from imkd_core.cli.replaying.offline import OfflineRunner
from imkd_core.cli.replaying.one_bag import (
    Runner,
    finished_key,
    remove_results,
    replay_recording,
)
from imkd_core.cli.replaying.plan import Keys, ReplayPlan, common_keys, recording_keys
from imkd_core.errors import DataError, ImkdError
from imkd_core.evaluation.replay_report_files import FRAMES
from imkd_core.runtime.processor import MOST_THREADS, usable_cores

#: Told of a recording that is done, and of how many of all are.
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One recording to be replayed.

    Attributes:
        name: of the recording.
        path: its folder or file.
        keys: of what its results hang on.
    """

    name: str
    path: Path
    keys: Keys


@dataclass(frozen=True, kw_only=True)
class FleetResult:
    """What became of all recordings.

    Attributes:
        kept: names of those whose results were there already.
        replayed: names of those that were replayed now.
        failed: name -> why there is no result.
        wall_s: from the start of the first worker to the end of the last, opening of the model and
            judgement included, whatever number of them there was.
    """

    kept: tuple[str, ...]
    replayed: tuple[str, ...]
    failed: Mapping[str, str]
    wall_s: float


class Workers(Protocol):
    """Replays recordings somewhere."""

    def run(self, plan: ReplayPlan, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        """Yield each recording when it is done, with why it failed ("" when it did not)."""


def replay_fleet(
    plan: ReplayPlan, bags: Mapping[str, Path], workers: Workers, tell: Tell | None = None
) -> FleetResult:
    """Replay recordings into their folders of results.

    Args:
        plan: how.
        bags: name -> recording.
        workers: who replays them.
        tell: is told of each that is done.

    Raises:
        ImkdError: the model or the parameters are refused; the folder holds results of other
            recordings, or another replay writes into it.
    """
    common = common_keys(plan)
    with _folder_in_hand(plan.output):
        _refuse_others(plan, bags)
        tasks, failed, kept = _tasks(plan, bags, common)
        replayed = []
        begin_s = time.monotonic()
        for done, (task, failure) in enumerate(workers.run(plan, tasks), start=1):
            if failure:
                failed[task.name] = failure
            else:
                replayed.append(task.name)
            if tell is not None:
                tell(task.name, done, len(tasks))
        wall_s = time.monotonic() - begin_s
        shutil.rmtree(plan.output / ".partial", ignore_errors=True)
    in_order = [name for name in bags if name in replayed]
    return FleetResult(kept=tuple(kept), replayed=tuple(in_order), failed=failed, wall_s=wall_s)


def threads_of(plan: ReplayPlan, workers: int) -> int:
    """Return the threads of inference of one worker: those of the parameters, if there are cores.

    The number changes no box: every product of the model is summed by one thread.
    """
    cores = usable_cores() // workers
    return max(1, min(plan.settings.count("model.threads") or MOST_THREADS, cores))


def run_task(plan: ReplayPlan, runner: Runner, task: Task) -> str:
    """Replay one recording; return why it failed, "" when it did not."""
    try:
        replay_recording(plan, runner, task.name, task.path, task.keys)
    except ImkdError as error:
        return str(error)
    return ""


class OneAfterTheOther:
    """Replays here, with a runner that is opened once.

    Args:
        open_runner: opens it.
    """

    def __init__(self, open_runner: Callable[[ReplayPlan], Runner]) -> None:
        self._open_runner = open_runner

    def run(self, plan: ReplayPlan, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        """Yield each recording when it is done, with why it failed."""
        if not tasks:
            return
        runner = self._open_runner(plan)
        try:
            for task in tasks:
                yield task, run_task(plan, runner, task)
        finally:
            runner.close()


class LocalWorkers:
    """Replays in several processes of this machine.

    Args:
        count: of processes.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, plan: ReplayPlan, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        """Yield each recording when it is done, with why it failed."""
        if not tasks:
            return
        count = min(self._count, len(tasks))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            count,
            mp_context=context,
            initializer=_start_worker,
            initargs=(plan, threads_of(plan, count)),
        ) as pool:
            futures = {pool.submit(_run_in_worker, task): task for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BrokenProcessPool:
                raise DataError(
                    "a process of the replay died (out of memory?); give the same command again, "
                    "perhaps with fewer --workers: finished recordings are kept"
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class _Worker:
    """What a worker process knows; the model is opened with the first recording."""

    plan: ReplayPlan
    threads: int
    runner: Runner | None = None


_WORKER: list[_Worker] = []


def _start_worker(plan: ReplayPlan, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and without a word
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, name="imkd_parent", daemon=True).start()
    _WORKER[:] = [_Worker(plan, threads)]


def _end_with_parent() -> None:
    """End this process when the one that gives it work is gone, be it killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(task: Task) -> str:
    worker = _WORKER[0]
    if worker.runner is None:
        worker.runner = OfflineRunner(worker.plan, worker.threads)
    return run_task(worker.plan, worker.runner, task)


def _tasks(
    plan: ReplayPlan, bags: Mapping[str, Path], common: Keys
) -> tuple[list[Task], dict[str, str], list[str]]:
    """Return what is to be replayed, what cannot be, and what is finished; remove what is old."""
    tasks, failed, kept = [], {}, []
    for name, path in bags.items():
        keys = _keys_or_failure(common, path)
        if isinstance(keys, ImkdError):
            failed[name] = str(keys)
        elif finished_key(plan.folder(name)) == keys.results:
            kept.append(name)
            continue
        else:
            tasks.append(Task(name=name, path=path.resolve(), keys=keys))
        remove_results(plan.folder(name))
    return tasks, failed, kept


def _keys_or_failure(common: Keys, path: Path) -> Keys | ImkdError:
    try:
        return recording_keys(common, path)
    except ImkdError as error:
        return error


def _refuse_others(plan: ReplayPlan, bags: Mapping[str, Path]) -> None:
    found = sorted(path.parent.name for path in plan.output.glob(f"*/{FRAMES}"))
    others = [name for name in found if name not in bags]
    if others:
        raise DataError(
            f"{plan.output} holds results of other recordings ({', '.join(others[:3])}"
            f"{' ...' if len(others) > 3 else ''}); name these too, remove their folders, or "
            "choose another --report"
        )


@contextmanager
def _folder_in_hand(output: Path) -> Iterator[None]:
    """Make the folder, and keep other replays out of it.

    Raises:
        DataError: another one writes into it, or it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with (output / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(output / ".partial", ignore_errors=True)
            yield
    except BlockingIOError:
        raise DataError(
            f"another replay writes into {output}; wait for it, or choose another --report"
        ) from None
    except OSError as error:
        raise DataError(f"cannot write into {output}: {error.strerror}") from None
