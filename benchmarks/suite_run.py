# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks one after the other, each in a process of its own, and keeps what is done.

Below the output folder, `parts/NAME.json` is what a benchmark found and `parts/NAME.log` what it
printed. A part is kept under a key: a hash of its command, of all code, configurations and models,
of the versions of what runs them, and of the processor. The same command again therefore goes on
where an interrupted run stopped, and runs anew whatever has changed.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Report, write_json
from benchmarks.in_turn import DONE, FAILED, Ran, Turn, part_path, run_for_answer, run_in_turn
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
    turns = (
        Turn(
            name=entry.name,
            command=command_line(entry, quick),
            kept=kept_part(output, entry, quick, common),
            run=partial(run_entry, entry, output, quick, common),
            told=lambda part: part.error,
        )
        for entry in entries
    )
    return dict(run_in_turn(turns, len(entries), say))


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
    ran = run_for_answer(
        lambda path: [sys.executable, *entry.command(quick), "--json", str(path)],
        part_path(output, entry.name),
        0 if quick else 60 * entry.minutes,
        say,
    )
    report, error = _read_report(ran)
    part = Part(
        key=part_key(entry, quick, common),
        command=command_line(entry, quick),
        status=FAILED if report is None else DONE,
        seconds=ran.seconds,
        when=ran.when,
        report=report,
        error="" if report is not None else f"{error}\n{ran.tail}",
    )
    write_json(part_path(output, entry.name), part.to_json())
    return part


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
    digest = _hashed(files_of(SOURCES) if files is None else files)
    facts = machine_facts()
    facts.pop("kernel", None)
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def sources_key(files: Iterable[Path]) -> str:
    """Return the hash of files of the checkout alone, wherever they run."""
    return _hashed(files).hexdigest()


def _hashed(files: Iterable[Path]) -> Any:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest


def files_of(sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files that count below places of the checkout; see `SUFFIXES`."""
    for source in sources:
        place = ROOT / source
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                yield path


def _read_report(ran: Ran) -> tuple[Report | None, str]:
    """Return what a benchmark wrote; None and why where it wrote nothing."""
    if ran.code:
        return None, f"exit code {ran.code}"
    try:
        return Report.from_json(json.loads(ran.answer)), ""
    except (ValueError, DataError) as error:
        return None, f"it left no report: {error}"
