# SPDX-License-Identifier: Apache-2.0
"""Levels say how much of the sensor set is used; the policy says what is done at each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_core.health.degradation import (
    ANSWERED,
    Action,
    FrameStatus,
    Level,
    Policy,
    level_of,
    no_frame,
    not_answered,
    outcome_of,
)

CAMERAS, RADARS = ("A", "B", "C"), ("R", "S")
sensors = st.frozensets(st.sampled_from(CAMERAS + RADARS))


@pytest.mark.parametrize(
    ("used", "level"),
    [
        ("ABCRS", Level.FULL),
        ("ABRS", Level.DEGRADED),
        ("ABCR", Level.DEGRADED),
        ("CR", Level.DEGRADED),
        ("ABC", Level.CAMERA_ONLY),
        ("A", Level.CAMERA_ONLY),
        ("RS", Level.RADAR_ONLY),
        ("R", Level.RADAR_ONLY),
        ("", Level.BLIND),
    ],
)
def test_the_level_says_how_much_is_used(used, level):
    assert level_of(set(used), CAMERAS, RADARS) == level


@pytest.mark.parametrize(
    ("used", "resting", "level"),
    [
        ("ABRS", "C", Level.FULL),
        ("ABCR", "S", Level.FULL),
        ("ARS", "C", Level.DEGRADED),
        ("ABC", "RS", Level.CAMERA_ONLY),
        ("RS", "ABC", Level.RADAR_ONLY),
        ("", "ABCRS", Level.BLIND),
    ],
)
def test_a_sensor_that_rests_makes_nothing_worse_but_is_not_there_either(used, resting, level):
    assert level_of(set(used), CAMERAS, RADARS, set(resting)) == level


@given(sensors, sensors)
def test_a_sensor_more_never_makes_it_worse_but_between_the_two_kinds(used, more):
    order = [Level.FULL, Level.DEGRADED, Level.CAMERA_ONLY, Level.BLIND]
    before, after = (
        Level.CAMERA_ONLY if level == Level.RADAR_ONLY else level
        for level in (level_of(used, CAMERAS, RADARS), level_of(used | more, CAMERAS, RADARS))
    )
    assert order.index(after) <= order.index(before)


@given(sensors)
def test_strangers_do_not_count(used):
    assert level_of(used | {"X"}, CAMERAS, RADARS) == level_of(used, CAMERAS, RADARS)


@pytest.mark.parametrize(
    ("used", "cameras", "radars", "level"),
    [
        ("AB", "AB", "", Level.FULL),
        ("A", "AB", "", Level.DEGRADED),
        ("", "AB", "", Level.BLIND),
        ("RS", "", "RS", Level.FULL),
        ("S", "", "RS", Level.DEGRADED),
    ],
)
def test_a_set_of_one_kind_is_full_with_all_of_that_kind(used, cameras, radars, level):
    assert level_of(set(used), tuple(cameras), tuple(radars)) == level


def test_by_default_boxes_come_wherever_there_is_a_sensor_and_blind_is_never_empty():
    actions = {level: Policy().action_at(level) for level in Level}
    assert actions.pop(Level.BLIND) == Action.STOP
    assert set(actions.values()) == {Action.PUBLISH}


@pytest.mark.parametrize("level", [level for level in Level if level != Level.FULL])
def test_each_level_has_an_action_of_its_own(level):
    policy = Policy(**{level.value: Action.PUBLISH_EMPTY})
    changed = [other for other in Level if policy.action_at(other) != Policy().action_at(other)]
    assert changed == [level]


def test_boxes_of_no_sensor_are_refused():
    with pytest.raises(ConfigError, match=r"policy\.blind"):
        Policy(blind=Action.PUBLISH)


def test_outcomes_name_what_was_done_and_why():
    assert outcome_of(Action.PUBLISH, Level.DEGRADED) == ANSWERED
    assert outcome_of(Action.PUBLISH_EMPTY, Level.BLIND) == "empty: policy blind"
    assert outcome_of(Action.STOP, Level.RADAR_ONLY) == "stopped: policy radar_only"
    assert not_answered("the network failed") == "not answered: the network failed"
    assert no_frame("all sensors are silent") == "no frame: all sensors are silent"


def test_a_status_is_frozen_with_its_mappings():
    ages = {"A": 0.0, "R": -3.0}
    status = FrameStatus(stamp_ns=1, level=Level.DEGRADED, outcome=ANSWERED, age_ms=ages)
    ages["B"] = 1.0
    assert status.used == ("A", "R")
    with pytest.raises(TypeError):
        status.missing["B"] = "silent"
