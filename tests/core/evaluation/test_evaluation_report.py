# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: its curves, its figures, and what it says where there are none."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.charts import HEIGHT, WIDTH, error_charts, polyline, precision_charts
from imkd_core.evaluation.evaluation_report import (
    EvaluationReport,
    FramePictures,
    format_figure,
    render_evaluation_report,
    write_evaluation_report,
)
from imkd_core.evaluation.nuscenes_metrics import DetectionRules, evaluate
from imkd_core.evaluation.steadiness import FIGURES
from imkd_core.evaluation.tables import Evaluation, condition
from tests.core.evaluation.oracle import noisy_copies, random_boxes

VOID = {"meta", "img", "br", "line", "input", "polyline", "rect"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID or tag == "polyline":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def boxes():
    rng = np.random.default_rng(0)
    truth = random_boxes(rng, 300, 6, true=True)
    return noisy_copies(rng, truth, spread_m=0.4), truth


def report(boxes, *, names=("all sensors", "without CAM_FRONT", "without RADAR <b>"), **changes):
    texts = ["Rain"] * 3 + ["Night, clear"] * 3
    evaluation = Evaluation(
        model="tiny",
        model_sha256="0" * 64,
        data="drives v1.0-mini",
        scenes=("a", "b"),
        score_threshold=0.01,
        max_boxes=500,
        conditions=tuple(condition(n, *boxes, texts, lost=i) for i, n in enumerate(names)),
        **changes,
    )
    picture = np.zeros((8, 12, 3), np.uint8)
    frames = (FramePictures(title="scene & one", mosaic=picture, bev=picture),)
    return EvaluationReport(evaluation=evaluation, title="tiny <on> drives", frames=frames)


def test_the_report_is_whole_and_escapes_what_it_is_given(boxes):
    html = render_evaluation_report(report(boxes))
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    assert "tiny &lt;on&gt; drives" in html
    assert "without RADAR &lt;b&gt;" in html
    assert "scene &amp; one" in html
    assert not re.search(r"https?://", html)
    assert not re.search(r"\bnan\b|\bNone\b", html)


def test_the_report_shows_the_figures(boxes):
    made = report(boxes)
    html = render_evaluation_report(made)
    metrics = made.evaluation.conditions[0].metrics
    for value in (metrics.nds, metrics.mean_ap, metrics.classes["bus"].ap):
        assert f"{value:.3f}" in html
    for words in ("rain", "night", "0 to 20 m", "8 m/s or more", "NDS change"):
        assert words in html


def test_the_report_shows_how_steady_the_boxes_are_where_that_is_known(boxes):
    made = report(boxes)
    assert "Steadiness" not in render_evaluation_report(made)
    figures = dict.fromkeys(FIGURES, math.nan) | {"flicker": 77.125}
    runs = [replace(one, steadiness=figures) for one in made.evaluation.conditions]
    evaluation = replace(made.evaluation, conditions=tuple(runs))
    html = render_evaluation_report(replace(made, evaluation=evaluation))
    assert html.count("77.125") == len(runs)
    assert "steady box may be wrong. Boxes scored 0.3 or more" in html
    assert not re.search(r"\bnan\b", html)


def test_an_evaluation_of_nothing_has_a_report(tmp_path):
    nothing = (BoxTable.empty(), BoxTable.empty())
    made = report(nothing, names=("all sensors",), skipped={"t1": "torn <file>"})
    write_evaluation_report(tmp_path / "sub" / "report.html", made)
    html = (tmp_path / "sub" / "report.html").read_text()
    assert "There are no true boxes" in html
    assert "No sensors were taken away" in html
    assert "torn &lt;file&gt;" in html
    assert "1 sample could not be read" in html


def test_charts_hold_the_classes_that_occur_and_stay_in_their_frame(boxes):
    found, truth = boxes
    cars = [table.select(table.label == 0) for table in (found, truth)]
    rules = DetectionRules()
    metrics = evaluate(*cars, 6, rules)
    (chart,) = precision_charts(metrics, rules)
    assert chart.title == "car"
    assert [line.name for line in chart.lines] == ["0.5 m", "1 m", "2 m", "4 m"]
    errors = error_charts(metrics, rules)
    assert len(errors) == 5
    assert all([line.name for line in one.lines] == ["car"] for one in errors)
    for one in (chart, *errors):
        for line in one.lines:
            points = np.array([p.split(",") for p in line.points.split()], float)
            assert (points >= 0).all()
            assert (points <= [WIDTH, HEIGHT]).all()


def test_a_polyline_runs_right_and_up():
    assert polyline(np.array([0, 0.5, 1]), np.array([0, 1, 4]), 2.0) == (
        f"0.0,{HEIGHT:.1f} {WIDTH / 2:.1f},{HEIGHT / 2:.1f} {WIDTH:.1f},0.0"
    )


def test_a_figure_that_is_none_is_a_dash():
    assert format_figure(float("nan")) == format_figure(None) == "\N{EN DASH}"
    assert format_figure(0.12345) == "0.123"
