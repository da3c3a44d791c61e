# SPDX-License-Identifier: Apache-2.0
"""What is advised where frames take too long."""

import pytest

from imkd_ros.node.latency import LatencyWindow, latency_status
from imkd_ros.node.verdicts import OK, WARN


def status(before_ms, total_ms, **arguments):
    window = LatencyWindow()
    window.add({"sync": before_ms, "total": total_ms})
    return latency_status(window, 200.0, with_details=False, **arguments)


@pytest.mark.parametrize(
    ("before_ms", "total_ms", "kind", "words"),
    [
        (30.0, 400.0, "work", "model.threads"),
        (30.0, 210.0, "work", "model.threads"),  # without it the rest would be little enough
        (600.0, 1100.0, "work", "model.threads"),  # the rest alone is too long
        (380.0, 450.0, "before", "380 ms of it pass before a frame is whole"),
        (37_000.0, 37_050.0, "before", "clocks"),
    ],
)
def test_the_advice_is_for_where_the_time_goes(before_ms, total_ms, kind, words):
    found = status(before_ms, total_ms)
    assert (found.level, found.kind) == (WARN, kind)
    assert words in found.message
    assert ("model.threads" in found.message) == (kind == "work")


def test_where_all_stamps_are_old_it_is_the_clock():
    found = status(600.0, 1100.0, are_stamps_old=True)
    assert (found.level, found.kind) == (WARN, "clock")
    assert "model.threads" not in found.message


def test_what_is_short_enough_is_well_whatever_the_stamps():
    assert status(50.0, 100.0, are_stamps_old=True).level == OK
