# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks one after the other, each in a process of its own, and keeps what is done.

Below the output folder, `parts/NAME.json` is what a benchmark found and `parts/NAME.log` what it
printed. A part is kept under a key: a hash of its command, of all code, configurations and models,
of the versions of what runs them, and of the processor. The same command again therefore goes on
where an interrupted run stopped, and runs anew whatever has changed.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Report, write_json
from benchmarks.machine import machine_facts
from benchmarks.suite import Entry
from imkd_core.errors import DataError

#: What figures hang on, beside versions and processor.
SOURCES = (
    "benchmarks",
    "imkd_core",
    "imkd_ros",
    "config",
    "launch",
    "models",
    "tests/core/runtime/streams.py",
)
SUFFIXES = frozenset({".py", ".yaml", ".xml", ".json", ".onnx"})

DONE, FAILED = "done", "failed"

#: Seconds between two words about a benchmark that runs.
PROGRESS_S = 5.0
#: A benchmark that takes so many times what its entry says, and this long, is ended.
PATIENCE = 5.0
LEAST_PATIENCE_S = 300.0
#: For a process to end by itself after Ctrl-C.
GRACE_S = 10.0

_TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is known of one benchmark.

    Attributes:
        key: of what it hangs on.
        command: what a reader would type.
        status: `DONE` or `FAILED`.
        seconds: that it took.
        when: it ended, ISO 8601.
        report: what it found; None when it failed.
        error: the end of its log, when it failed.
    """

    key: str
    command: str
    status: str
    seconds: float
    when: str
    report: Report | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain mappings."""
        report = None if self.report is None else self.report.to_json()
        return {**vars(self), "report": report}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Part":
        """Return the part that `to_json` gave.

        Raises:
            DataError: it is no such part.
        """
        try:
            report = None if raw["report"] is None else Report.from_json(raw["report"])
            return cls(**{**raw, "report": report})
        except (KeyError, TypeError) as error:
            raise DataError(f"not a part of a benchmark ({error!r}); run it again") from None


def run_suite(
    entries: Sequence[Entry],
    output: Path,
    quick: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Part]:
    """Run benchmarks, or take what an earlier run left; return name -> part.

    Ctrl-C ends the benchmark that runs, with all its processes; parts that are done stay.

    Args:
        entries: in order.
        output: folder, made where it is missing.
        quick: the smallest size of each.
        say: takes lines about the progress.

    Raises:
        DataError: the folder cannot be written.
    """
    common = common_key()
    found: dict[str, Part] = {}
    for number, entry in enumerate(entries, 1):
        head = f"[{number}/{len(entries)}] {entry.name}"
        part = kept_part(output, entry, quick, common)
        if part is not None:
            say(f"{head}: kept from {part.when}")
        else:
            say(f"{head}: {command_line(entry, quick)}")
            part = run_entry(entry, output, quick, common, lambda text, h=head: say(f"{h}: {text}"))  # type: ignore[misc]
            say(f"{head}: {part.status} after {part.seconds:.0f} s")
            if part.error:
                say(part.error)
        found[entry.name] = part
    return found


def kept_parts(entries: Sequence[Entry], output: Path, quick: bool) -> dict[str, Part]:
    """Return the parts of some benchmarks that are done and still hold, by name."""
    common = common_key()
    found = {entry.name: kept_part(output, entry, quick, common) for entry in entries}
    return {name: part for name, part in found.items() if part is not None}


def kept_part(output: Path, entry: Entry, quick: bool, common: str) -> Part | None:
    """Return a part that is done and still holds; None where the benchmark has to run."""
    path = part_path(output, entry.name)
    if not path.is_file():
        return None
    try:
        part = Part.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, DataError):
        return None
    key = part_key(entry, quick, common)
    return part if (part.key, part.status) == (key, DONE) else None


def run_entry(
    entry: Entry, output: Path, quick: bool, common: str, say: Callable[[str], None]
) -> Part:
    """Run one benchmark and keep what it found.

    Raises:
        DataError: the folder cannot be written.
    """
    log_path = part_path(output, entry.name).with_suffix(".log")
    begin_s = time.monotonic()
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, log_path.open("wb") as log:
            json_path = Path(folder) / "report.json"
            command = [sys.executable, *entry.command(quick), "--json", str(json_path)]
            code = run_to_end(command, log, 0 if quick else 60 * entry.minutes, say)
            report, error = _read_report(json_path, code)
    except OSError as error_of_folder:
        raise DataError(f"cannot write to {log_path.parent}: {error_of_folder}") from None
    part = Part(
        key=part_key(entry, quick, common),
        command=command_line(entry, quick),
        status=FAILED if report is None else DONE,
        seconds=round(time.monotonic() - begin_s, 1),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        report=report,
        error="" if report is not None else f"{error}\n{tail(log_path)}",
    )
    write_json(part_path(output, entry.name), part.to_json())
    return part


def part_path(output: Path, name: str) -> Path:
    """Return the file of a benchmark's part."""
    return output / "parts" / f"{name}.json"


def command_line(entry: Entry, quick: bool) -> str:
    """Return what a reader types to run one benchmark."""
    return " ".join(("python", *entry.command(quick)))


def part_key(entry: Entry, quick: bool, common: str) -> str:
    """Return the hash of all that a part hangs on."""
    return hashlib.sha256(f"{command_line(entry, quick)}\n{common}".encode()).hexdigest()


def common_key(files: Iterable[Path] | None = None) -> str:
    """Return the hash of what all benchmarks hang on: code, models, versions, processor.

    Args:
        files: below the checkout, to hash instead of `SOURCES`.
    """
    digest = hashlib.sha256()
    for path in sorted(files_of(SOURCES) if files is None else files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    facts = machine_facts()
    facts.pop("kernel", None)
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def files_of(sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files that count below places of the checkout; see `SUFFIXES`."""
    for source in sources:
        place = ROOT / source
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                yield path


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


def _read_report(path: Path, code: int) -> tuple[Report | None, str]:
    """Return what a benchmark wrote; None and why where it wrote nothing."""
    if code:
        return None, f"exit code {code}"
    try:
        return Report.from_json(json.loads(path.read_bytes())), ""
    except (OSError, ValueError, DataError) as error:
        return None, f"it left no report: {error}"


def tail(path: Path) -> str:
    """Return the last lines of a log."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
