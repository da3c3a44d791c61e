# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_core.runtime.slots import Channel, Entry, Slot, SyncSettings, split_of

PERIOD = 80


def channels(*stamps: tuple[int, ...], period: int = PERIOD) -> list[Channel]:
    """One channel for each tuple of waiting stamps, ordered by their first."""
    made = []
    for i, waiting in enumerate(stamps):
        channel = Channel(f"camera {i}", 4, 1000)
        for k in (-2, -1):
            channel.note_arrival(1000 + waiting[0] + k * period, 0, 0)
        for stamp in waiting:
            channel.add(Entry(1000 + stamp, 0, None), 0)
        made.append(channel)
    return made


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cameras": ()}, "at least one"),
        ({"cameras": ("a", "a")}, "twice"),
        ({"radars": ("a",)}, "twice"),
        ({"tolerance_ns": 0}, "tolerance_ns"),
        ({"deadline_ns": -1}, "deadline_ns"),
        ({"dead_after_ns": 100_000_000}, "dead_after_ns"),
        ({"jump_ns": 0}, "jump_ns"),
        ({"max_future_ns": -1}, "max_future_ns"),
        ({"max_age_ns": 0}, "max_age_ns"),
        ({"min_period_ns": -1}, "min_period_ns"),
        ({"radar_sweeps": 0}, "radar_sweeps"),
        ({"queue": 1}, "queue"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SyncSettings(**{"cameras": ("a",), **change})


def test_a_slot_cannot_be_changed() -> None:
    readings = {"a": 1}
    slot = Slot(stamp_ns=5, readings=readings, missing={})
    readings["b"] = 2
    assert slot.readings == {"a": 1}
    with pytest.raises(TypeError):
        slot.readings["c"] = 3  # type: ignore[index]


def test_cameras_spread_over_the_whole_period_belong_together() -> None:
    assert split_of(channels((0,), (20,), (40,), (60,)), 100) == (0, False)


def test_cameras_of_one_trigger_are_split_where_one_lost_a_message() -> None:
    assert split_of(channels((0,), (0,), (1,), (80,)), 100) == (3, False)


def test_a_head_beyond_the_tolerance_is_split_off_at_the_widest_gap() -> None:
    assert split_of(channels((0,), (30,), (100,), (120,)), 110) == (2, True)


def test_without_a_known_period_only_the_tolerance_splits() -> None:
    pending = []
    for stamp in (1000, 1079):
        channel = Channel("camera", 4, 1000)
        channel.add(Entry(stamp, 0, None), 0)
        pending.append(channel)
    assert split_of(pending, 100) == (0, False)
    assert split_of(pending, 50) == (1, True)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=7), st.integers(1, 200))
def test_a_split_leaves_both_sides_something_and_is_forced_beyond_the_tolerance(
    stamps: list[int], tolerance: int
) -> None:
    pending = channels(*((stamp,) for stamp in sorted(stamps)))
    count, is_forced = split_of(pending, tolerance)
    assert 0 <= count < len(pending)
    assert is_forced == (max(stamps) - min(stamps) > tolerance)
    assert count > 0 or not is_forced


def test_the_period_is_the_median_of_the_intervals() -> None:
    channel = Channel("camera", 4, 1000)
    assert channel.period_ns == 0
    for stamp in (1000, 1080, 1160, 2000, 2081, 2160):
        channel.note_arrival(stamp, 0, 0)
    assert channel.period_ns == 80


def test_an_outage_is_not_a_period() -> None:
    channel = Channel("camera", 4, 1000)
    for stamp in (5000, 6000, 7001):
        channel.note_arrival(stamp, 0, 0)
    assert channel.period_ns == 1000
