# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios, each in a process of its own, and keeps what they found.

Below the output folder, `parts/NAME.json` is what a scenario found and `parts/NAME.log` what it
printed; `faults.json`, written anew after each, is all of them with machine and versions. A part
is kept under a hash of what it hangs on: the packages, configurations, models, the scenario's own
module with all that it imports of tests and benchmarks, its length, versions and the processor.
"""

import ast
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.collect import git_state, model_hashes
from benchmarks.harness import ROOT, write_json
from benchmarks.machine import idle_warnings, machine_facts, package_version
from benchmarks.suite_run import common_key, files_of, run_to_end, tail
from imkd_core.errors import DataError
from tests.faults.suite import SCENARIOS, Figure, Scenario

FORMAT = 1
FILE = "faults.json"

DONE, FAILED = "done", "failed"

#: What every scenario hangs on, beside its own module.
_SOURCES = ("imkd_core", "imkd_ros", "config", "launch", "models")

_ROS_PACKAGES = ("ros-rclpy", "ros-rmw-fastrtps-cpp")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of all scenarios of a run.

    Attributes:
        seconds: length of those whose length is free; None = their own.
        model: bundle, a folder or a name; "" = the one that ships.
    """

    seconds: float | None = None
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is known of one scenario.

    Attributes:
        key: of what it hangs on.
        command: what a reader types for it alone.
        status: `DONE` or `FAILED`.
        seconds: that it took.
        when: it ended, ISO 8601.
        figures: what it found.
        error: the end of its log, when it failed.
        warnings: what disturbs the figures: others who use the machine.
    """

    key: str
    command: str
    status: str
    seconds: float
    when: str
    figures: tuple[Figure, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain mappings."""
        return {**vars(self), "figures": [asdict(figure) for figure in self.figures]}


def run_scenarios(
    scenarios: Sequence[Scenario],
    output: Path,
    wish: Wish | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Part]:
    """Run scenarios, or take what an earlier run left; return name -> part.

    Ctrl-C ends the one that runs, with all its processes; parts that are done stay.

    Args:
        scenarios: in order.
        output: folder, made where it is missing.
        wish: what is asked of all of them.
        say: takes lines about the progress.

    Raises:
        DataError: the folder cannot be written.
    """
    wish = wish or Wish()
    found: dict[str, Part] = {}
    for number, scenario in enumerate(scenarios, 1):
        head = f"[{number}/{len(scenarios)}] {scenario.name}"
        key = part_key(scenario, wish)
        part = kept_part(output, scenario.name)
        if part is not None and (part.key, part.status) == (key, DONE):
            say(f"{head}: kept from {part.when}")
        else:
            say(f"{head}: {command_of(scenario, wish)}")
            part = _run(scenario, output, wish, key, lambda text, h=head: say(f"{h}: {text}"))  # type: ignore[misc]
            say(f"{head}: {part.status} after {part.seconds:.0f} s")
            say("\n".join(line(figure) for figure in part.figures) or part.error)
        found[scenario.name] = part
        collect(output)
    return found


def collect(output: Path) -> dict[str, Any]:
    """Write `faults.json` of all parts of a folder, and return it.

    Raises:
        DataError: the folder cannot be written.
    """
    facts = machine_facts()
    ros = {name: v for name in _ROS_PACKAGES if (v := package_version(name))}
    parts = {one.name: kept_part(output, one.name) for one in SCENARIOS}
    known = {name: part for name, part in parts.items() if part is not None}
    rows = [{"scenario": n, **asdict(f)} for n, part in known.items() for f in part.figures]
    whole = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": "python -m tests.faults --output DIR",
        "versions": {"python": facts.pop("python"), **facts.pop("packages"), **ros},
        "machine": facts,
        "git": git_state(),
        "models": model_hashes(),
        "goals": [row for row in rows if row["goal"] is not None],
        "figures": [row for row in rows if row["goal"] is None],
        "scenarios": {
            name: {k: v for k, v in part.to_json().items() if k not in ("figures", "key")}
            for name, part in known.items()
        },
        "not_run": [name for name, part in parts.items() if part is None],
    }
    try:
        write_json(output / FILE, whole)
    except OSError as error:
        raise DataError(f"cannot write {output / FILE}: {error}") from None
    return whole


def kept_part(output: Path, name: str) -> Part | None:
    """Return what a folder holds of a scenario; None where that is nothing, or damaged."""
    try:
        raw = json.loads(part_path(output, name).read_bytes())
        return Part(**{**raw, "figures": tuple(Figure(**row) for row in raw["figures"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def part_path(output: Path, name: str) -> Path:
    """Return the file of a scenario's part."""
    return output / "parts" / f"{name}.json"


def command_of(scenario: Scenario, wish: Wish) -> str:
    """Return what a reader types to run one scenario."""
    length = f" --seconds {wish.seconds:g}" if is_short(scenario, wish.seconds) else ""
    model = f" --model {wish.model}" if wish.model else ""
    return f"python -m tests.faults --output DIR --only {scenario.name}{length}{model}"


def is_short(scenario: Scenario, seconds: float | None) -> bool:
    """Whether a scenario is run for another time than its own."""
    return bool(scenario.seconds) and seconds not in (None, scenario.seconds)


def part_key(scenario: Scenario, wish: Wish) -> str:
    """Return the hash of all that a part hangs on."""
    own = module_files(ROOT / "tests" / "faults" / f"{scenario.name}.py")
    key = common_key({*files_of(_SOURCES), *own})
    return f"{key}:{_length_s(scenario, wish)}:{wish.model}"


def _length_s(scenario: Scenario, wish: Wish) -> float:
    if wish.seconds is not None and is_short(scenario, wish.seconds):
        return wish.seconds
    return scenario.seconds


def module_files(path: Path, root: Path = ROOT) -> set[Path]:
    """Return a module with all that it imports, and these import, of tests and benchmarks.

    The list of scenarios is left out: an entry more changes nothing in the others.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in found or not one.is_file():
            continue
        found.add(one)
        waiting += [root.joinpath(*name.split(".")).with_suffix(".py") for name in _imports(one)]
    return found - {root / "tests" / "faults" / "suite.py"}


def line(figure: Figure | Mapping[str, Any]) -> str:
    """Return a figure as a line of text."""
    row = asdict(figure) if isinstance(figure, Figure) else figure
    value = "-" if row["value"] is None else f"{row['value']:.4g}"
    goal = "" if row["goal"] is None else f" (goal {row['goal']:g})"
    verdict = "   " if row["goal"] is None else "ok " if row["met"] else "NO "
    note = f": {row['note']}" if row["note"] else ""
    return f"  {verdict}{row['name']}: {value} {row['unit']}{goal}{note}"


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("tests", "benchmarks"))


def _run(
    scenario: Scenario,
    output: Path,
    wish: Wish,
    key: str,
    say: Callable[[str], None],
) -> Part:
    """Run one scenario and keep what it found."""
    log_path = part_path(output, scenario.name).with_suffix(".log")
    length_s = _length_s(scenario, wish)
    busy = idle_warnings()
    begin_s = time.monotonic()
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, log_path.open("wb") as log:
            answer = Path(folder) / "figures.json"
            command = [sys.executable, "-m", "tests.faults.one", scenario.name, str(answer)]
            command += ["--output", str(output.absolute()), "--seconds", str(length_s)]
            command += ["--model", wish.model]
            expected_s = 60 * scenario.minutes - scenario.seconds + length_s
            code = run_to_end(command, log, expected_s, say)
            figures, error = _read(answer, code)
    except OSError as error_of_folder:
        raise DataError(f"cannot write to {log_path.parent}: {error_of_folder}") from None
    part = Part(
        key=key,
        command=command_of(scenario, wish),
        status=DONE if figures else FAILED,
        seconds=round(time.monotonic() - begin_s, 1),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        figures=figures,
        error="" if figures else f"{error}\n{tail(log_path)}",
        warnings=tuple(busy),
    )
    write_json(part_path(output, scenario.name), part.to_json())
    return part


def _read(path: Path, code: int) -> tuple[tuple[Figure, ...], str]:
    """Return what a scenario wrote; nothing, and why, where it wrote none."""
    if code:
        return (), f"exit code {code}"
    try:
        found = tuple(Figure(**row) for row in json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        return (), f"it left no figures: {error}"
    return found, "" if found else "it returned no figure"
