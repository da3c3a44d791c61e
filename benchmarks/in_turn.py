# SPDX-License-Identifier: Apache-2.0
"""Runs of commands one after the other, each in a process of its own; what is done is kept.

Below the output folder, `parts/NAME.json` is what a run found and `parts/NAME.log` what it printed.
Benchmarks (`suite_run`) and the fault suite run by it.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from benchmarks.harness import ROOT
from imkd_core.errors import DataError

DONE, FAILED = "done", "failed"

#: Seconds between two words about a benchmark that runs.
PROGRESS_S = 5.0
#: A benchmark that takes so many times what its entry says, and this long, is ended.
PATIENCE = 5.0
LEAST_PATIENCE_S = 300.0
#: For a process to end by itself after Ctrl-C.
GRACE_S = 10.0

_TAIL_LINES = 12


class KeptPart(Protocol):
    """What is said of any part while many run in turn."""

    @property
    def when(self) -> str:
        """When it ended, ISO 8601."""

    @property
    def status(self) -> str:
        """`DONE` or `FAILED`."""

    @property
    def seconds(self) -> float:
        """How long it took."""


AnyPart = TypeVar("AnyPart", bound=KeptPart)


@dataclass(frozen=True, kw_only=True)
class Turn(Generic[AnyPart]):
    """One of several that run one after the other.

    Attributes:
        name: unique among them.
        command: what a reader types for it alone.
        kept: what an earlier run left and still holds; None where it has to run.
        run: runs it; is given what takes lines about the progress.
        told: what is said of a part that ran; "" = nothing.
    """

    name: str
    command: str
    kept: AnyPart | None
    run: Callable[[Callable[[str], None]], AnyPart]
    told: Callable[[AnyPart], str]


def run_in_turn(
    turns: Iterable[Turn[AnyPart]], count: int, say: Callable[[str], None]
) -> Iterator[tuple[str, AnyPart]]:
    """Yield the name and the part of each turn, as soon as it is there.

    Args:
        turns: made one by one, each when it is its turn.
        count: of them.
        say: takes lines about the progress.
    """
    for number, turn in enumerate(turns, 1):
        head = f"[{number}/{count}] {turn.name}"
        part = turn.kept
        if part is not None:
            say(f"{head}: kept from {part.when}")
        else:
            say(f"{head}: {turn.command}")
            part = turn.run(lambda text, head=head: say(f"{head}: {text}"))  # type: ignore[misc]
            say(f"{head}: {part.status} after {part.seconds:.0f} s")
            if words := turn.told(part):
                say(words)
        yield turn.name, part


def part_path(output: Path, name: str) -> Path:
    """Return the file of a benchmark's part."""
    return output / "parts" / f"{name}.json"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What is left of a command that ran to its end.

    Attributes:
        code: its exit code; not 0 where it failed.
        answer: the bytes of the file that it was to write; empty where it wrote none.
        seconds: that it took.
        when: it ended, ISO 8601.
        tail: the end of what it printed.
    """

    code: int
    answer: bytes
    seconds: float
    when: str
    tail: str


def run_for_answer(
    command: Callable[[Path], list[str]],
    path: Path,
    expected_s: float,
    say: Callable[[str], None],
) -> Ran:
    """Run a command that writes an answer to a file; what it prints is logged beside its part.

    Args:
        command: made of the file that the answer goes to.
        path: of the part; the log is beside it.
        expected_s: that it takes, seconds; 0 = nobody knows.
        say: is told every few seconds how long it has run.

    Raises:
        DataError: the folder cannot be written.
    """
    log_path = path.with_suffix(".log")
    begin_s = time.monotonic()
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, log_path.open("wb") as log:
            answer = Path(folder) / "answer.json"
            code = run_to_end(command(answer), log, expected_s, say)
            found = answer.read_bytes() if answer.is_file() else b""
    except OSError as error:
        raise DataError(f"cannot write to {log_path.parent}: {error}") from None
    return Ran(
        code=code,
        answer=found,
        seconds=round(time.monotonic() - begin_s, 1),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tail=tail(log_path),
    )


def run_to_end(command: list[str], log: Any, expected_s: float, say: Callable[[str], None]) -> int:
    """Run a command to its end and return its exit code; end it when it takes far too long.

    Args:
        command: what is run in the root of the checkout, in a process group of its own.
        log: open file that takes what it prints.
        expected_s: that it takes, seconds; 0 = nobody knows.
        say: is told every few seconds how long it has run.
    """
    limit_s = max(PATIENCE * expected_s, LEAST_PATIENCE_S)
    begin_s = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        while time.monotonic() - begin_s < limit_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(PROGRESS_S)
            about = f" of about {expected_s:.0f} s" if expected_s else ""
            say(f"{time.monotonic() - begin_s:.0f} s{about}")
        say(f"ended: more than {limit_s:.0f} s")
        return -1
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a benchmark with all that it started, first as Ctrl-C does."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(path: Path) -> str:
    """Return the last lines of a log."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
