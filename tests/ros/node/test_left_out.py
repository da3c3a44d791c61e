# SPDX-License-Identifier: Apache-2.0
"""What is told of a sensor that frames lack."""

import pytest

from imkd_ros.bridge.tally import REFUSALS, Tally
from imkd_ros.node.left_out import LeftOut, left_out_reason

SECOND = 1_000_000_000


def test_what_is_late_is_told_with_its_delay_and_where_to_look():
    text = left_out_reason("outside tolerance", (SECOND, SECOND * 7 // 5)).text
    assert text.startswith("left out of the frames (outside tolerance): ")
    assert "400 ms after their stamps" in text
    assert "sync.deadline_ms" in text


@pytest.mark.parametrize("reason", ["stamp behind", "out of order", "stamp in the future"])
def test_what_was_dropped_has_the_remedy_of_its_drop(reason):
    assert REFUSALS[reason] in left_out_reason(f"dropped: {reason}", None).text


@pytest.mark.parametrize("why", ["late", "corrupt", "silent", "dropped: queue full", "never seen"])
def test_every_reason_has_a_remedy_and_they_are_of_one_kind(why):
    reason = left_out_reason(why, None)
    assert "look at" in reason.text
    assert reason.kind == "left out"


def test_a_sensor_that_is_not_due_goes_on_being_late_and_does_not_begin_to():
    left_out, tally = LeftOut(), Tally()
    for tenth, why in enumerate(
        ["late", "not due", "late", "not due", "not due", "not due", "late"]
    ):
        left_out.note({"R": why, "S": "not due"}, 10 * SECOND + tenth * SECOND // 10)
    assert left_out.found(tally, 10 * SECOND + 6 * SECOND // 10) == {"R": "late"}
    left_out.note({"S": "not due"}, 11 * SECOND)
    assert left_out.found(tally, 11 * SECOND) == {}
