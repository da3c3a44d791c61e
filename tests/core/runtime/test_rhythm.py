# SPDX-License-Identifier: Apache-2.0
"""What is usual of a sensor: learned from what it does, and not from a single outage."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.runtime.rhythm import Rhythm
from tests.core.runtime.streams import MS, START_NS

SECOND = 1000 * MS


def rhythm_of(stamps_ms, arrivals_ms=None):
    rhythm = Rhythm(SECOND)
    for stamp_ms, arrival_ms in zip(stamps_ms, arrivals_ms or stamps_ms, strict=True):
        rhythm.add(START_NS + round(stamp_ms * MS), START_NS + round(arrival_ms * MS))
    return rhythm


@given(st.floats(10, 600), st.integers(12, 60))
def test_a_steady_sensor_has_its_period_and_half_of_one_more_as_patience(period_ms, count):
    rhythm = rhythm_of([k * period_ms for k in range(count)])
    assert rhythm.period_ns == pytest.approx(period_ms * MS, abs=2)
    assert rhythm.patience_ns == pytest.approx(min(1.5 * period_ms * MS, SECOND), abs=4)
    assert (rhythm.lost, rhythm.jumps) == (0, 0)


def test_nothing_is_usual_of_a_sensor_that_came_a_few_times_only():
    assert rhythm_of([0]).period_ns == 0
    assert rhythm_of([0, 50, 100]).patience_ns == SECOND


def test_one_outage_is_no_habit_and_two_are():
    times_ms = [50 * k for k in range(20)]
    once = [t + 400 * (t > 500) for t in times_ms]
    twice = [t + 400 * (t > 500) + 400 * (t > 700) for t in times_ms]
    assert rhythm_of(once).patience_ns == 75 * MS
    assert rhythm_of(twice).patience_ns > 450 * MS


@given(st.integers(0, 1000))
def test_patience_of_a_sensor_that_jitters_is_hardly_ever_exceeded(seed):
    rng = random.Random(seed)
    rhythm, exceeded, before_ns = Rhythm(SECOND), 0, 0
    for k in range(300):
        stamp_ns = START_NS + round((83 * k + rng.uniform(-20, 20)) * MS)
        arrival_ns = stamp_ns + round(rng.uniform(0, 30) * MS)
        exceeded += k > 40 and arrival_ns - before_ns > rhythm.patience_ns
        rhythm.add(stamp_ns, arrival_ns)
        before_ns = arrival_ns
    assert exceeded <= 3


@given(st.frozensets(st.integers(20, 80), max_size=8))
def test_lost_messages_are_counted_by_the_period(lost):
    kept = [k for k in range(100) if k not in lost]
    rhythm = rhythm_of([60 * k for k in kept])
    in_one_go = max((b - a for a, b in itertools.pairwise(kept)), default=1)
    assert rhythm.lost == len(lost) or 60 * in_one_go > 1000


@pytest.mark.parametrize("jump_ms", [-3000, -700, 700, 3000])
def test_a_stamp_that_leaves_the_clock_of_arrival_is_a_jump_once(jump_ms):
    arrivals_ms = [50 * k for k in range(30)]
    stamps_ms = [t + jump_ms * (t > 700) for t in arrivals_ms]
    rhythm = rhythm_of(stamps_ms, arrivals_ms)
    assert rhythm.jumps == 1
    assert rhythm.period_ns == 50 * MS


def test_a_bag_that_loops_with_its_clock_is_no_jump():
    times_ms = [50 * k for k in range(20)] * 2
    assert rhythm_of(times_ms).jumps == 0
