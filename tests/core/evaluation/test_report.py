# SPDX-License-Identifier: Apache-2.0
import base64
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_core.evaluation.report import (
    BoxRow,
    ClassRow,
    Control,
    Measure,
    ReportData,
    StageLatency,
    data_uri,
    format_goal,
    format_quantity,
    render_report,
    write_report,
)

VOID = {"meta", "img", "br", "input", "rect", "link"}


class Page(HTMLParser):
    """Collects text and tags; refuses tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.images, self.words = [], [], [], []
        self.attributes = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def picture(value: int, height: int = 6, width: int = 9) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def full_report(**changes) -> ReportData:
    values = {
        "title": "One real key frame",
        "subtitle": "26 frames",
        "caveat": "A wiring proof.",
        "measures": (
            Measure(
                name="Recall", value=0.9615, unit="fraction", at_least=0.95, note="25 of 26 boxes"
            ),
            Measure(name="Centre error", value=0.412, unit="m", at_most=0.3),
            Measure(name="Yaw error", value=math.pi / 60, unit="rad"),
        ),
        "mosaic": picture(10),
        "bev": picture(20),
        "camera_intensity": picture(30),
        "radar_intensity": picture(40),
        "controls": (
            Control(
                name="Back camera masked",
                question="Are only its own objects lost?",
                measures=(
                    Measure(name="own objects", value=0.0, unit="fraction", at_most=0.1),
                    Measure(name="the others", value=0.953, unit="fraction", at_least=0.95),
                ),
            ),
            Control(name="Radar shifted", question="By 5 m.", measures=()),
        ),
        "boxes": (
            BoxRow(
                class_name="traffic_cone",
                outcome="found",
                distance_m=15.934,
                score=0.87,
                center_error_m=0.123,
                size_error_m=0.045,
                yaw_error_rad=math.pi / 90,
                velocity_error_mps=0.671,
                lidar_points=1204,
            ),
            BoxRow(class_name="bus", outcome="missed", distance_m=42.0),
        ),
        "classes": (
            ClassRow(class_name="pedestrian", true_boxes=8, found=7, extra=3),
            ClassRow(class_name="trailer", true_boxes=0, found=0, extra=0),
        ),
        "latency": (
            StageLatency(stage="inference", p50_ms=95.2, p95_ms=110.4, p99_ms=150.0),
            StageLatency(stage="total", p50_ms=118.0, p95_ms=141.0, p99_ms=300.0),
        ),
        "latency_note": "2 CPU cores",
        "versions": {"numpy": "2.4.6"},
        "provenance": {"Model sha256": "0123abcd"},
        "data_notice": "CC BY-NC-SA 4.0",
    }
    return ReportData(**(values | changes))


def test_the_page_parses_and_holds_every_value_with_its_unit():
    text = Page(render_report(full_report())).text
    expected = (
        "One real key frame",
        "26 frames",
        "A wiring proof.",
        "96.2 %",
        "goal ≥ 95 %",
        "25 of 26 boxes",
        "0.41 m",
        "goal ≤ 0.3 m",
        "3.0°",
        "Back camera masked",
        "Are only its own objects lost?",
        "95.3 %",
        "By 5 m. Not measured in this run.",
        "traffic cone",
        "15.93 m",
        "0.87",
        "0.12 m",
        "0.04 m",
        "2.0°",
        "0.67 m/s",
        "1,204",
        "missed",
        "pedestrian 8 7 3 87.5 %",
        "95.2 ms 110.4 ms 150.0 ms",
        "2 CPU cores",
        "numpy 2.4.6",
        "Model sha256 0123abcd",
        "CC BY-NC-SA 4.0",
    )
    assert [phrase for phrase in expected if phrase not in text] == []


def test_the_page_holds_every_picture_and_nothing_from_outside():
    page = Page(render_report(full_report()))
    values = []
    for image in page.images:
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (6, 9, 3)
        assert (image["width"], image["height"]) == ("9", "6")
        values.append(int(decoded[0, 0, 0]))
    assert values == [10, 20, 30, 40]
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(address.startswith("data:") for address in addresses)
    assert "url(" not in render_report(full_report(mosaic=None))


def test_markup_in_any_text_is_shown_and_not_obeyed():
    evil = "<script>alert(1)</script>&\"'"
    report = ReportData(
        title=evil,
        subtitle=evil,
        caveat=evil,
        measures=(Measure(name=evil, value=1.0, unit=evil, at_least=0.0, note=evil),),
        controls=(Control(name=evil, question=evil, measures=(Measure(name=evil, value=1.0),)),),
        boxes=(BoxRow(class_name=evil, outcome=evil, distance_m=1.0),),
        classes=(ClassRow(class_name=evil, true_boxes=1, found=1, extra=0),),
        latency=(StageLatency(stage=evil, p50_ms=1, p95_ms=2, p99_ms=3),),
        latency_note=evil,
        versions={evil: evil},
        provenance={evil: evil},
        data_notice=evil,
    )
    page = Page(render_report(report))
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 17


def test_what_is_left_out_is_said():
    page = Page(render_report(ReportData(title="Nothing")))
    for phrase in (
        "no goals were set",
        "No summary numbers were given.",
        "Camera mosaic: no picture was made in this run.",
        "Bird's-eye view: no picture was made in this run.",
        "I_cam: no picture was made in this run.",
        "I_rad: no picture was made in this run.",
        "No control was run.",
        "Recall was not counted by class.",
        "Latency was not measured.",
        "No boxes were listed.",
        "No versions were recorded.",
        "No provenance was recorded.",
        "No licence was given for the data",
    ):
        assert phrase in page.text, phrase
    assert page.images == []


def test_a_number_that_was_not_measured_is_a_dash_and_fails_its_goal():
    measure = Measure(name="Recall", value=None, unit="fraction", at_least=0.5)
    text = Page(render_report(ReportData(title="t", measures=(measure,)))).text
    assert measure.passed is False
    assert "Recall \N{EN DASH} not measured" in text
    assert "0 of 1 goals met" in text


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "passed"),
    [
        (0.95, 0.95, None, True),
        (0.949, 0.95, None, False),
        (0.3, None, 0.3, True),
        (0.31, None, 0.3, False),
        (5.0, 1.0, 4.0, False),
        (3.0, 1.0, 4.0, True),
        (3.0, None, None, None),
        (math.nan, 0.0, None, False),
        (None, None, 1.0, False),
        (None, None, None, None),
    ],
)
def test_a_measure_is_judged_by_its_goal(value, at_least, at_most, passed):
    assert Measure(name="x", value=value, at_least=at_least, at_most=at_most).passed is passed


def test_the_verdict_counts_the_goals_of_measures_and_controls():
    report = full_report()
    assert len(report.judged) == 4
    assert report.passed is False
    assert "✗ 3 of 4 goals met" in Page(render_report(report)).text
    good = full_report(measures=report.measures[:1])
    assert good.passed is True
    assert "✓ 3 of 3 goals met" in Page(render_report(good)).text


def test_bars_are_as_long_as_the_numbers_say():
    html = render_report(full_report())
    assert '<rect x="0.00%" width="100.00%"' in html  # the longest p95
    assert f'<rect x="0.00%" width="{100 * 95.2 / 141:.2f}%"' in html
    assert '<rect width="87.5%"' in html  # recall of pedestrians


def test_latencies_of_zero_make_no_trouble():
    zero = (StageLatency(stage="decode", p50_ms=0.0, p95_ms=0.0, p99_ms=0.0),)
    assert "0.0 ms" in Page(render_report(ReportData(title="t", latency=zero))).text


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.5, "fraction", "50.0 %"),
        (12345, "count", "12,345"),
        (math.pi, "rad", "180.0°"),
        (-1.256, "m", "-1.26 m"),
        (3.1e-6, "m", "3.1e-06 m"),
        (0.0, "m", "0.00 m"),
        (2.0, "Hz", "2.000 Hz"),
        (2.0, "", "2.000"),
        (None, "m", "\N{EN DASH}"),
        (math.nan, "m", "\N{EN DASH}"),
        (math.inf, "m", "inf m"),
    ],
)
def test_numbers_are_shown_with_their_unit(value, unit, shown):
    assert format_quantity(value, unit).replace("\N{NO-BREAK SPACE}", " ") == shown


@given(st.floats(allow_nan=True), st.sampled_from(["m", "fraction", "rad", "ms", "", "Hz"]))
def test_any_number_can_be_shown(value, unit):
    assert format_quantity(value, unit)


def test_goals_are_shown_in_the_unit_of_the_number():
    both = Measure(name="x", value=None, unit="fraction", at_least=0.1, at_most=0.955)
    assert format_goal(both).replace("\N{NO-BREAK SPACE}", " ") == "≥ 10 %, ≤ 95.5 %"
    assert format_goal(Measure(name="x", value=1.0)) == ""


def test_big_pictures_become_jpeg_and_small_ones_png():
    assert data_uri(picture(0)).startswith("data:image/png;base64,")
    assert data_uri(picture(0, 1000, 1600)).startswith("data:image/jpeg;base64,")


def test_the_report_is_written_into_folders_that_are_made(tmp_path):
    path = tmp_path / "out" / "real" / "report.html"
    write_report(path, full_report(subtitle="Straße, 30°"))
    assert "Straße, 30°" in Page(path.read_text(encoding="utf-8")).text


def test_a_path_that_cannot_be_written_is_refused_by_name(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="cannot write the report"):
        write_report(blocked / "report.html", ReportData(title="t"))


def test_a_goal_that_must_be_hit_is_one_number():
    exact = Measure(name="answered", value=1.0, unit="fraction", at_least=1.0, at_most=1.0)
    assert format_goal(exact) == "=\N{NO-BREAK SPACE}100\N{NO-BREAK SPACE}%"
