# SPDX-License-Identifier: Apache-2.0
"""Since when something holds without a break."""

import pytest

from imkd_ros.node.lasting import Lasting

SECOND = 1_000_000_000


def noted(*notes):
    lasting = Lasting()
    for now_s, holding, *undecided in notes:
        lasting.note(holding, round(now_s * SECOND), *undecided)
    return lasting


def found(lasting, now_s, least_s=1.0, **own_s):
    least_ns = {name: round(value * SECOND) for name, value in own_s.items()}
    return lasting.found(round(now_s * SECOND), least_ns, round(least_s * SECOND))


def test_what_has_held_for_long_is_found_in_its_newest_way():
    lasting = noted((10.0, {"A": "x"}), (11.0, {"A": "y"}), (11.1, {"A": "y", "B": "z"}))
    assert found(lasting, 11.1) == {"A": "y"}
    assert found(lasting, 10.9) == {}


def test_each_may_have_a_time_of_its_own_that_is_longer():
    lasting = noted((10.0, {"A": "x", "B": "x"}))
    assert found(lasting, 11.5, A=2.0, B=0.1) == {"B": "x"}
    assert found(lasting, 11.05, B=0.1) == {"A": "x", "B": "x"}


def test_a_break_ends_it_and_what_is_undecided_does_not_nor_begins_it():
    assert found(noted((10.0, {"A": "x"}), (10.5, {}), (11.0, {"A": "x"})), 11.5) == {}
    undecided = noted((10.0, {"A": "x"}), (10.5, {}, ("A", "B")), (11.0, {"A": "x"}))
    assert found(undecided, 11.5) == {"A": "x"}


@pytest.mark.parametrize("now_s", [5.0, 14.0])
def test_a_clock_that_went_back_and_a_long_pause_forget_it(now_s):
    lasting = noted((10.0, {"A": "x"}))
    assert found(lasting, now_s) == {}
    lasting.note({"A": "x"}, round(now_s * SECOND))
    assert found(lasting, now_s + 0.5) == {}


def test_all_can_be_forgotten():
    lasting = noted((10.0, {"A": "x"}))
    lasting.clear()
    assert found(lasting, 12.0) == {}
