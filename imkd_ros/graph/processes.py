# SPDX-License-Identifier: Apache-2.0
"""Child processes in groups of their own: started, watched, and never left behind. No ROS here."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: How long a process may take to end after SIGINT, and after SIGTERM; then it is killed.
INTERRUPT_GRACE_S, TERMINATE_GRACE_S = 10.0, 3.0

#: Read by libraries when a process starts, and too late to be set by it.
#:
#: All threads share one heap. Else glibc gives new threads heaps of their own in turns, up to eight
#: a core; each grows to the most that a thread ever needed, and a node that is configured anew
#: again and again grows for a long time.
#:
#: numpy's matrix products take one thread. Those of the node are small; OpenBLAS would share each
#: out to all cores and spin on them while it waits, and the network waits for a core meanwhile.
LEAN_PROCESS = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}

#: Lines of a log that are shown when a process failed.
TAIL_LINES = 25


class Processes:
    """Named child processes; a context manager whose end is the end of all of them.

    Args:
        log_folder: each process writes `<name>.out` and `<name>.log` there; None = all write
            where this one does.
        environment: of all of them.
    """

    def __init__(self, log_folder: Path | None, environment: Mapping[str, str]) -> None:
        self._log_folder = log_folder
        owner = {"IMKD_SUPERVISOR_PID": str(os.getpid())}
        self._environment = {**LEAN_PROCESS, **environment, **owner}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, int] = {}
        self._stopped: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all processes started so far."""
        return tuple(self._running)

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids, which are the ids of the groups as well."""
        return {name: process.pid for name, process in self._running.items()}

    @property
    def exit_codes(self) -> Mapping[str, int]:
        """Exit codes of those that have ended; -N is signal N."""
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                self._ended[name] = code
        return dict(self._ended)

    def start(self, name: str, module: str, arguments: Sequence[str]) -> None:
        """Start `python -m module` in a session, and so a process group, of its own.

        The name of a process that has ended may be used again.
        """
        command = [sys.executable, "-m", "imkd_ros.graph.supervised", module, *arguments]
        with contextlib.ExitStack() as stack:
            files: list[Any] = [None, None]
            if self._log_folder is not None:
                paths = [self._log_folder / f"{name}{ending}" for ending in (".out", ".log")]
                files = [stack.enter_context(path.open("wb")) for path in paths]
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=files[0],
                stderr=files[1],
                env=self._environment,
                start_new_session=True,
            )
        self._ended.pop(name, None)
        self._stopped.discard(name)

    def kill(self, name: str) -> None:
        """End a process that no longer listens, and what it started, at once."""
        if name not in self._stopped:
            _signal_group(self._running[name].pid, signal.SIGKILL)
            self._running[name].wait()
            self._stopped.add(name)

    def stop(self, names: Sequence[str]) -> None:
        """End processes: SIGINT, then SIGTERM, then SIGKILL to what is left of their groups."""
        names = [name for name in names if name not in self._stopped]
        for number, grace_s in (
            (signal.SIGINT, INTERRUPT_GRACE_S),
            (signal.SIGTERM, TERMINATE_GRACE_S),
        ):
            alive = [name for name in names if self._running[name].poll() is None]
            for name in alive:
                _signal_group(self._running[name].pid, number)
            give_up = time.monotonic() + grace_s
            for name in alive:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._running[name].wait(max(0.0, give_up - time.monotonic()))
        for name in names:
            _signal_group(self._running[name].pid, signal.SIGKILL)
            self._running[name].wait()
            self._stopped.add(name)  # its id may belong to another process from now on

    def report(self, name: str) -> dict[str, Any]:
        """Return the JSON of the last line that a process wrote to stdout; {} without one."""
        lines = self._read(f"{name}.out").strip().splitlines()
        try:
            found = json.loads(lines[-1]) if lines else {}
        except json.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def tail(self, name: str) -> str:
        """Return the last lines of a process's log."""
        return "\n".join(self._read(f"{name}.log").splitlines()[-TAIL_LINES:])

    def __enter__(self) -> "Processes":
        """Return self."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End everything; a second Ctrl-C does not stop this."""
        with signals_ignored():
            self.stop(self.names)

    def _read(self, name: str) -> str:
        if self._log_folder is None:
            return ""
        path = self._log_folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM meanwhile; without effect outside the main thread."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        handlers = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    except ValueError:  # not the main thread, which gets the signals anyway
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def terminated_is_an_exception() -> Iterator[None]:
    """Let SIGTERM raise SystemExit(143) meanwhile, so that what is started is ended."""

    def stop(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    try:
        handler = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
