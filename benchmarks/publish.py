# SPDX-License-Identifier: Apache-2.0
"""A run's figures as tables in `docs/performance.md` and the README, between two markers each."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import number
from imkd_core.errors import ConfigError

BEGIN, END = "<!-- performance:begin -->", "<!-- performance:end -->"

#: Where the tables go, from the root of the checkout.
DOCUMENT, README = Path("docs/performance.md"), Path("README.md")

_PERCENTILES = ("p50", "p95", "p99")
_VERDICTS: Mapping[bool | None, str] = {True: "met", False: "missed", None: "not measured"}


def publish(run: Mapping[str, Any], root: Path) -> list[Path]:
    """Write the tables of a whole run into both files; return those that changed.

    The same run again changes nothing.

    Args:
        run: as `collect` gave it.
        root: of the checkout.

    Raises:
        ConfigError: the run is not whole, or a file or its markers are missing.
    """
    if not run["whole"]:
        why = "it was a quick one" if run["quick"] else f"without {', '.join(run['absent'])}"
        raise ConfigError(
            f"only a whole run is published, and the folder does not hold one ({why}); run 'imkd "
            "bench --output DIR --publish', which keeps what holds and runs the rest, and mend "
            "what fails"
        )
    texts = {root / DOCUMENT: document(run), root / README: summary(run)}
    changed = {path: replaced(path, text) for path, text in texts.items()}
    for path, text in changed.items():
        if text is not None:
            path.write_text(text, encoding="utf-8")
    return [path for path, text in changed.items() if text is not None]


def replaced(path: Path, text: str) -> str | None:
    """Return a file's text with another part between the markers; None where it is the same.

    Raises:
        ConfigError: the file is missing, or does not hold each marker once, in order.
    """
    try:
        old = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    is_marked = old.count(BEGIN) == old.count(END) == 1 and old.index(BEGIN) < old.index(END)
    if not is_marked:
        raise ConfigError(
            f"{path} must hold the lines '{BEGIN}' and '{END}' once each, in this order; the "
            "tables go between them"
        )
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    new = f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"
    return None if new == old else new


def summary(run: Mapping[str, Any]) -> str:
    """Return the goals and the machine, for the README."""
    return f"{machine(run)}\n\n{goal_table(run['goals'])}"


def document(run: Mapping[str, Any]) -> str:
    """Return goals, machine, and the tables of every benchmark with the command above each."""
    parts = [
        "## Goals",
        "Made by `imkd bench --output out/bench --publish`; the figures are its `bench.json`.",
        machine(run),
        goal_table(run["goals"]),
    ]
    for name, part in run["benchmarks"].items():
        parts += [f"## {part['title']}", f"```\n{part['command']}\n```"]
        parts += [_timing_table(part["figures"]), _value_table(part["figures"])]
        parts += [f"Note: {text}" for text in part["facts"].get("warnings", ())]
        parts.append(f"`{name}` took {part['seconds']:.0f} s.")
    return "\n\n".join(part for part in parts if part)


def machine(run: Mapping[str, Any]) -> str:
    """Return one paragraph about what the figures were measured on."""
    hardware, versions = run["hardware"], run["versions"]
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ""
    peak = _peak(run)
    rate = f", {number(peak)} GFLOP/s in fp32 matrix products" if peak else ""
    commit = (run["git"]["commit"] or "unknown")[:12]
    changed = " with changes" if run["git"]["is_changed"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured {_days(run)} on {hardware['cores']} cores of {_processor(hardware)} "
        f"({', '.join(hardware['isa']) or 'no known extensions'}){rate}, "
        f"{hardware['memory_gib']:.0f} GiB{gpu}; {packages}; commit {commit}{changed}."
    )


def _processor(hardware: Mapping[str, Any]) -> str:
    """Return the processor with its generation: a rented machine's name does not tell it."""
    family, _, model = hardware["cpu_family_model"].partition("/")
    stepping = hardware["cpu_stepping"]
    return f"{hardware['cpu']}, family {family} model {model} stepping {stepping}"


def _days(run: Mapping[str, Any]) -> str:
    """Return the first and the last day on which a part was measured."""
    days = sorted({part["when"][:10] for part in run["benchmarks"].values()})
    return " to ".join(dict.fromkeys((days[0], days[-1])))


def _peak(run: Mapping[str, Any]) -> float | None:
    """Return the measured peak of matrix products, GFLOP/s; None where it was not measured."""
    part = run["benchmarks"].get("inference")
    return None if part is None else part["facts"].get("peak_gflops")


def goal_table(goals: Sequence[Mapping[str, Any]]) -> str:
    """Return the goals as a table; those without a value say why."""
    rows = [
        (
            goal["name"],
            f"{goal['comparison']} {goal['goal']:g} {goal['unit']}",
            f"{number(goal['value'])} {goal['unit']}" if goal["value"] is not None else "-",
            _VERDICTS[goal["met"]],
            goal["reason"],
        )
        for goal in goals
    ]
    return markdown(("what", "goal", "measured", "", "remark"), rows)


def _timing_table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures that come as p50, p95 and p99, a row each."""
    rows: dict[str, dict[str, Any]] = {}
    for figure in figures:
        base, percentile = _split(figure["name"])
        if percentile:
            row = rows.setdefault(base, {"note": figure["note"]})
            row[percentile] = figure["value"]
            row["unit"] = figure["unit"]
    lines = [
        (base, *(number(row.get(p)) for p in _PERCENTILES), row["unit"], row["note"])
        for base, row in rows.items()
    ]
    return markdown(("time", *_PERCENTILES, "unit", "remark"), lines)


def _value_table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return all other figures."""
    rows = [
        (figure["name"], number(figure["value"]), figure["unit"], figure["note"])
        for figure in figures
        if not _split(figure["name"])[1]
    ]
    return markdown(("figure", "value", "unit", "remark"), rows)


def _split(name: str) -> tuple[str, str]:
    """Return a figure's name without its percentile, and the percentile; "" where it has none."""
    base, _, percentile = name.rpartition(", ")
    return (base, percentile) if percentile in _PERCENTILES else (name, "")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; empty without rows. A bar or line break in a cell does not break it."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    if not lines:
        return ""
    rule = f"|{'|'.join(' --- ' for _ in head)}|"
    return "\n".join([f"| {' | '.join(head)} |", rule, *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
