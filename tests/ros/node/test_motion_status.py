# SPDX-License-Identifier: Apache-2.0
"""How bad it is that frames lack ego motion."""

import pytest

from imkd_ros.node.motion_status import MotionWatch
from imkd_ros.node.verdicts import ERROR, OK, WARN

SECOND = 1_000_000_000
TEXT = "start the odometry"


def lost(seconds, needs=("the model's memory stays empty",), step_s=0.5):
    """A loss that has lasted so long, noted with each frame."""
    watch = MotionWatch(needs)
    for number in range(round(seconds / step_s) + 1):
        watch.note(TEXT, 10 * SECOND + round(number * step_s * SECOND))
    return watch, 10 * SECOND + round(seconds * SECOND)


def test_a_short_loss_is_a_warning_with_the_remedy():
    watch, now_ns = lost(1.5)
    assert (watch.status(now_ns).level, watch.status(now_ns).message) == (WARN, TEXT)


def test_a_long_loss_that_boxes_depend_on_is_an_error_that_says_what_is_wrong():
    watch, now_ns = lost(3.0)
    told = watch.status(now_ns)
    assert told.level == ERROR
    assert told.message.startswith(TEXT)
    assert "memory stays empty" in told.message


def test_a_long_loss_that_nothing_depends_on_stays_a_warning():
    watch, now_ns = lost(30.0, needs=())
    assert watch.status(now_ns).level == WARN


def test_single_frames_without_it_are_no_long_loss():
    watch, now_ns = lost(30.0, step_s=1.5)
    assert watch.status(now_ns).level == WARN


def test_it_is_well_again_some_seconds_after_the_last_such_frame():
    watch, now_ns = lost(5.0)
    assert watch.status(now_ns + 2 * SECOND).level == WARN
    assert watch.status(now_ns + 3 * SECOND).level == OK


@pytest.mark.parametrize("now_ns", [0, 5 * SECOND])
def test_a_clock_that_went_back_forgets_it(now_ns):
    watch, _ = lost(5.0)
    assert watch.status(now_ns).level == OK
    watch.note(TEXT, now_ns)
    assert watch.status(now_ns).level == WARN
