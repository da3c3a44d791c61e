# SPDX-License-Identifier: Apache-2.0
"""What went wrong of late."""

from imkd_ros.bridge.tally import Problem
from imkd_ros.node.problems import RecentProblems

SECOND = 1_000_000_000


def problem(reason, text="do this", sensor="A"):
    return Problem(sensor=sensor, reason=reason, text=text)


def test_each_reason_is_kept_once_with_its_newest_text_and_for_a_while():
    problems = RecentProblems()
    problems.note(problem("late", "old"), 9 * SECOND)
    problems.note(problem("cut"), 10 * SECOND)
    assert [one.text for one in problems.of("A", 10 * SECOND)] == ["do this", "old"]
    problems.note(problem("late", "new"), 12 * SECOND)
    assert [one.text for one in problems.of("A", 12 * SECOND)] == ["new", "do this"]
    assert [one.reason for one in problems.of("A", 14 * SECOND)] == ["late"]
    assert problems.of("A", 15 * SECOND) == []


def test_those_of_a_time_that_the_clock_left_are_not_told():
    problems = RecentProblems()
    problems.note(problem("late"), 60 * SECOND)
    assert problems.of("A", 20 * SECOND) == []


def test_each_sensor_has_its_own():
    problems = RecentProblems()
    problems.note(problem("late", sensor="tf"), SECOND)
    assert (problems.sensors, problems.of("A", SECOND)) == (("tf",), [])
