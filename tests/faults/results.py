# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios, each in a process of its own, and keeps what they found.

Below the output folder, `parts/NAME.json` is what a scenario found and `parts/NAME.log` what it
printed; `faults.json`, written anew after each, joins the newest part of every scenario, each with
the commit, the machine and the versions that it was measured at. A part is kept under a hash of
what it hangs on: the packages, configurations, models, the scenario's own module with all that it
imports of tests and benchmarks, its length, versions and the processor.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.collect import changed_files, git_state, model_hashes
from benchmarks.harness import write_json
from benchmarks.in_turn import (
    DONE,
    FAILED,
    Ran,
    Turn,
    part_path,
    run_for_answer,
    run_in_turn,
)
from benchmarks.machine import idle_warnings, machine_facts, package_version
from benchmarks.suite_run import common_key, sources_key
from imkd_core.errors import DataError
from tests.faults.sources import scenario_files
from tests.faults.suite import SCENARIOS, Figure, Scenario

FORMAT = 2
FILE = "faults.json"

#: What a result was measured at that an older version of this suite kept.
_UNKNOWN: Mapping[str, Any] = {
    "commit": "",
    "is_changed": None,
    "sources": "",
    "machine": {},
    "versions": {},
}

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
        warnings: what disturbs the figures: others who use the machine at its begin, or its end.
        at: what it was measured at; empty where an older version of this suite kept none.
    """

    key: str
    command: str
    status: str
    seconds: float
    when: str
    figures: tuple[Figure, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()
    at: Mapping[str, Any] = field(default_factory=dict)

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
    turns = (_turn(scenario, output, wish or Wish()) for scenario in scenarios)
    found: dict[str, Part] = {}
    for name, part in run_in_turn(turns, len(scenarios), say):
        found[name] = part
        collect(output)
    return found


def _turn(scenario: Scenario, output: Path, wish: Wish) -> Turn[Part]:
    key = part_key(scenario, wish)
    part = kept_part(output, scenario.name)
    return Turn(
        name=scenario.name,
        command=command_of(scenario, wish),
        kept=part if part is not None and (part.key, part.status) == (key, DONE) else None,
        run=partial(_run, scenario, output, wish, key),
        told=lambda part: "\n".join(line(figure) for figure in part.figures) or part.error,
    )


def collect(output: Path) -> dict[str, Any]:
    """Write `faults.json` of the newest parts that a folder holds, and return it.

    `machine`, `versions` and `git` are those of now; what each scenario was measured at is told
    with it, and `is_current` whether its sources have not changed since.

    Raises:
        DataError: the folder cannot be written.
    """
    now = measured_at()
    parts = {one.name: kept_part(output, one.name) for one in SCENARIOS}
    known = {name: part for name, part in parts.items() if part is not None}
    rows = [{"scenario": n, **asdict(f)} for n, part in known.items() for f in part.figures]
    whole = {
        "format": FORMAT,
        "created": _now(),
        "command": "python -m tests.faults --output DIR",
        "versions": now["versions"],
        "machine": now["machine"],
        "git": git_state(),
        "models": model_hashes(),
        "goals": [
            *(row for row in rows if row["goal"] is not None),
            *unmeasured(name for name, part in parts.items() if part is None or not part.figures),
        ],
        "figures": [row for row in rows if row["goal"] is None],
        "scenarios": {
            one.name: _described(one, known[one.name]) for one in SCENARIOS if one.name in known
        },
        "not_run": [name for name, part in parts.items() if part is None],
    }
    try:
        write_json(output / FILE, whole)
    except OSError as error:
        raise DataError(f"cannot write {output / FILE}: {error}") from None
    return whole


def unmeasured(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return a row of `goals` for each scenario without figures: its title and its command.

    A scenario that was not run cannot say its goals, and must not vanish with them.

    Args:
        names: of scenarios.
    """
    wanted = set(names)
    return [
        {
            "scenario": one.name,
            **asdict(Figure(one.title, None, None, "", False, command_of(one, Wish()))),
        }
        for one in SCENARIOS
        if one.name in wanted
    ]


def is_judged(row: Mapping[str, Any]) -> bool:
    """Whether a row of `goals` is of a scenario that was measured, met or not."""
    return row["goal"] is not None


def _described(scenario: Scenario, part: Part) -> dict[str, Any]:
    """Return what `faults.json` says of a scenario, beside its figures."""
    told = {k: v for k, v in part.to_json().items() if k not in ("figures", "key", "at")}
    return {
        **told,
        **_UNKNOWN,
        **part.at,
        "is_current": part.at.get("sources") == sources_key(scenario_files(scenario)),
        "is_whole": part.command == command_of(scenario, Wish()),
    }


def measured_at(files: Iterable[Path] = ()) -> dict[str, Any]:
    """Return what a result is measured at just now.

    Args:
        files: that it hangs on.

    Returns:
        `commit`; `is_changed`, whether one of the files differs from it; `sources`, the hash of
        the files; `machine` and `versions`.
    """
    files, facts, changed = set(files), machine_facts(), changed_files()
    ros = {name: v for name in _ROS_PACKAGES if (v := package_version(name))}
    return {
        "commit": git_state()["commit"] or "",
        "is_changed": None if changed is None else bool(files & changed),
        "sources": sources_key(files),
        "versions": {"python": facts.pop("python"), **facts.pop("packages"), **ros},
        "machine": facts,
    }


def kept_part(output: Path, name: str) -> Part | None:
    """Return what a folder holds of a scenario; None where that is nothing, or damaged."""
    try:
        raw = json.loads(part_path(output, name).read_bytes())
        return Part(**{**raw, "figures": tuple(Figure(**row) for row in raw["figures"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    return f"{common_key(scenario_files(scenario))}:{_length_s(scenario, wish)}:{wish.model}"


def _length_s(scenario: Scenario, wish: Wish) -> float:
    if wish.seconds is not None and is_short(scenario, wish.seconds):
        return wish.seconds
    return scenario.seconds


def line(figure: Figure | Mapping[str, Any]) -> str:
    """Return a figure as a line of text."""
    row = asdict(figure) if isinstance(figure, Figure) else figure
    value = "-" if row["value"] is None else f"{row['value']:.4g}"
    goal = "" if row["goal"] is None else f" (goal {row['goal']:g})"
    verdict = "   " if row["goal"] is None else "ok " if row["met"] else "NO "
    note = f": {row['note']}" if row["note"] else ""
    return f"  {verdict}{row['name']}: {value} {row['unit']}{goal}{note}"


def _run(
    scenario: Scenario,
    output: Path,
    wish: Wish,
    key: str,
    say: Callable[[str], None],
) -> Part:
    """Run one scenario and keep what it found."""
    length_s = _length_s(scenario, wish)
    busy, at = idle_warnings(), measured_at(scenario_files(scenario))
    module = [sys.executable, "-m", "tests.faults.one", scenario.name]
    options = ["--output", str(output.absolute()), "--seconds", str(length_s)]
    ran = run_for_answer(
        lambda answer: [*module, str(answer), *options, "--model", wish.model],
        part_path(output, scenario.name),
        60 * scenario.minutes - scenario.seconds + length_s,
        say,
    )
    figures, error = _read(ran)
    part = Part(
        key=key,
        command=command_of(scenario, wish),
        status=DONE if figures else FAILED,
        seconds=ran.seconds,
        when=ran.when,
        figures=figures,
        error="" if figures else f"{error}\n{ran.tail}",
        warnings=tuple(busy or idle_warnings()),
        at=at,
    )
    write_json(part_path(output, scenario.name), part.to_json())
    return part


def _read(ran: Ran) -> tuple[tuple[Figure, ...], str]:
    """Return what a scenario wrote; nothing, and why, where it wrote none."""
    if ran.code:
        return (), f"exit code {ran.code}"
    try:
        found = tuple(Figure(**row) for row in json.loads(ran.answer))
    except (ValueError, TypeError) as error:
        return (), f"it left no figures: {error}"
    return found, "" if found else "it returned no figure"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
