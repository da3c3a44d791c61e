# SPDX-License-Identifier: Apache-2.0
"""Two runs over the same drives, compared with paired intervals.

    comparison = compare_runs(read_drive_figures(a), read_drive_figures(b))
    comparison.rows["nds"].difference.low

The drives are drawn anew many times, the same ones for both runs (a paired bootstrap): what makes
a drive easy or hard for both cancels. The interval says what other drives of the same kind might
have shown; it knows nothing of other seeds of training. A class that only few of the drives have
is missing from some draws, where both runs have AP 0 for it: what it adds to the interval of mAP
and NDS leans towards 0.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imkd_core.errors import DataError
from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.drive_figures import DriveFigures
from imkd_core.evaluation.intervals import Bounds, drawn_bounds, drawn_drives

#: Figures of which more is better; others are errors, of which less is.
_MORE_IS_BETTER = ("nds", "map", "ap", "track_length_s")

#: Figures of which neither is.
_NEITHER = ("boxes_per_frame", "count_drift_per_min")

#: Tells of draws done and all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of both runs; NaN where it is not known.

    Attributes:
        a, b: of all drives.
        difference: b - a, with its interval over the drives.
        sign: 1 where more is better, -1 where less is, 0 where neither.
    """

    a: float
    b: float
    difference: Bounds
    sign: int

    @property
    def verdict(self) -> str:
        """What the interval allows to say: better, worse, other; nothing where it holds 0."""
        low, high = self.difference.low, self.difference.high
        if math.isnan(self.difference.value) or low <= 0 <= high:
            return ""
        if self.sign == 0:
            return "other"
        return "better" if self.sign * low > 0 else "worse"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Run B against run A.

    Attributes:
        about_a, about_b: what was run on what.
        drives: names, of both.
        has_truth: whether the figures that need the truth are among the rows.
        draws, seed: of the intervals.
        rows: figure -> both runs.
        drive_figure: what `by_drive` holds: "nds" over the classes that are in a drive, or
            "flicker" where the truth is not known.
        by_drive: drive -> that figure of A and of B; NaN where it is not known.
    """

    about_a: Mapping[str, str]
    about_b: Mapping[str, str]
    drives: tuple[str, ...]
    has_truth: bool
    draws: int
    seed: int
    rows: Mapping[str, Row]
    drive_figure: str
    by_drive: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not known, or infinite, is None."""
        return {
            "a": dict(self.about_a),
            "b": dict(self.about_b),
            "drives": {
                name: {"figure": self.drive_figure, "a": _plain(of_a), "b": _plain(of_b)}
                for name, (of_a, of_b) in self.by_drive.items()
            },
            "has_truth": self.has_truth,
            "draws": self.draws,
            "seed": self.seed,
            "figures": {
                name: {
                    "a": _plain(row.a),
                    "b": _plain(row.b),
                    "difference": _plain(row.difference.value),
                    "low": _plain(row.difference.low),
                    "high": _plain(row.difference.high),
                    "verdict": row.verdict,
                }
                for name, row in self.rows.items()
            },
        }


def compare_runs(
    a: DriveFigures,
    b: DriveFigures,
    draws: int = 1000,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Comparison:
    """Compare two runs over the same drives.

    Figures that need the truth are compared where both runs have it.

    Args:
        a: the run to compare with.
        b: the new run; its drives may stand in another order.
        draws: of drives, for the intervals.
        seed: of the draws.
        on_progress: is called with the number of draws done, and all.

    Raises:
        DataError: the drives are not the same, or were judged on other samples or another truth.
        ConfigError: there is no drive or no draw.
    """
    b = _paired(a, b)
    has_truth = a.hits is not None and b.hits is not None
    all_times = drawn_drives(len(a.drives), draws, seed)
    whole = [one.figures(with_truth=has_truth) for one in (a, b)]
    differences = np.full((draws, len(whole[0])), math.nan)
    for i, times in enumerate(all_times):
        drawn = [one.figures(times, with_truth=has_truth) for one in (a, b)]
        differences[i] = np.subtract(list(drawn[1].values()), list(drawn[0].values()))
        if on_progress is not None:
            on_progress(i + 1, draws)
    each = [_each_drive(one, has_truth) for one in (a, b)]
    rows = {}
    for column, (name, of_a) in enumerate(whole[0].items()):
        of_b = whole[1][name]
        bounds = drawn_bounds(of_b - of_a, differences[:, column], len(a.drives))
        rows[name] = Row(a=of_a, b=of_b, difference=bounds, sign=better_sign(name))
    return Comparison(
        about_a=a.about,
        about_b=b.about,
        drives=a.drives,
        has_truth=has_truth,
        draws=draws,
        seed=seed,
        rows=rows,
        drive_figure="nds" if has_truth else "flicker",
        by_drive={name: (of_a, of_b) for name, of_a, of_b in zip(a.drives, *each, strict=True)},
    )


def _each_drive(run: DriveFigures, has_truth: bool) -> list[float]:
    """Return one figure of each drive alone: NDS of the classes that it has, or flicker."""
    found = []
    for times in np.eye(len(run.drives), dtype=np.int64):
        if has_truth and run.hits is not None:
            found.append(run.hits.metrics(times).present_nds)
        else:
            found.append(run.figures(times, with_truth=False)["flicker"])
    return found


def better_sign(figure: str) -> int:
    """Return 1 for a figure of which more is better, -1 of which less is, 0 where neither."""
    name = figure.partition(".")[0]
    if name in _NEITHER:
        return 0
    return 1 if name in _MORE_IS_BETTER else -1


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the table for a terminal; the errors of single classes are in the JSON alone."""
    head = f"{'B - A':<26}{'A':>10}{'B':>10}{'difference':>12}  95 % interval"
    lines = [
        f"A: {_told(comparison.about_a)}",
        f"B: {_told(comparison.about_b)}",
        f"{len(comparison.drives)} drives; intervals of {comparison.draws} paired draws of drives, "
        f"seed {comparison.seed}",
        "",
        head,
    ]
    for name, row in comparison.rows.items():
        is_detail = name.partition(".")[0] in ERRORS and "." in name
        if not is_detail and not (math.isnan(row.a) and math.isnan(row.b)):
            lines.append(_line(name, row))
    lines += ["", *_drive_lines(comparison)]
    if not comparison.has_truth:
        lines += ["", "Without the truth: figures of steadiness alone; steady boxes may be wrong."]
    return lines


def changed_most(comparison: Comparison, count: int = 3) -> list[tuple[str, float, float]]:
    """Return drives with the figure of A and of B, of which it changed most first; known ones."""
    known = [
        (name, of_a, of_b)
        for name, (of_a, of_b) in comparison.by_drive.items()
        if not math.isnan(of_b - of_a)
    ]
    return sorted(known, key=lambda drive: -abs(drive[2] - drive[1]))[:count]


def _drive_lines(comparison: Comparison) -> list[str]:
    of_what = "nds, of the classes in it" if comparison.has_truth else comparison.drive_figure
    lines = [f"drives that changed most ({of_what})"]
    for name, of_a, of_b in changed_most(comparison):
        cells = f"{_figure(of_a):>10}{_figure(of_b):>10}{_figure(of_b - of_a, '+.4f'):>12}"
        lines.append(f"{name:<26}{cells}")
    return lines


def _line(name: str, row: Row) -> str:
    bounds = row.difference
    interval = "none: too few drives have it"
    if math.isfinite(bounds.low) and math.isfinite(bounds.high):
        interval = f"{bounds.low:+.4f} to {bounds.high:+.4f}"
    cells = f"{_figure(row.a):>10}{_figure(row.b):>10}{_figure(bounds.value, '+.4f'):>12}"
    return f"{name:<26}{cells}  {interval:<22} {row.verdict}".rstrip()


def _figure(value: float, form: str = ".4f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _told(about: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in about.items()) or "not told"


def _paired(a: DriveFigures, b: DriveFigures) -> DriveFigures:
    """Return b with its drives in the order of a.

    Raises:
        DataError: they cannot be paired.
    """
    for one, other, which in ((a, b, "A"), (b, a, "B")):
        alone = [name for name in one.drives if name not in other.drives]
        if alone:
            raise DataError(
                f"only {which} has the drive '{alone[0]}' ({len(alone)} such drives); a comparison "
                "needs both runs on the same drives: run the other on them too"
            )
    b = b.select(a.drives)
    if a.hits is None or b.hits is None:
        return b
    for name, of_a, of_b in zip(a.drives, a.digests, b.digests, strict=True):
        if of_a != of_b:
            raise DataError(
                f"drive '{name}' was judged on other samples in A than in B; evaluate both with "
                "the same --limit, and without --skip-bad"
            )
    if not np.array_equal(a.hits.truth, b.hits.truth):
        raise DataError("A and B were judged by another truth; evaluate both on the same data")
    return b


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
