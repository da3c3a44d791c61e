# SPDX-License-Identifier: Apache-2.0
"""`docs/reliability.md`, written anew from the figures of a run and the table of faults."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, number
from benchmarks.publish import markdown
from imkd_core.errors import ConfigError
from imkd_core.evaluation.results import write_atomic
from tests.faults.results import is_judged, unmeasured
from tests.faults.rows import ROWS, Row
from tests.faults.suite import SCENARIOS

DOCUMENT = Path("docs/reliability.md")

_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by `python -m tests.faults --output DIR --publish`; do not edit. -->
# Reliability

What the detector does when sensors fail, drift and lie. Every figure is one command away:
`python -m tests.faults --output out/faults` runs the scenarios one after the other, each in a
process of its own, and writes `out/faults/faults.json`; `--list` names them, `--only NAME` runs
one. Long ones run by name, or with `--all` (about two hours for everything), and join the others in
the same folder. Leave the machine alone meanwhile. `--publish` runs nothing: it writes this page of
the newest result of every scenario, each with the commit that it was measured at. Where sources
that a scenario hangs on have changed since, the table says "older"; `--publish --fresh-only` runs
what is older anew, and leaves out what is older still. A scenario that was not run has a row "not
measured" in place of its goals. `make faults` runs all but the long ones, and writes this page.

How to read the tables:

- Scenarios of the graph play a made-up drive (six JPEG cameras of 704 x 256, five radars, TF)
  through player, detector node and recorder, processes of their own over the real DDS. Unless a
  figure says otherwise the cameras send every second image, 6 Hz, so that two cores have headroom:
  at 12 Hz they are full, and what is measured would be the machine.
- A frame that was due is one turn of the cameras. An output gap is what an output came later than
  a frame period after the one before.
- A figure without a verdict has no goal; it is there to be known."""

_FAULTS = """## Every fault, and where it is tested

Places are scenarios of this suite, and test files below `tests/` that every `make test` runs."""


def publish(run: Mapping[str, Any], root: Path = ROOT, *, fresh_only: bool = False) -> Path:
    """Write the page of what a folder holds; return its path.

    Args:
        run: as `results.collect` gave it.
        root: of the checkout.
        fresh_only: leave out what was measured on older sources.

    Raises:
        ConfigError: no result is left to publish.
    """
    run = fit_to_publish(run, fresh_only=fresh_only)
    if not run["scenarios"]:
        raise ConfigError(
            "there is no result to publish; run scenarios into this folder first, without --publish"
        )
    path = root / DOCUMENT
    write_atomic(path, document(run).encode())
    return path


def fit_to_publish(run: Mapping[str, Any], *, fresh_only: bool = False) -> dict[str, Any]:
    """Return a run without results of another length or model, which stand as not run.

    Args:
        run: as `results.collect` gave it.
        fresh_only: without those of older sources, too.
    """
    kept = {
        name: part
        for name, part in run["scenarios"].items()
        if part["is_whole"] and (part["is_current"] or not fresh_only)
    }
    left_out = {*run["not_run"], *run["scenarios"].keys() - kept.keys()}
    return {
        **run,
        "scenarios": kept,
        "goals": [
            *(row for row in run["goals"] if row["scenario"] in kept),
            *unmeasured(left_out),
        ],
        "figures": [row for row in run["figures"] if row["scenario"] in kept],
        "not_run": [one.name for one in SCENARIOS if one.name in left_out],
    }


def document(run: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = [
        _HEAD,
        "## Goals",
        machines(run["scenarios"]),
        goal_table(run["goals"], run["scenarios"]),
    ]
    if run["not_run"]:
        parts.append(f"Not run: {', '.join(run['not_run'])}.")
    for scenario in SCENARIOS:
        parts += _section(scenario.name, scenario.title, run)
    parts += [_FAULTS, fault_table(ROWS)]
    return "\n\n".join(part for part in parts if part) + "\n"


def machines(scenarios: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a paragraph for each machine with its versions, and what was measured there."""
    groups: dict[str, list[str]] = {}
    for name, part in scenarios.items():
        groups.setdefault(_machine(part), []).append(name)
    if len(groups) == 1:
        return f"Measured on {next(iter(groups))}."
    return "\n\n".join(f"Measured on {where}: {', '.join(ns)}." for where, ns in groups.items())


def _machine(part: Mapping[str, Any]) -> str:
    facts = part["machine"]
    if not facts:
        return "a machine that was not written down"
    gpu = f", {facts['gpu']}" if facts.get("gpu") else ""
    packages = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    return (
        f"{facts['cores']} cores of {facts['cpu']} ({', '.join(facts['isa'])}), "
        f"{facts['memory_gib']:.0f} GiB{gpu}; {packages}"
    )


def commit_of(part: Mapping[str, Any]) -> str:
    """Return the commit that a scenario was measured at, in a few words."""
    changed = " with changes" if part["is_changed"] else ""
    return f"{part['commit'][:12] or 'unknown'}{changed}"


def goal_table(
    goals: Iterable[Mapping[str, Any]], scenarios: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the figures that have a goal, each with its scenario's commit.

    Scenarios that gave none are told as "not measured", with the command that measures them.
    """
    rows = [
        _goal_cells(goal, scenarios[goal["scenario"]])
        if is_judged(goal)
        else (goal["name"], "-", "-", "not measured", f"`{goal['note']}`", "-")
        for goal in goals
    ]
    return markdown(("what", "goal", "measured", "", "remark", "commit"), rows)


def _goal_cells(goal: Mapping[str, Any], part: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        goal["name"],
        f"{goal['comparison']} {number(goal['goal'])} {goal['unit']}".strip(),
        "-" if goal["value"] is None else f"{number(goal['value'])} {goal['unit']}",
        "met" if goal["met"] else "missed",
        goal["note"],
        commit_of(part) + ("" if part["is_current"] else ", older"),
    )


def fault_table(rows: Sequence[Row]) -> str:
    """Return every fault with its places."""
    lines = [
        (
            str(row.number),
            row.fault,
            row.must,
            ", ".join(
                [*(f"`{name}`" for name in row.scenarios), *(f"`{path}`" for path in row.tests)]
            )
            or "not tested",
            row.remark,
        )
        for row in rows
    ]
    return markdown(("", "what goes wrong", "what must happen", "tested in", "remark"), lines)


def _section(name: str, title: str, run: Mapping[str, Any]) -> list[str]:
    """Return a scenario's command, its figures without a goal, and what disturbed it."""
    part = run["scenarios"].get(name)
    if part is None:
        return []
    told = [
        (
            row["name"],
            "-" if row["value"] is None else number(row["value"]),
            row["unit"],
            row["note"],
        )
        for row in run["figures"]
        if row["scenario"] == name
    ]
    return [
        f"## {title[0].upper()}{title[1:]}",
        f"```\n{part['command']}\n```",
        markdown(("figure", "value", "unit", "remark"), told),
        *(f"Note: {text}" for text in part["warnings"]),
        f"It could not run: {part['error'].splitlines()[0]}" if part["error"] else "",
        f"`{name}` took {part['seconds']:.0f} s; measured {part['when'][:10]} at commit "
        f"{commit_of(part)}{'' if part['is_current'] else '; sources changed since'}.",
    ]
