# SPDX-License-Identifier: Apache-2.0
"""A controlled experiment: rows that differ in a few settings, each run with several seeds.

The plan stands in a YAML file (`config/experiments/*.yaml`). A row is trained, exported and
evaluated like any student; rows share seeds, so that differences are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imkd_core.evaluation.intervals import Interval, mean_interval, paired_difference
from imkd_core.mapping import from_mapping, read_yaml, require

#: Titles of figures that have others than their names.
_TITLES = {"nds": "NDS", "map": "mAP"}


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """One row of the table.

    Attributes:
        label: for the reader.
        preset: of the distillation (`imkd train student --preset`).
        set: dotted configuration key -> value, on top of the preset.
        lose: sensors that are taken away in evaluation too (`imkd evaluate --lose`).
        seeds: how many of the plan's seeds it runs; 0 all.
    """

    label: str
    preset: str = "none"
    set: Mapping[str, Any] = field(default_factory=dict)
    lose: tuple[str, ...] = ()
    seeds: int = 0


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """What is compared.

    Attributes:
        config: the student, a path relative to the plan's file.
        seeds: of training.
        reference: row that the others are compared with.
        set: overrides of every row (the budget).
        rows: name -> row, in the order of the table.
    """

    config: str
    seeds: tuple[int, ...]
    reference: str
    rows: Mapping[str, RowPlan]
    set: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a plan without rows, seeds or its reference."""
        require(bool(self.rows), "an experiment needs rows")
        require(bool(self.seeds), "an experiment needs seeds")
        require(len(set(self.seeds)) == len(self.seeds), "the seeds must differ")
        require(
            self.reference in self.rows,
            f"the reference '{self.reference}' is none of the rows: {', '.join(self.rows)}",
        )

    def seeds_of(self, row: str) -> tuple[int, ...]:
        """Return the seeds that a row runs."""
        return self.seeds[: self.rows[row].seeds or None]

    def overrides(self, row: str, seed: int) -> dict[str, Any]:
        """Return dotted key -> value of one run; the row's win over the plan's."""
        return {**self.set, **self.rows[row].set, "train.seed": seed}

    def runs(self) -> list[tuple[str, int]]:
        """Return (row, seed) of all runs, seed by seed, so that early stops leave whole pairs."""
        return [
            (row, seed) for seed in self.seeds for row in self.rows if seed in self.seeds_of(row)
        ]


def load_plan(path: Path) -> ExperimentPlan:
    """Read a plan.

    Raises:
        ConfigError: missing, no YAML, or an unknown or impossible value.
    """
    return from_mapping(ExperimentPlan, read_yaml(path))


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """Figures of one row over its seeds.

    Attributes:
        label: for the reader.
        figures: name ("nds", "map", ...) -> mean and interval, of the runs that are done.
        nds_gain: against the reference, paired by seed; None for the reference itself.
    """

    label: str
    figures: Mapping[str, Interval]
    nds_gain: Interval | None


def summarise(
    plan: ExperimentPlan, done: Mapping[tuple[str, int], Mapping[str, float]]
) -> dict[str, RowResult]:
    """Return row -> result over the runs that are done; rows without any are left out.

    Args:
        plan: what was compared.
        done: (row, seed) -> figure -> value; every run has "nds".
    """
    by_row = {
        row: {seed: done[row, seed] for seed in plan.seeds_of(row) if (row, seed) in done}
        for row in plan.rows
    }
    nds = {row: {seed: run["nds"] for seed, run in runs.items()} for row, runs in by_row.items()}
    reference = nds[plan.reference]
    results = {}
    for row, runs in by_row.items():
        if runs:
            names = next(iter(runs.values()))
            is_paired = row != plan.reference and set(nds[row]) & set(reference)
            results[row] = RowResult(
                label=plan.rows[row].label,
                figures={n: mean_interval([run[n] for run in runs.values()]) for n in names},
                nds_gain=paired_difference(nds[row], reference) if is_paired else None,
            )
    return results


def to_markdown(results: Mapping[str, RowResult], figures: tuple[str, ...]) -> str:
    """Return a table of figures (per cent where they are fractions of 1) and NDS gains."""
    head = ["row", "seeds", *(_TITLES.get(name, name) for name in figures), "NDS gain"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for result in results.values():
        runs = next(iter(result.figures.values())).runs
        cells = [result.label, str(runs), *(_cell(result.figures[name]) for name in figures)]
        gain = "reference" if result.nds_gain is None else _cell(result.nds_gain, signed=True)
        lines.append(f"| {' | '.join([*cells, gain])} |")
    return "\n".join(lines) + "\n"


def _cell(interval: Interval, signed: bool = False) -> str:
    mean = f"{100 * interval.mean:{'+' if signed else ''}.1f}"
    return mean if interval.runs == 1 else f"{mean} ± {100 * interval.half_width:.1f}"
