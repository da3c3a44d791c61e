# SPDX-License-Identifier: Apache-2.0
"""Whether a sensor's clock is the node's."""

from imkd_ros.node.stamp_age import StampAges

SECOND = 1_000_000_000


def stale(ages_s, lost=(), seconds=1.0):
    ages = StampAges()
    for step in range(round(10 * seconds) + 1):
        now_ns = 100 * SECOND + step * SECOND // 10
        newest = {name: (now_ns - round(age * SECOND), now_ns) for name, age in ages_s.items()}
        found = ages.stale(newest, lost, now_ns)
    return found


def test_stamps_are_old_beyond_the_line_and_for_long():
    assert list(stale({"A": 1.1, "B": 0.9, "C": -40.0})) == ["A"]
    assert stale({"A": 1.1}, seconds=0.5) == {}


def test_a_sensor_that_is_silent_is_not_told_for_its_clock():
    assert stale({"A": 37.0}, lost=("A",)) == {}


def test_the_text_has_the_age_and_what_to_do():
    text = stale({"A": 37.0})["A"].text
    assert "stale clock: its stamps are 37.0 s old" in text
    assert all(word in text for word in ("PTP", "NTP", "use_sim_time"))
