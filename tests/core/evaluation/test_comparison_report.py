# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison tells what it must, and draws intervals in the right place."""

import math
import re

import pytest

from imkd_core.evaluation.comparison import Comparison, Row
from imkd_core.evaluation.comparison_report import (
    render_comparison_report,
    row_groups,
    write_comparison_report,
)
from imkd_core.evaluation.gates import judge_gate, parse_gate
from imkd_core.evaluation.intervals import Bounds

NAN, INF = math.nan, math.inf


def row(a, b, low=-INF, high=INF, sign=1):
    return Row(a=a, b=b, difference=Bounds(value=b - a, low=low, high=high), sign=sign)


def comparison_of(has_truth=True, **rows):
    found = {
        "nds": row(0.5, 0.46, -0.08, -0.02),
        "ap.car": row(0.8, 0.81, -0.01, 0.03),
        "ap.bus": row(NAN, NAN),
        "ap.truck": row(0.4, 0.5),
        "velocity_mps": row(0.5, 0.3, -0.3, -0.1, sign=-1),
        "velocity_mps.car": row(0.5, 0.3, -0.3, -0.1, sign=-1),
    }
    for name in ("car", "bus", "truck"):
        for error in ("translation_m", "scale", "orientation_rad", "velocity_mps", "attribute"):
            found.setdefault(f"{error}.{name}", row(NAN, NAN))
    found = found if has_truth else {}
    found["flicker"] = row(0.1, 0.12, 0.01, 0.03, sign=-1)
    return Comparison(
        about_a={"model": "old <b>"},
        about_b={"model": "new"},
        drives=("monday", "tuesday <i>"),
        has_truth=has_truth,
        draws=100,
        seed=7,
        rows=found | rows,
        drive_figure="nds" if has_truth else "flicker",
        by_drive={"monday": (0.5, 0.52), "tuesday <i>": (0.4, 0.3)},
    )


def test_the_report_names_runs_figures_verdicts_limits_and_drives(tmp_path):
    comparison = comparison_of()
    limits = [judge_gate(parse_gate(text), comparison) for text in ("nds<-0.01", "flicker>1")]
    write_comparison_report(tmp_path / "new" / "c.html", comparison, limits)
    text = (tmp_path / "new" / "c.html").read_text()
    for words in (
        "old &lt;b&gt;",
        "100 draws of drives (seed 7)",
        "1 of 2 limits broken",
        "nds&lt;-0.01: B - A is -0.0400",
        "too few drives",
        "part of a box&#39;s continuations that skip a frame",
        "-0.0800 to -0.0200",
    ):
        assert words in text, words
    assert text.index("tuesday &lt;i&gt;") < text.index("monday"), "changed most, stands first"
    assert "<b>old" not in text
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", text)
    assert "http" not in re.sub('http-equiv="[^"]*"', "", text), "nothing is fetched"


def test_scores_share_a_scale_and_other_figures_have_their_own():
    scores, errors, steady = row_groups(comparison_of())
    assert [one.name for one in scores.rows] == ["nds", "ap.car", "ap.truck"]
    nds, car, truck = scores.rows
    assert nds.low == pytest.approx(-80)
    assert nds.value == pytest.approx(-40)
    assert car.high == pytest.approx(30)
    assert (truck.low, truck.high) == (None, None)
    assert truck.value == pytest.approx(100), "the widest of all"
    assert errors.rows[0].low == pytest.approx(-100)
    assert steady.rows[0].high == pytest.approx(100)


def test_equal_runs_are_drawn_at_zero():
    group = row_groups(comparison_of(False, flicker=row(0.1, 0.1, 0.0, 0.0, sign=-1)))[0]
    assert (group.rows[0].low, group.rows[0].value, group.rows[0].high) == (0, 0, 0)


def test_without_the_truth_the_report_says_so_and_has_no_scores():
    text = render_comparison_report(comparison_of(False))
    assert "The truth is not known" in text
    assert "Errors by class" not in text
    assert "limits" not in text
    assert [group.title for group in row_groups(comparison_of(False))] == ["Steadiness"]
