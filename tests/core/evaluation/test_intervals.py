# SPDX-License-Identifier: Apache-2.0
import math

import pytest
from scipy import stats

from imkd_core.errors import ConfigError
from imkd_core.evaluation.intervals import mean_interval, paired_difference


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
