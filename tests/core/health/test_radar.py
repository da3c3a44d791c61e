# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from benchmarks.sensor_faults import faulty_scan
from imkd_core.health.faults import EMPTY, FROZEN, INTERFERED, RADAR_FAULTS
from imkd_core.health.radar import RadarSettings, RadarState, advance

PERIOD_NS = 77_000_000


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def scan(rng, mean):
    return rng.normal(0, 10, (rng.poisson(mean), 7)).astype(np.float32)


def watch(scans, settings=None):
    state, told = RadarState(), []
    for number, points in enumerate(scans):
        stamp_ns = 10**9 + number * PERIOD_NS
        state = advance(state, stamp_ns, points, settings or RadarSettings())
        told.append(set(state.faults))
    return told


@pytest.mark.parametrize("mean", [0.3, 2.0, 25.0, 70.0])
def test_a_good_radar_has_no_fault(rng, mean):
    assert not set().union(*watch([scan(rng, mean) for _ in range(150)]))


@pytest.mark.parametrize("fault", RADAR_FAULTS)
@pytest.mark.parametrize("mean", [25.0, 70.0])
def test_each_fault_is_told_by_its_own_name_alone_and_ends_with_its_cause(rng, fault, mean):
    good = [scan(rng, mean) for _ in range(20)]
    bad = [faulty_scan(fault, scan(rng, mean), good[-1], rng) for _ in range(10)]

    told = watch([*good, *bad, scan(rng, mean)])

    assert not set().union(*told[:20])
    assert told[29] == {fault}
    assert told[30] == set()


def test_a_radar_that_sees_little_is_empty_only_after_long(rng):
    quiet = [scan(rng, 1.0) for _ in range(20)]
    told = watch([*quiet, *([scan(rng, 0.0)] * 45)])

    assert EMPTY not in told[20 + 20]
    assert told[-1] == {EMPTY}


def test_scans_that_are_alike_by_chance_are_not_frozen():
    one = np.ones((2, 7), np.float32)

    assert FROZEN not in set().union(*watch([one] * 20))


def test_traffic_that_comes_slowly_is_no_interference(rng):
    scans = [scan(rng, 20 + 0.4 * number) for number in range(150)]

    assert INTERFERED not in set().union(*watch(scans))


def test_clutter_that_stays_for_a_minute_is_the_new_usual(rng):
    minute = 60 * 10**9 // PERIOD_NS
    scans = [scan(rng, 25.0) for _ in range(20)] + [scan(rng, 80.0) for _ in range(minute + 20)]
    told = watch(scans)

    assert told[30] == told[minute] == {INTERFERED}
    assert told[-1] == set()
