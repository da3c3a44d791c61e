# SPDX-License-Identifier: Apache-2.0
"""`docs/reliability.md`, written anew from the figures of a run and the table of faults."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, number
from benchmarks.publish import machine, markdown
from imkd_core.evaluation.results import write_atomic
from tests.faults.rows import ROWS, Row
from tests.faults.suite import SCENARIOS

DOCUMENT = Path("docs/reliability.md")

_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by `python -m tests.faults --output DIR --publish`; do not edit. -->
# Reliability

What the detector does when sensors fail, drift and lie. Every figure is one command away:
`python -m tests.faults --output out/faults` runs the scenarios one after the other, each in a
process of its own, and writes `out/faults/faults.json`; `--list` names them, `--only NAME` runs
one, `--publish` writes this page. Long ones run by name alone, and join the others in the same
folder. Leave the machine alone meanwhile.

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


def publish(run: Mapping[str, Any], root: Path = ROOT) -> Path:
    """Write the page of what a folder holds; return its path.

    Args:
        run: as `results.collect` gave it.
        root: of the checkout.
    """
    path = root / DOCUMENT
    write_atomic(path, document(run).encode())
    return path


def document(run: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = [
        _HEAD,
        "## Goals",
        machine({**run, "hardware": run["machine"]}),
        goal_table(run["goals"]),
    ]
    if run["not_run"]:
        parts.append(f"Not run: {', '.join(run['not_run'])}.")
    for scenario in SCENARIOS:
        parts += _section(scenario.name, scenario.title, run)
    parts += [_FAULTS, fault_table(ROWS)]
    return "\n\n".join(part for part in parts if part) + "\n"


def goal_table(goals: Iterable[Mapping[str, Any]]) -> str:
    """Return the figures that have a goal."""
    rows = [
        (
            goal["name"],
            f"{goal['comparison']} {number(goal['goal'])} {goal['unit']}".strip(),
            "-" if goal["value"] is None else f"{number(goal['value'])} {goal['unit']}",
            "met" if goal["met"] else "missed",
            goal["note"],
        )
        for goal in goals
    ]
    return markdown(("what", "goal", "measured", "", "remark"), rows)


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
        f"`{name}` took {part['seconds']:.0f} s.",
    ]
