# SPDX-License-Identifier: Apache-2.0
"""Bars of a frame's stages follow each other and stay within the chart."""

from hypothesis import given
from hypothesis import strategies as st

from imkd_core.evaluation.report import ReportData, StageLatency, render_report
from imkd_core.evaluation.waterfall import waterfall

times = st.tuples(*[st.floats(0, 1e4)] * 3).map(sorted)


def stage(name, *percentiles):
    p50, p95, p99 = percentiles
    return StageLatency(stage=name, p50_ms=p50, p95_ms=p95, p99_ms=p99)


def test_a_bar_begins_where_the_medians_before_it_end_and_the_whole_at_the_left():
    rows = [stage("sync", 10, 12, 20), stage("inference", 60, 70, 90), stage("total", 75, 80, 100)]
    first, second, whole = waterfall(rows)
    assert (first.start, first.p50, first.p95, first.p99) == (0, 12.5, 15, 25)
    assert (second.start, second.p50, second.p95) == (12.5, 75, 87.5)
    assert (whole.start, whole.p50, whole.p95) == (0, 93.75, 100)
    assert second.start + second.p99 == whole.p99 == 100, "cut off at the end"


@given(st.lists(times, max_size=6))
def test_nothing_reaches_beyond_the_chart_and_shorter_is_inside_longer(percentiles):
    bars = waterfall([stage(str(number), *values) for number, values in enumerate(percentiles)])
    assert len(bars) == len(percentiles)
    for bar in bars:
        assert 0 <= bar.p50 <= bar.p95 <= bar.p99 + 1e-9
        assert bar.start + bar.p99 <= 100 + 1e-9
    assert all(bar.start == 0 for bar in bars[:1])


def test_stages_that_took_no_time_have_no_width():
    (bar,) = waterfall([stage("decode", 0, 0, 0)])
    assert bar.start == bar.p99 == 0


def test_the_report_has_the_numbers_and_the_bars():
    rows = (stage("sync", 10, 12, 20), stage("inference", 60, 70, 80))
    html = render_report(ReportData(title="t", latency=rows))
    assert 'x="12.50%" width="87.50%"' in html
    assert "70.0" in html
