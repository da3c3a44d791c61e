# SPDX-License-Identifier: Apache-2.0
import importlib.util
from itertools import pairwise

import pytest

from imkd_core.errors import ConfigError
from imkd_core.runtime.slots import (
    DROP_RESET,
    DROP_STAMP,
    DROP_SUPERSEDED,
    DROP_UNKNOWN,
    SyncSettings,
)
from imkd_ros.bridge.message_filters_sync import MessageFiltersSynchronizer
from tests.core.runtime.streams import CAMERAS, MS, RADARS, START_NS, rig_stream

HAS_LIBRARY = all(importlib.util.find_spec(name) for name in ("message_filters", "rclpy"))
needs_library = pytest.mark.skipif(not HAS_LIBRARY, reason="message_filters is not installed")
PAIR = SyncSettings(cameras=("left", "right"), radars=("radar",), tolerance_ns=100 * MS, queue=5)


@pytest.mark.skipif(HAS_LIBRARY, reason="message_filters is installed")
def test_without_the_library_the_error_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"install ROS 2's package message_filters .* 'slots'"):
        MessageFiltersSynchronizer(PAIR)


@needs_library
def test_a_complete_set_becomes_a_slot_with_the_newest_image_as_reference() -> None:
    sync = MessageFiltersSynchronizer(PAIR)
    assert sync.push("left", START_NS, "l", START_NS) == []
    assert sync.push("radar", START_NS + 40 * MS, "r", START_NS) == []
    (slot,) = sync.push("right", START_NS + 30 * MS, "t", START_NS)
    assert slot.stamp_ns == START_NS + 30 * MS
    assert slot.readings == {"left": "l", "right": "t", "radar": ("r",)}
    assert slot.missing == {}
    assert (sync.pushed, sync.used, sync.pending, sync.counters) == (3, 3, 0, {})
    assert sync.poll(START_NS + 10_000 * MS) == []
    assert sync.next_deadline_ns is None


@needs_library
def test_it_counts_what_it_drops_and_starts_afresh_when_a_bag_loops() -> None:
    sync = MessageFiltersSynchronizer(PAIR)
    sync.push("stranger", START_NS, None, START_NS)
    sync.push("left", 0, None, START_NS)
    for k in range(8):
        sync.push("left", START_NS + k * 400 * MS, None, START_NS)
    assert sync.counters == {DROP_UNKNOWN: 1, DROP_STAMP: 1, DROP_SUPERSEDED: 3}
    sync.push("left", START_NS, None, START_NS)
    assert (sync.jumps, sync.pending) == (1, 1)
    assert sync.counters[DROP_RESET] == 5
    assert sync.used + sync.pending + sum(sync.counters.values()) == sync.pushed


@needs_library
def test_it_gives_frames_while_all_sensors_live_and_none_without_one() -> None:
    settings = SyncSettings(cameras=CAMERAS, radars=RADARS, queue=10)
    for dead, least, most in (((), 0.8, 1.0), (("RADAR_2",), 0.0, 0.0)):
        sync = MessageFiltersSynchronizer(settings)
        slots = [
            slot
            for reading in rig_stream(1, 10, dead=dead)
            for slot in sync.push(reading.sensor, reading.stamp_ns, None, reading.arrival_ns)
        ]
        assert least * 120 <= len(slots) <= most * 120
        assert all(a.stamp_ns < b.stamp_ns for a, b in pairwise(slots))
