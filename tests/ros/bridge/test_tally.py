# SPDX-License-Identifier: Apache-2.0
"""Counts are exact, also when several threads refuse images at once."""

import sys
import threading

from imkd_ros.bridge.tally import Tally

MS = 1_000_000


def test_no_drop_of_any_thread_is_lost():
    tally, switch_s = Tally(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def refuse(sensor):
        for _ in range(500):
            tally.drop(sensor, "bad image", "corrupt")
            tally.count("all", "bad image", 1)

    try:
        threads = [threading.Thread(target=refuse, args=(name,)) for name in "ABCA"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            dict(tally.drops)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_s)
    found = {name: counts["bad image"] for name, counts in tally.drops.items()}
    assert found == {"A": 1000, "B": 500, "C": 500, "all": 2000}


def test_problems_are_told_once_for_each_sensor_and_reason():
    tally = Tally()
    for text in ("first", "second"):
        tally.drop("A", "bad image", text)
    tally.drop("B", "bad image", "other")
    assert [problem.text for problem in tally.take_problems()] == ["second", "other"]
    assert tally.take_problems() == []
    assert tally.drops["A"] == {"bad image": 2}


def test_a_sensor_is_silent_after_three_of_its_periods_and_after_the_timeout_in_any_case():
    tally = Tally()
    for k in range(20):
        tally.accept("fast", k * 80 * MS + MS, k * 80 * MS)
        tally.accept("slow", k * 800 * MS + MS, k * 800 * MS)
    fast_ns, slow_ns = 19 * 80 * MS, 19 * 800 * MS
    assert not tally.is_silent("fast", fast_ns + 290 * MS, 1000 * MS)
    assert tally.is_silent("fast", fast_ns + 310 * MS, 1000 * MS)
    assert tally.is_silent("fast", fast_ns + 210 * MS, 200 * MS)
    assert not tally.is_silent("slow", slow_ns + 990 * MS, 1000 * MS)
    assert tally.is_silent("slow", slow_ns + 1010 * MS, 1000 * MS)
    assert not tally.is_silent("slow", slow_ns + 1010 * MS, 5000 * MS)


def test_after_the_clock_went_back_sensors_have_to_come_anew():
    tally = Tally()
    tally.accept("A", 9000 * MS, 9000 * MS)
    tally.accept("B", 100 * MS, 100 * MS)
    tally.forget_after(150 * MS)
    assert dict(tally.newest) == {"B": (100 * MS, 100 * MS)}
    assert tally.accepted == {"A": 1, "B": 1}
