# SPDX-License-Identifier: Apache-2.0
"""Frames that did not come about, each told once."""

from imkd_core.runtime.unmade import UnmadeFrames


def noted(stamps, others=(), period_ns=100):
    frames = UnmadeFrames()
    for stamp_ns in stamps:
        frames.note(stamp_ns, "late", period_ns=period_ns, others_ns=others)
    return [stamp_ns for stamp_ns, _ in frames.take()]


def test_readings_of_one_turn_are_one_frame():
    assert noted([1000, 1020, 1049, 1100, 1110]) == [1000, 1100]


def test_what_is_of_the_turn_of_a_frame_that_came_is_no_other():
    assert noted([1049, 1050, 1951], others=(1000, 2000)) == [1050]


def test_they_are_told_once_and_the_oldest_are_forgotten():
    frames = UnmadeFrames()
    for number in range(1, 101):
        frames.note(1000 * number, "late", period_ns=100, others_ns=())
    told = frames.take()
    assert (len(told), told[-1]) == (64, (100_000, "late"))
    assert frames.take() == []


def test_after_time_went_back_they_are_told_again():
    assert noted([9000, 1000, 1100]) == [9000, 1000, 1100]
