# SPDX-License-Identifier: Apache-2.0
"""Sensors that fall silent in mid-drive and come back: the slots go on."""

import itertools

import pytest

from imkd_core.runtime.slots import MISSING_SILENT, SyncSettings
from imkd_core.runtime.synchronizer import SlotSynchronizer
from tests.core.runtime.streams import CAMERAS, MS, RADARS, START_NS, rig_stream
from tests.core.runtime.test_synchronizer import RIG, assert_accounted, play

PERIOD_NS = 1000 * MS // 12
LOSSES = {
    "one camera": CAMERAS[1:2],
    "three cameras": CAMERAS[1:4],
    "all cameras": CAMERAS,
    "one radar": RADARS[:1],
    "all radars": RADARS,
}
#: How the cameras fire, and how punctual all sensors are.
MOUNTINGS = {
    "triggered": {"camera_phases_ms": [3] * 6, "jitter_ms": 1, "latency_ms": 5},
    "staggered": {
        "camera_phases_ms": [i * 1000 / 72 for i in range(6)],
        "jitter_ms": 1,
        "latency_ms": 5,
    },
    "free": {"jitter_ms": 2, "latency_ms": 10},
}
FROM_NS, UNTIL_NS = START_NS + 4000 * MS, START_NS + 6000 * MS


def with_loss(stream, gone, shift_ns):
    """Take the readings of some sensors out of two seconds of a stream."""
    begin_ns, end_ns = FROM_NS + shift_ns, UNTIL_NS + shift_ns
    return [r for r in stream if r.sensor not in gone or not begin_ns <= r.stamp_ns < end_ns]


@pytest.mark.parametrize("mounting", MOUNTINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_two_slots_are_further_apart_than_two_periods(loss, mounting):
    gone = LOSSES[loss]
    for shift_ms in (0, 17, 34, 51, 68):
        whole = rig_stream(shift_ms, 8.0, **MOUNTINGS[mounting])
        stream = with_loss(whole, gone, shift_ms * MS)
        sync = SlotSynchronizer(RIG)
        slots = play(sync, stream)
        times_ns = [now_ns for now_ns, _ in slots if now_ns > START_NS + 1000 * MS]
        gaps_ns = [b - a for a, b in itertools.pairwise(times_ns)]
        assert max(gaps_ns) <= 2 * PERIOD_NS
        assert_in_order(slots)
        assert_accounted(sync)


def test_radars_go_on_with_the_scans_that_went_along_with_the_last_images():
    """The last images wait for the rest of their turn, and newer scans come meanwhile."""
    phases_ms = [0, 9.7, 17.4, 25, 32.6, 40.3]
    whole = rig_stream(9, 8.0, jitter_ms=0, latency_ms=5, camera_phases_ms=phases_ms)
    for shift_ms in range(0, 84, 6):
        stream = with_loss(whole, CAMERAS, shift_ms * MS)
        stamps_ns = [slot.stamp_ns for _, slot in play(SlotSynchronizer(RIG), stream)]
        gaps_ns = [b - a for a, b in itertools.pairwise(stamps_ns) if a > FROM_NS - 1000 * MS]
        assert max(gaps_ns) < 1.6 * PERIOD_NS


def assert_in_order(slots):
    stamps_ns = [slot.stamp_ns for _, slot in slots]
    assert stamps_ns == sorted(set(stamps_ns))


@pytest.mark.parametrize("mounting", MOUNTINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_silent_within_half_a_second_and_back_within_three_frames(loss, mounting):
    gone = LOSSES[loss]
    stream = with_loss(rig_stream(3, 8.0, **MOUNTINGS[mounting]), gone, 0)
    slots = play(SlotSynchronizer(RIG), stream)
    while_lost = [s for now_ns, s in slots if FROM_NS + 400 * MS < now_ns < UNTIL_NS]
    assert {tuple(slot.missing) for slot in while_lost} == {tuple(gone)}
    assert {why for slot in while_lost for why in slot.missing.values()} == {MISSING_SILENT}
    back_ns = min(r.arrival_ns for r in stream if r.sensor in gone and r.stamp_ns >= UNTIL_NS)
    after = [slot for now_ns, slot in slots if now_ns >= back_ns]
    assert any(not slot.missing for slot in after[:3])
    assert all(not slot.missing for slot in after[3:])


def test_radars_do_not_take_over_while_cameras_lose_every_second_message():
    settings = SyncSettings(cameras=CAMERAS[:1], radars=RADARS)
    kept = set(CAMERAS[1:])
    stream = rig_stream(4, 30.0, loss={"CAM_0": 0.5}, jitter_ms=5, dead=kept)
    slots = play(SlotSynchronizer(settings), stream)
    images = sum(r.sensor == "CAM_0" for r in stream)
    used = sum("CAM_0" in slot.readings for _, slot in slots)
    assert used >= 0.98 * images
    assert_in_order(slots)


def test_time_in_which_nobody_listened_is_no_silence():
    sync = SlotSynchronizer(RIG)
    stream = rig_stream(5, 4.0, **MOUNTINGS["triggered"])
    stall_ns = START_NS + 2000 * MS
    end_ns = stall_ns + 2 * PERIOD_NS
    before = [r for r in stream if r.arrival_ns < stall_ns]
    held = [r._replace(arrival_ns=end_ns) for r in stream if stall_ns <= r.arrival_ns < end_ns]
    held.sort(key=lambda r: r.sensor in CAMERAS)  # the radars' come first
    slots = play(sync, before)
    begin = len(slots)
    for number, reading in enumerate(held):
        now_ns = end_ns + number * MS // 4
        slots += [(now_ns, s) for s in sync.push(reading.sensor, reading.stamp_ns, None, now_ns)]
    slots += play(sync, [r for r in stream if r.arrival_ns >= end_ns + 10 * MS])
    assert all(set(CAMERAS) <= set(slot.readings) for _, slot in slots[begin:])


def test_cameras_that_come_back_one_after_the_other_are_collected_into_one_slot():
    phases_ms = [0, 8, 16, 24, 120, 128]
    stream = with_loss(
        rig_stream(7, 8.0, camera_hz=6.0, jitter_ms=1, latency_ms=3, camera_phases_ms=phases_ms),
        CAMERAS,
        0,
    )
    slots = play(SlotSynchronizer(RIG), stream)
    back_ns = min(r.arrival_ns for r in stream if r.sensor in CAMERAS and r.stamp_ns >= UNTIL_NS)
    after = [slot for now_ns, slot in slots if now_ns >= back_ns]
    assert any(not slot.missing for slot in after[:3])


def test_a_camera_that_comes_back_alone_makes_slots_at_its_own_rate():
    stream = with_loss(rig_stream(8, 8.0, **MOUNTINGS["triggered"]), CAMERAS, 0)
    stream = [r for r in stream if r.stamp_ns < UNTIL_NS or r.sensor not in CAMERAS[1:]]
    slots = play(SlotSynchronizer(RIG), stream)
    alone = [now_ns for now_ns, slot in slots if now_ns > UNTIL_NS + 2 * PERIOD_NS]
    gaps_ns = [b - a for a, b in itertools.pairwise(alone)]
    assert max(gaps_ns) < 1.2 * PERIOD_NS
    times_ns = [now_ns for now_ns, _ in slots if now_ns > UNTIL_NS - 2 * PERIOD_NS]
    assert max(b - a for a, b in itertools.pairwise(times_ns)) <= 2 * PERIOD_NS
