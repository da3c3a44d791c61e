# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import stats

from imkd_core.errors import ConfigError
from imkd_core.evaluation.intervals import (
    MIN_DRIVES,
    drawn_bounds,
    drawn_drives,
    mean_interval,
    paired_difference,
)


@pytest.mark.parametrize("values", [[0.4, 0.5], [0.41, 0.44, 0.43], [0.1, 0.2, 0.4, 0.3, 0.35]])
def test_the_interval_is_that_of_scipy(values):
    interval = mean_interval(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values)
    )
    assert interval.low == pytest.approx(low, rel=1e-3)
    assert interval.high == pytest.approx(high, rel=1e-3)
    assert interval.runs == len(values)


def test_between_tabled_degrees_of_freedom_the_interval_is_not_too_narrow():
    values = [math.sin(i) for i in range(14)]
    exact = stats.t.ppf(0.975, 13) * stats.sem(values)
    assert exact <= mean_interval(values).half_width <= 1.05 * exact


def test_one_run_has_no_interval():
    assert mean_interval([0.5]).half_width == math.inf


@pytest.mark.parametrize("values", [[], [0.1, math.nan]])
def test_nothing_and_nan_are_refused(values):
    with pytest.raises(ConfigError, match="finite"):
        mean_interval(values)


def test_a_difference_pairs_runs_by_seed():
    interval = paired_difference({0: 0.5, 1: 0.6, 7: 0.9}, {1: 0.5, 0: 0.4})
    assert interval.mean == pytest.approx(0.1)
    assert interval.half_width == pytest.approx(0, abs=1e-12)
    assert interval.runs == 2


def test_rows_without_a_common_seed_are_refused():
    with pytest.raises(ConfigError, match="no seed"):
        paired_difference({0: 0.1}, {1: 0.2})


def test_drives_are_drawn_with_the_same_seed_alike_and_as_many_each_time():
    times = drawn_drives(7, 400, seed=1)
    assert times.shape == (400, 7)
    assert (times.sum(axis=1) == 7).all()
    assert times.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
    np.testing.assert_array_equal(times, drawn_drives(7, 400, seed=1))
    with pytest.raises(ConfigError, match="1 drive and 1 draw"):
        drawn_drives(0, 10, seed=1)


def test_the_interval_of_drawn_means_is_about_that_of_student():
    values = np.random.default_rng(0).normal(5.0, 2.0, 60)
    drawn = drawn_drives(60, 4000, seed=2) @ values / 60
    bounds = drawn_bounds(float(values.mean()), drawn, 60)
    student = mean_interval(values.tolist())
    assert bounds.low == pytest.approx(student.low, abs=0.06)
    assert bounds.high == pytest.approx(student.high, abs=0.06)


@pytest.mark.parametrize(
    ("value", "unknown", "drives"), [(0.5, 0, MIN_DRIVES - 1), (0.5, 10, 9), (math.nan, 0, 9)]
)
def test_few_drives_or_a_figure_that_few_draws_know_allow_no_interval(value, unknown, drives):
    drawn = np.linspace(0, 1, 100)
    drawn[:unknown] = math.nan
    bounds = drawn_bounds(value, drawn, drives)
    assert (bounds.low, bounds.high) == (-math.inf, math.inf)


def test_a_figure_that_few_draws_do_not_know_has_an_interval_of_the_others():
    bounds = drawn_bounds(0.5, [math.nan, *np.linspace(0, 1, 99)], 9)
    assert (bounds.low, bounds.high) == pytest.approx((0.025, 0.975))
