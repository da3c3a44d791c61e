# SPDX-License-Identifier: Apache-2.0
"""Figures, goals, times in turns, the report and its file."""

import argparse
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import (
    AT_LEAST,
    AT_MOST,
    Figure,
    Goal,
    Report,
    Timing,
    number,
    run_benchmark,
    table,
    time_in_turns,
    write_json,
)
from imkd_core.errors import ConfigError, DataError

finite = st.floats(-1e9, 1e9)
names = st.text("abc ,", min_size=1, max_size=6)
figures = st.lists(
    st.builds(Figure, name=names, value=finite, unit=st.just("ms"), note=st.text(max_size=3)),
    unique_by=lambda figure: figure.name,
    max_size=4,
)
goals = st.lists(
    st.builds(
        Goal,
        name=names,
        value=st.none() | finite,
        goal=finite,
        unit=st.just("ms"),
        comparison=st.sampled_from([AT_LEAST, AT_MOST]),
        reason=st.just("because"),
    ),
    unique_by=lambda goal: goal.name,
    max_size=4,
)


@given(figures, goals)
def test_a_report_comes_back_from_its_json_as_it_was(some_figures, some_goals):
    report = Report(
        name="x", figures=tuple(some_figures), goals=tuple(some_goals), facts={"rounds": 3}
    )
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


@given(finite, finite)
def test_a_goal_is_met_on_its_good_side_and_at_its_border(value, goal):
    def met(comparison):
        return Goal(name="x", value=value, goal=goal, unit="", comparison=comparison).met

    assert met(AT_LEAST) == (value >= goal)
    assert met(AT_MOST) == (value <= goal)


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed_and_says_why():
    goal = Goal(name="gpu", value=None, goal=2.5, unit="ms", reason="no CUDA device")
    assert goal.met is None
    raw = Report(name="x", goals=(goal,)).to_json()["goals"][0]
    assert (raw["value"], raw["met"], raw["reason"]) == (None, None, "no CUDA device")
    with pytest.raises(ConfigError, match="say why"):
        Goal(name="gpu", value=None, goal=2.5, unit="ms")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match="finite"):
        Figure(name="x", value=value, unit="ms")
    with pytest.raises(ConfigError, match="finite"):
        Goal(name="x", value=1.0, goal=value, unit="ms")


def test_two_figures_of_one_name_and_an_unknown_comparison_are_refused():
    figure = Figure(name="x", value=1.0, unit="ms")
    with pytest.raises(ConfigError, match="names twice: x"):
        Report(name="b", figures=(figure, figure))
    with pytest.raises(ConfigError, match="comparison"):
        Goal(name="x", value=1.0, goal=1.0, unit="", comparison=">")


@pytest.mark.parametrize("raw", [{}, {"name": "x", "figures": [{"nam": 1}], "goals": []}, {"a": 1}])
def test_what_is_no_report_is_refused(raw):
    with pytest.raises(DataError, match="run it again"):
        Report.from_json(raw)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(samples, percent):
    found = Timing(samples_ms=tuple(samples)).percentile_ms(percent)
    assert found == pytest.approx(float(np.percentile(samples, percent)), rel=1e-9, abs=1e-9)


def test_alternatives_take_turns_and_each_begins_as_often_as_the_other():
    calls = []
    times = time_in_turns(
        {name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3, warm_up=0
    )
    assert "".join(calls) == "abcbcacab"
    assert all(len(timing.samples_ms) == 3 for timing in times.values())


def test_warm_up_is_not_counted_and_a_sample_is_the_mean_of_its_calls():
    calls = []
    times = time_in_turns({"a": lambda: calls.append(1)}, rounds=2, warm_up=3, calls=5)
    assert len(calls) == 5 * (2 + 3)
    assert len(times["a"].samples_ms) == 2


def test_times_faster_is_the_ratio_of_the_medians():
    ours, plain = Timing(samples_ms=(1.0, 2.0, 90.0)), Timing(samples_ms=(5.0, 6.0, 7.0))
    assert ours.times_faster_than(plain) == 3.0


def test_the_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [item.name for item in path.parent.iterdir()] == ["x.json"]


def report_of(options: argparse.Namespace) -> Report:
    return Report(
        name="x",
        figures=(Figure(name="rounds", value=1.0 if options.quick else 9.0, unit=""),),
        goals=(Goal(name="speed", value=2.0, goal=3.0, unit="times"),),
        facts={"warnings": ["the machine is busy"]},
    )


def test_a_benchmark_prints_its_table_and_writes_its_json(tmp_path, capsys):
    path = tmp_path / "x.json"
    assert run_benchmark("x", "What it is.", report_of, arguments=["--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert "goal: speed: 2.00 (at least 3 times) MISSED\n" in text
    assert "warning: the machine is busy\n" in text
    assert Report.from_json(json.loads(path.read_text())).figures[0].value == 9.0
    run_benchmark("x", "What it is.", report_of, arguments=["--quick", "--json", str(path)])
    assert Report.from_json(json.loads(path.read_text())).figures[0].value == 1.0


def test_an_error_of_the_user_is_one_line_and_writes_no_file(tmp_path, capsys):
    def refuse(options):
        raise ConfigError("no such model; export one")

    path = tmp_path / "x.json"
    assert run_benchmark("x", "Text.", refuse, arguments=["--json", str(path)]) == 2
    assert capsys.readouterr().err == "benchmarks.x: no such model; export one\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.0123"), (0, "0"), (1.234, "1.23"), (56.78, "56.8"), (1234.5, "1234"), (None, "-")],
)
def test_numbers_keep_three_digits_that_count(value, text):
    assert number(value) == text


def test_a_table_of_nothing_is_empty():
    assert table(Report(name="x")) == ""
