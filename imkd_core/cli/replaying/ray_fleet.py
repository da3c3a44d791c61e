# SPDX-License-Identifier: Apache-2.0
"""Recordings on Ray: on this machine, or on a cluster whose machines see the same files.

Ray is optional (`pip install imkd_ros[fleet]`), and imported here alone.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from imkd_core.cli.replaying.fleet import Task, run_task, threads_of
from imkd_core.cli.replaying.offline import OfflineRunner
from imkd_core.cli.replaying.plan import ReplayPlan
from imkd_core.errors import ConfigError, DataError

#: Memory of Ray's own store of objects, bytes: nothing but names and texts goes through it.
_STORE_BYTES = 128 << 20

#: While no actor works, one must start within so long: a machine of a cluster may have to boot.
START_PATIENCE_S = 600.0


class RayWorkers:
    """Replays on Ray, one recording an actor at a time.

    Args:
        address: of a cluster ("auto", "10.0.0.1:6379", "ray://..."); "" starts Ray here.
        count: of actors, where the cluster has cores for so many; None = one for each core.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, address: str, count: int | None) -> None:
        if find_spec("ray") is None:
            raise ConfigError(
                "--ray needs Ray, which is not installed: pip install 'imkd_ros[fleet]'; or use "
                "--workers N, which needs nothing"
            )
        self._address = address
        self._count = count

    def run(self, plan: ReplayPlan, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        """Yield each recording when it is done, with why it failed."""
        if not tasks:
            return
        import ray

        own = not self._address
        _connect(ray, self._address, self._count)
        try:
            count = actors_of(self._count, ray.cluster_resources().get("CPU", 0.0), len(tasks))
            threads = threads_of(plan, count) if own else 1
            actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
            pool = [actor.remote(plan, threads) for _ in range(count)]
            yield from _hand_out(ray, pool, tasks)
        finally:
            ray.shutdown()


class _Actor:
    """Replays one recording after the other; the model is opened with the first."""

    def __init__(self, plan: ReplayPlan, threads: int) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._plan = plan
        self._threads = threads
        self._runner: OfflineRunner | None = None

    def start(self) -> str:
        """Return "": whoever waits for it knows that this actor has its core."""
        return ""

    def run(self, task: Task) -> str:
        """Replay one recording; return why it failed."""
        if self._runner is None:
            self._runner = OfflineRunner(self._plan, self._threads)
        return run_task(self._plan, self._runner, task)


def _connect(ray: Any, address: str, count: int | None) -> None:
    """Start Ray here, or join a cluster.

    Raises:
        DataError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not address:
        ray.init(
            num_cpus=count,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=_STORE_BYTES,
        )
        return
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"there is no Ray cluster at '{address}' ({error}); start one with 'ray start --head', "
            "or leave the address out"
        ) from None


def _knock(address: str) -> None:
    """Raise an OSError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def actors_of(wanted: int | None, cores: float, tasks: int) -> int:
    """Return how many actors are made: each takes a whole core, and one more would never start.

    Args:
        wanted: by the user; None = as many as there is room for.
        cores: of the cluster; none yet where its machines come on demand.
        tasks: recordings, at least one.
    """
    room = max(1, int(cores))
    return min(room if wanted is None else wanted, room, tasks)


def _hand_out(ray: Any, pool: Sequence[Any], tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
    """Give every actor that has started a recording, and the next one when it is done.

    One that never starts, because somebody else has its core, is given none.

    Raises:
        DataError: an actor died, or none started for a long time.
    """
    waiting = list(tasks)[::-1]
    starting = {actor.start.remote(): actor for actor in pool}
    busy: dict[Any, tuple[Any, Task]] = {}
    while waiting or busy:
        reference = _next(ray, [*starting, *busy], None if busy else START_PATIENCE_S)
        result = _result(ray, reference)
        if reference in starting:
            actor = starting.pop(reference)
        else:
            actor, task = busy.pop(reference)
            yield task, result
        if waiting:
            task = waiting.pop()
            busy[actor.run.remote(task)] = (actor, task)


def _next(ray: Any, references: Sequence[Any], patience_s: float | None) -> Any:
    """Return the reference that is there first.

    Raises:
        DataError: none was there in time.
    """
    found, _ = ray.wait(references, num_returns=1, timeout=patience_s)
    if not found:
        raise DataError(
            f"no core of the Ray cluster came free within {patience_s:g} s; see 'ray status' for "
            "who has them, wait until they are done, or leave out --ray"
        )
    return found[0]


def _result(ray: Any, reference: Any) -> str:
    """Return what an actor gave; raise what it raised.

    Raises:
        DataError: it died.
    """
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError:
        raise DataError(
            "a worker of the replay died (out of memory?); give the same command again: "
            "finished recordings are kept"
        ) from None
