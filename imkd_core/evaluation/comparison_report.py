# SPDX-License-Identifier: Apache-2.0
"""The report of `imkd compare`: figures, intervals and limits in one HTML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.comparison import Comparison, Row, changed_most
from imkd_core.evaluation.evaluation_report import ERROR_HEADS, format_figure
from imkd_core.evaluation.gates import Judgement
from imkd_core.evaluation.report import template_environment
from imkd_core.evaluation.results import write_atomic
from imkd_core.evaluation.steadiness import FIGURES

#: Half the width of an interval's drawing.
_HALF = 100.0


@dataclass(frozen=True, kw_only=True)
class DrawnRow:
    """One figure with the drawing of its interval, 0 in the middle of -100..100.

    Attributes:
        name: of the figure, as in limits.
        words: what it is.
        row: its values.
        low, value, high: places in the drawing; None where there is no interval.
    """

    name: str
    words: str
    row: Row
    low: float | None
    value: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Figures that stand together.

    Attributes:
        title, note: above and below the table.
        rows: figures that at least one run knows.
    """

    title: str
    note: str
    rows: tuple[DrawnRow, ...]


def write_comparison_report(
    path: Path, comparison: Comparison, judgements: Sequence[Judgement] = ()
) -> None:
    """Write the report as one self-contained HTML file; folders are made.

    Raises:
        ConfigError: jinja2 is not installed.
        DataError: the file cannot be written.
    """
    write_atomic(path, render_comparison_report(comparison, judgements).encode())


def render_comparison_report(comparison: Comparison, judgements: Sequence[Judgement] = ()) -> str:
    """Return the report as HTML text.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    environment = template_environment()
    environment.filters["figure"] = format_figure
    environment.filters["change"] = _change
    template = environment.get_template("comparison_report.html.j2")
    return template.render(
        comparison=comparison,
        judgements=judgements,
        groups=row_groups(comparison),
        classes=[name for name in NUSCENES_CLASSES if f"ap.{name}" in comparison.rows],
        errors=ERRORS,
        error_heads=ERROR_HEADS,
        drives=changed_most(comparison, len(comparison.drives)),
    )


def row_groups(comparison: Comparison) -> list[RowGroup]:
    """Return the groups of figures that a comparison has: scores, errors, steadiness.

    Scores are drawn on one scale; every other figure has its own, by its unit.
    """
    rows = comparison.rows
    scores = {"nds": "NDS", "map": "mAP"}
    scores |= {f"ap.{name}": f"AP, {name.replace('_', ' ')}" for name in NUSCENES_CLASSES}
    errors = {name: ERROR_HEADS[name] for name in ERRORS}
    groups = [
        _group("Scores", "All on one scale. More is better.", scores, rows, one_scale=True),
        _group("Mean errors", "Each on its own scale. Less is better.", errors, rows),
        _group(
            "Steadiness",
            "Each on its own scale; judged without the truth: a steady box may be wrong. Boxes "
            "scored 0.3 or more, joined from frame to frame by class and expected place.",
            FIGURES,
            rows,
        ),
    ]
    return [group for group in groups if group.rows]


def _group(
    title: str,
    note: str,
    words: Mapping[str, str],
    rows: Mapping[str, Row],
    one_scale: bool = False,
) -> RowGroup:
    known = {name: rows[name] for name in words if name in rows and _is_known(rows[name])}
    widest = max((_reach(row) for row in known.values()), default=0.0)
    return RowGroup(
        title=title,
        note=note,
        rows=tuple(
            _drawn(name, words[name], row, widest if one_scale else _reach(row))
            for name, row in known.items()
        ),
    )


def _is_known(row: Row) -> bool:
    return not (math.isnan(row.a) and math.isnan(row.b))


def _reach(row: Row) -> float:
    """Return how far a difference and its interval are from 0, as far as they are known."""
    ends = (row.difference.value, row.difference.low, row.difference.high)
    return max((abs(end) for end in ends if math.isfinite(end)), default=0.0)


def _drawn(name: str, words: str, row: Row, reach: float) -> DrawnRow:
    def place(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return _HALF * value / reach if reach else 0.0

    bounds = row.difference
    return DrawnRow(
        name=name,
        words=words,
        row=row,
        low=place(bounds.low),
        value=place(bounds.value),
        high=place(bounds.high),
    )


def _change(value: float, decimals: int = 4) -> str:
    """Return a difference with its sign; an en dash where there is none."""
    return f"{value:+,.{decimals}f}" if math.isfinite(value) else "\N{EN DASH}"
