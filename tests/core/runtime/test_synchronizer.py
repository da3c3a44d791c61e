# SPDX-License-Identifier: Apache-2.0
import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.runtime.slots import (
    DROP_BEHIND,
    DROP_DUPLICATE,
    DROP_FUTURE,
    DROP_LATE,
    DROP_ORDER,
    DROP_OVERFLOW,
    DROP_RATE,
    DROP_RESET,
    DROP_STALE,
    DROP_STAMP,
    DROP_SUPERSEDED,
    DROP_UNKNOWN,
    MISSING_JUMP,
    MISSING_LATE,
    MISSING_LOST,
    MISSING_NEVER,
    MISSING_NOT_DUE,
    MISSING_SILENT,
    MISSING_TOLERANCE,
    Slot,
    SyncSettings,
)
from imkd_core.runtime.synchronizer import SlotSynchronizer
from tests.core.runtime.streams import CAMERAS, MS, RADARS, START_NS, Reading, rig_stream

RIG = SyncSettings(cameras=CAMERAS, radars=RADARS)
PAIR = SyncSettings(cameras=("left", "right"), radars=("radar",), dead_after_ns=400 * MS)


def play(sync: SlotSynchronizer, readings: Iterable[Reading]) -> list[tuple[int, Slot]]:
    """Feed readings, poll at each deadline on the way; return slots with their time."""
    slots = []
    for reading in readings:
        while (due_ns := sync.next_deadline_ns) is not None and due_ns < reading.arrival_ns:
            slots += [(due_ns, slot) for slot in sync.poll(due_ns)]
        finished = sync.push(reading.sensor, reading.stamp_ns, reading, reading.arrival_ns)
        slots += [(reading.arrival_ns, slot) for slot in finished]
    return slots


def push_all(sync: SlotSynchronizer, at_ms: float, *sensors: str, late_ms: float = 0) -> list[Slot]:
    """Push one reading of each sensor, all of the same stamp."""
    slots = []
    for sensor in sensors:
        stamp_ns = START_NS + int(at_ms * MS)
        slots += sync.push(sensor, stamp_ns, (sensor, at_ms), stamp_ns + int(late_ms * MS))
    return slots


def assert_accounted(sync: SlotSynchronizer) -> None:
    assert sync.used + sync.pending + sum(sync.counters.values()) == sync.pushed


@st.composite
def event_lists(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """(sensor, stamp, now): mostly well-behaved, with every kind of nonsense mixed in."""
    now_ns, events = START_NS, []
    for _ in range(draw(st.integers(0, 60))):
        now_ns += draw(st.integers(0, 90)) * MS
        sensor = draw(st.sampled_from(["left", "right", "radar", "radar", "stranger"]))
        age_ms = draw(st.sampled_from([0, 5, 20, 20, 60, 130, 260, 900, -50, -500]))
        stamp_ns = draw(st.sampled_from([now_ns - age_ms * MS] * 9 + [0, -5, 1 << 63]))
        if draw(st.integers(0, 40)) == 0:
            now_ns -= draw(st.sampled_from([10, 5000])) * MS
        events.append((sensor, stamp_ns, now_ns))
    return events


settings_lists = st.builds(
    SyncSettings,
    cameras=st.just(("left", "right")),
    radars=st.just(("radar",)),
    tolerance_ns=st.sampled_from([30 * MS, 120 * MS]),
    deadline_ns=st.sampled_from([40 * MS, 150 * MS]),
    dead_after_ns=st.just(400 * MS),
    min_period_ns=st.sampled_from([0, 70 * MS]),
    max_age_ns=st.sampled_from([None, 500 * MS]),
    radar_sweeps=st.integers(1, 3),
    queue=st.integers(2, 4),
)


@given(settings_lists, event_lists())
def test_whatever_comes_the_promises_hold(
    settings: SyncSettings, events: list[tuple[str, int, int]]
) -> None:
    sync = SlotSynchronizer(settings)
    reference_ns, jumps = 0, 0
    given_out: list[Any] = []
    for number, (sensor, stamp_ns, now_ns) in enumerate(events):
        for slot in sync.push(sensor, stamp_ns, (number, stamp_ns), now_ns):
            if slot.jumps > jumps:
                jumps, reference_ns = slot.jumps, 0
            assert slot.stamp_ns > reference_ns
            assert not reference_ns or slot.stamp_ns - reference_ns >= settings.min_period_ns
            reference_ns = slot.stamp_ns
            images = [slot.readings[n] for n in settings.cameras if n in slot.readings]
            given_out += images
            stamps_ns = [stamp for _, stamp in images]
            assert slot.stamp_ns == max(stamps_ns or [slot.stamps_ns["radar"]])
            assert set(slot.readings) | set(slot.missing) == {"left", "right", "radar"}
            assert not set(slot.readings) & set(slot.missing)
            for stamp in slot.stamps_ns.values():
                assert abs(stamp - slot.stamp_ns) <= settings.tolerance_ns
            scans = [stamp for _, stamp in slot.readings.get("radar", ())]
            assert scans == sorted(set(scans), reverse=True)
            assert len(scans) <= settings.radar_sweeps
        assert_accounted(sync)
        assert sync.pending <= 3 * settings.queue + settings.radar_sweeps
    assert len(given_out) == len(set(given_out))


@given(settings_lists, event_lists())
def test_the_same_calls_give_the_same_slots(
    settings: SyncSettings, events: list[tuple[str, int, int]]
) -> None:
    first, second = SlotSynchronizer(settings), SlotSynchronizer(settings)
    for number, (sensor, stamp_ns, now_ns) in enumerate(events):
        reading = (number, stamp_ns)
        assert first.push(sensor, stamp_ns, reading, now_ns) == second.push(
            sensor, stamp_ns, reading, now_ns
        )
    assert first.counters == second.counters


@given(settings_lists, event_lists(), st.integers(0, 2000))
def test_after_a_poll_nothing_is_overdue(
    settings: SyncSettings, events: list[tuple[str, int, int]], wait_ms: int
) -> None:
    sync = SlotSynchronizer(settings)
    newest_ns = START_NS
    for number, (sensor, stamp_ns, now_ns) in enumerate(events):
        sync.push(sensor, stamp_ns, (number, stamp_ns), now_ns)
        newest_ns = max(newest_ns, now_ns)
    sync.poll(newest_ns + wait_ms * MS)
    due_ns = sync.next_deadline_ns
    assert due_ns is None or due_ns > newest_ns + wait_ms * MS


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dead", [(), ("CAM_2",), ("RADAR_1",), ("CAM_0", "RADAR_4")])
def test_free_running_sensors_give_99_percent_of_the_frames(
    seed: int, dead: tuple[str, ...]
) -> None:
    seconds = 20.0
    sync = SlotSynchronizer(RIG)
    slots = play(sync, rig_stream(seed, seconds, dead=dead))
    alive = set(CAMERAS + RADARS) - set(dead)
    complete = [slot for _, slot in slots if alive <= set(slot.readings)]
    assert len(complete) >= 0.99 * 12 * seconds
    assert len(slots) <= 1.01 * 12 * seconds
    for name in dead:
        assert all(slot.missing[name] == MISSING_NEVER for _, slot in slots)
    assert_accounted(sync)


def test_cameras_spread_evenly_over_the_period_give_99_percent_of_the_frames() -> None:
    phases_ms = [i * 1000 / 72 for i in range(6)]
    slots = play(SlotSynchronizer(RIG), rig_stream(3, 40, camera_phases_ms=phases_ms))
    complete = [slot for _, slot in slots if not slot.missing]
    assert len(complete) >= 0.99 * 12 * 40


@pytest.mark.parametrize("loss", [0.5, 0.9])
def test_a_camera_that_loses_messages_costs_no_frames(loss: float) -> None:
    slots = play(SlotSynchronizer(RIG), rig_stream(5, 30, loss={"CAM_1": loss}))
    assert len(slots) >= 0.99 * 12 * 30
    others = set(CAMERAS) - {"CAM_1"}
    complete = [slot for _, slot in slots if others <= set(slot.readings)]
    assert len(complete) >= 0.97 * 12 * 30


@pytest.mark.parametrize("hz", [5.0, 15.0, 30.0])
def test_a_camera_of_another_rate_costs_no_frames(hz: float) -> None:
    slots = play(SlotSynchronizer(RIG), rig_stream(6, 30, rates_hz={"CAM_3": hz}))
    assert len(slots) >= 0.99 * 12 * 30


def test_a_dead_sensor_is_not_waited_for() -> None:
    seconds, last_ns = 20.0, START_NS + 5_000 * MS
    stream = [
        reading
        for reading in rig_stream(7, seconds, jitter_ms=5, camera_phases_ms=[0, 5, 9, 2, 1, 4])
        if reading.sensor != "CAM_4" or reading.stamp_ns < last_ns
    ]
    slots = play(SlotSynchronizer(RIG), stream)
    silent_ns = last_ns + RIG.dead_after_ns
    delays_ns = [now_ns - s.stamp_ns for now_ns, s in slots if now_ns > silent_ns + 100 * MS]
    assert len(delays_ns) > 150
    assert max(delays_ns) < 60 * MS
    missing = [slot.missing.get("CAM_4") for now_ns, slot in slots if now_ns > silent_ns]
    assert set(missing) == {MISSING_SILENT}
    assert len(slots) >= 0.99 * 12 * seconds


def test_no_frame_waits_longer_than_the_deadline() -> None:
    stream = rig_stream(8, 20, loss={"CAM_1": 0.3, "CAM_5": 0.3})
    arrivals_ns = {(r.sensor, r.stamp_ns): r.arrival_ns for r in stream}
    slots = play(SlotSynchronizer(RIG), stream)
    waits_ns = [
        now_ns - min(arrivals_ns[r.sensor, r.stamp_ns] for r in images)
        for now_ns, slot in slots
        if (images := [slot.readings[n] for n in CAMERAS if n in slot.readings])
    ]
    assert max(waits_ns) <= RIG.deadline_ns


def test_cameras_of_one_trigger_are_never_mixed_after_a_loss() -> None:
    stream = rig_stream(9, 30, jitter_ms=1, camera_phases_ms=[3] * 6, loss={"CAM_0": 0.05})
    slots = play(SlotSynchronizer(RIG), stream)[24:]
    spreads_ns = [
        slot.stamp_ns - min(ns for n, ns in slot.stamps_ns.items() if n in CAMERAS)
        for _, slot in slots
    ]
    assert max(spreads_ns) < 10 * MS
    reasons = {slot.missing["CAM_0"] for _, slot in slots if "CAM_0" in slot.missing}
    assert MISSING_LOST in reasons


@pytest.mark.parametrize("spread_ms", [0, 60])
@pytest.mark.parametrize("missing", [(), ("CAM_2",), ("RADAR_0", "RADAR_1")])
def test_key_frames_at_2_hz_are_answered_once_each(
    spread_ms: int, missing: tuple[str, ...]
) -> None:
    names = [name for name in CAMERAS + RADARS if name not in missing]
    frames = 12
    readings = [
        Reading(stamp_ns, name, stamp_ns)
        for frame in range(frames)
        for i, name in enumerate(names)
        for stamp_ns in [START_NS + (frame * 500 + i * spread_ms // len(names)) * MS]
    ]
    sync = SlotSynchronizer(RIG)
    slots = play(sync, sorted(readings))
    slots += [(0, slot) for slot in sync.poll(readings[-1].arrival_ns + 400 * MS)]
    assert len(slots) == frames
    for frame, (_, slot) in enumerate(slots):
        assert set(slot.readings) == set(names)
        begin_ns = START_NS + frame * 500 * MS
        assert all(begin_ns <= ns <= begin_ns + 60 * MS for ns in slot.stamps_ns.values())


def test_the_reference_is_the_newest_image_even_if_a_radar_is_newer() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 0, "left")
    push_all(sync, 30, "radar")
    (slot,) = push_all(sync, 20, "right", late_ms=20)
    assert slot.stamp_ns == START_NS + 20 * MS
    assert slot.readings["radar"] == (("radar", 30),)
    assert slot.missing == {}


def test_a_radar_gives_its_newest_scans_newest_first_and_may_give_one_again() -> None:
    settings = SyncSettings(cameras=("left",), radars=("radar",), radar_sweeps=3)
    sync = SlotSynchronizer(settings)
    for at_ms in (0, 20, 40, 60):
        push_all(sync, at_ms, "radar")
    (slot,) = push_all(sync, 70, "left")
    assert [at_ms for _, at_ms in slot.readings["radar"]] == [60, 40, 20]
    (slot,) = push_all(sync, 100, "left")
    assert [at_ms for _, at_ms in slot.readings["radar"]] == [60, 40, 20]
    assert slot.stamps_ns["radar"] == START_NS + 60 * MS
    assert sync.used == 5
    assert_accounted(sync)


def test_a_scan_too_far_from_the_reference_is_left_out_with_its_reason() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 0, "radar")
    push_all(sync, 200, "left", "right")
    (slot,) = sync.poll(START_NS + 350 * MS)
    assert slot.missing == {"radar": MISSING_TOLERANCE}


def test_without_live_cameras_the_radars_make_the_frames() -> None:
    sync = SlotSynchronizer(PAIR)
    slots = [slot for k in range(20) for slot in push_all(sync, 80 * k, "radar")]
    assert len(slots) >= 13
    assert slots[-1].stamp_ns == START_NS + 80 * 19 * MS
    assert slots[-1].missing == {"left": MISSING_NEVER, "right": MISSING_NEVER}
    push_all(sync, 1600, "left", "right", "radar")
    (slot,) = push_all(sync, 1680, "left", "right", "radar")
    assert slot.missing == {}


@pytest.mark.parametrize(
    ("at_ms", "now_ms", "reason"),
    [
        (100, 130, DROP_DUPLICATE),
        (90, 130, DROP_ORDER),
        (1130, 130, DROP_FUTURE),
        (-START_NS / MS, 130, DROP_STAMP),
    ],
)
def test_a_reading_that_cannot_be_used_is_counted(at_ms: float, now_ms: int, reason: str) -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 100, "left")
    stamp_ns = START_NS + int(at_ms * MS)
    assert sync.push("left", stamp_ns, None, START_NS + now_ms * MS) == []
    assert sync.counters == {reason: 1}
    assert sync.pending == 1


def test_an_unknown_sensor_is_counted() -> None:
    sync = SlotSynchronizer(PAIR)
    assert push_all(sync, 0, "stranger") == []
    assert sync.counters == {DROP_UNKNOWN: 1}


def test_an_old_reading_is_stale_where_a_limit_is_set() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=("left",), max_age_ns=300 * MS))
    assert push_all(sync, 0, "left", late_ms=400) == []
    assert sync.counters == {DROP_STALE: 1}


def test_an_image_of_a_frame_that_is_gone_is_late_and_the_next_frame_says_so() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 0, "left", "radar")
    (slot,) = sync.poll(START_NS + 150 * MS)
    assert slot.missing == {"right": MISSING_NEVER}
    assert push_all(sync, 0, "right", late_ms=200) == []
    assert sync.counters == {DROP_LATE: 1}
    push_all(sync, 210, "left", "radar")
    (slot,) = sync.poll(START_NS + 360 * MS)
    assert slot.missing == {"right": MISSING_LATE}


def test_a_slow_camera_is_not_waited_for_while_it_cannot_come() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=("fast", "slow")))
    push_all(sync, 0, "fast", "slow")
    push_all(sync, 600, "fast", "slow")
    for at_ms in (700, 800):
        (slot,) = push_all(sync, at_ms, "fast")
        assert slot.missing == {"slow": MISSING_NOT_DUE}


def test_a_full_queue_drops_its_oldest() -> None:
    settings = SyncSettings(cameras=("left", "right"), deadline_ns=900 * MS, queue=3)
    sync = SlotSynchronizer(settings)
    for at_ms in range(0, 250, 50):
        push_all(sync, at_ms, "left")
    assert sync.counters == {DROP_OVERFLOW: 2}
    assert sync.pending == 3


def test_frames_faster_than_the_rate_limit_are_dropped() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=("left",), min_period_ns=99 * MS))
    slots = [slot for at_ms in range(0, 1000, 50) for slot in push_all(sync, at_ms, "left")]
    assert len(slots) == 10
    assert sync.counters == {DROP_RATE: 10}


def test_a_bag_that_loops_starts_afresh_as_soon_as_most_sensors_agree_and_loses_no_frame() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in (0, 100, 5000):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 5100, "left")
    assert push_all(sync, 0, "left", late_ms=5200) == []
    assert sync.jumps == 0
    (last,) = push_all(sync, 0, "right", late_ms=5200)
    assert (last.stamp_ns, last.jumps) == (START_NS + 5100 * MS, 0)
    assert last.missing["right"] == MISSING_JUMP
    (first,) = push_all(sync, 0, "radar", late_ms=5200)
    assert (first.stamp_ns, first.jumps, first.missing) == (START_NS, 1, {})
    assert (sync.jumps, sync.pending) == (1, 0)
    assert sync.take_refused() == []
    assert_accounted(sync)


def test_a_camera_alone_that_goes_back_is_a_jump_of_time() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=("left",)))
    stamps = [slot.stamp_ns for at_ms in (5000, 5100) for slot in push_all(sync, at_ms, "left")]
    (slot,) = push_all(sync, 0, "left", late_ms=5200)
    assert (len(stamps), slot.stamp_ns, slot.jumps) == (2, START_NS, 1)


@pytest.mark.parametrize("liars", [("CAM_0",), ("CAM_0", "RADAR_0"), ("RADAR_3", "RADAR_4")])
@pytest.mark.parametrize("behind_ms", [1000, 900_000])
def test_sensors_whose_stamps_go_back_cost_no_frame_of_the_others_and_come_again(
    liars: tuple[str, ...], behind_ms: int
) -> None:
    stream = rig_stream(11, 12.0)
    lie_ns = range(START_NS + 4_000 * MS, START_NS + 8_000 * MS)
    lying = [
        reading._replace(stamp_ns=reading.stamp_ns - behind_ms * MS)
        if reading.sensor in liars and reading.stamp_ns in lie_ns
        else reading
        for reading in stream
    ]
    sync = SlotSynchronizer(RIG)
    told = []
    stamps_ns, last = [], {}
    for reading in lying:
        for _, slot in play(sync, [reading]):
            stamps_ns.append(slot.stamp_ns)
            last = slot.missing
        told += sync.take_refused()
    assert sync.jumps == 0
    assert stamps_ns == sorted(set(stamps_ns))
    assert len(stamps_ns) >= 0.99 * 12 * 12
    assert not set(liars) & set(last)
    behind = [refused for refused in told if refused.reason == DROP_BEHIND]
    pairs = zip(lying, stream, strict=True)
    lies = sum(lie.stamp_ns < true.stamp_ns for lie, true in pairs)
    assert {refused.sensor for refused in behind} == set(liars)
    assert len(behind) >= 0.9 * lies
    assert_accounted(sync)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clock_lag", [-3, 0, 3, 8, None])
def test_at_a_loop_every_frame_of_both_passes_is_given(seed: int, clock_lag: int | None) -> None:
    """The clock goes back so many messages before or behind the stamps, or not at all."""
    once = rig_stream(seed, 6.0, jitter_ms=5, latency_ms=10)
    pass_ns = once[-1].arrival_ns - START_NS + 20 * MS
    count = len(once)
    jump = count + clock_lag if clock_lag is not None else 2 * count
    sync = SlotSynchronizer(RIG)
    passes: dict[int, list[int]] = {0: [], 1: []}
    for number, reading in enumerate([*once, *once]):
        running_ns = reading.arrival_ns + pass_ns * (number >= count)
        now_ns = running_ns - pass_ns * (number >= jump)
        while (due_ns := sync.next_deadline_ns) is not None and due_ns < now_ns:
            for slot in sync.poll(due_ns):
                passes[min(slot.jumps, 1)].append(slot.stamp_ns)
        for slot in sync.push(reading.sensor, reading.stamp_ns, reading, now_ns):
            passes[min(slot.jumps, 1)].append(slot.stamp_ns)
    assert sync.jumps == (2 if clock_lag == 8 else 1)
    assert_accounted(sync)
    images_ns = sorted(r.stamp_ns for r in once if r.sensor in CAMERAS)
    for stamps_ns in passes.values():
        assert stamps_ns == sorted(set(stamps_ns))
        assert len(stamps_ns) >= 12 * 6 - 1
        assert stamps_ns[0] <= images_ns[len(CAMERAS)] + 20 * MS
    assert passes[0][-1] >= images_ns[-1] - 60 * MS


def test_what_came_before_the_clock_went_back_is_of_the_new_time() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in (5000, 5100):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 5200, "left", "radar")
    assert push_all(sync, 0, "left", late_ms=5210) == []
    slots = sync.push("right", START_NS, None, START_NS + 10 * MS)
    slots += sync.push("radar", START_NS, None, START_NS + 12 * MS)
    assert [(s.stamp_ns - START_NS) // MS for s in slots] == [5200, 0]
    assert [slot.jumps for slot in slots] == [0, 1]
    assert slots[1].missing == {}


def test_what_most_sensors_sent_before_the_clock_went_back_stays_in_its_frame() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 5000, "left", "right", "radar")
    assert push_all(sync, 0, "left", "right", late_ms=5010) == []
    assert sync.jumps == 1
    (slot,) = sync.push("radar", START_NS, None, START_NS + 10 * MS)
    assert (sync.jumps, slot.jumps, slot.missing) == (2, 2, {})


def test_a_reading_of_the_old_pass_that_comes_behind_the_jump_costs_its_sensor_one_frame() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in (5000, 5100):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 0, "left", "right", "radar", late_ms=5200)
    push_all(sync, 5200, "right", late_ms=10)
    stamps = []
    for at_ms in range(100, 1000, 100):
        slots = push_all(sync, at_ms, "left", "right", "radar", late_ms=5210)
        stamps += [slot.stamp_ns - START_NS for slot in slots if not slot.missing]
    assert stamps[-7:] == [at_ms * MS for at_ms in range(300, 1000, 100)]
    assert sync.jumps == 1


def test_a_clock_that_jumps_back_gives_out_what_waits_and_starts_afresh() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 5000, "left")
    (last,) = sync.poll(START_NS)
    assert (last.stamp_ns, last.jumps) == (START_NS + 5000 * MS, 0)
    assert (sync.jumps, sync.pending) == (1, 0)
    (slot,) = push_all(sync, 10, "left", "right", "radar")
    assert slot.stamp_ns == START_NS + 10 * MS


def test_a_clock_that_slips_back_a_little_does_not_reset() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 100, "left")
    sync.poll(START_NS + 60 * MS)
    assert (sync.jumps, sync.pending) == (0, 1)


def test_after_a_pause_of_all_sensors_the_frame_is_waited_for_as_at_the_start() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in (0, 10_000, 20_000):
        (slot,) = push_all(sync, at_ms, "left", "right", "radar")
        assert slot.missing == {}


def test_a_frame_of_which_too_few_images_came_is_told_once() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=CAMERAS))
    for at_ms in range(0, 1000, 100):
        push_all(sync, at_ms, *CAMERAS)
    assert sync.take_unmade() == []
    push_all(sync, 1000, *CAMERAS[:2])
    push_all(sync, 1100, *CAMERAS[:2])
    (slot,) = push_all(sync, 1100, *CAMERAS[2:])
    assert slot.missing == {}
    assert sync.take_unmade() == [(START_NS + 1000 * MS, DROP_SUPERSEDED)]
    assert sync.take_unmade() == []


def test_an_image_that_its_frame_went_out_without_is_no_frame_of_its_own() -> None:
    sync = SlotSynchronizer(RIG)
    late = rig_stream(5, 20, loss={"CAM_1": 0.5}, jitter_ms=10)
    slots = play(sync, late)
    unmade = sync.take_unmade()
    assert len(slots) + len(unmade) <= 12 * 20 + 2


def test_frames_that_a_reset_forgets_are_told() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in range(0, 1000, 100):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 1000, "left")
    sync.reset()
    assert sync.take_unmade() == [(START_NS + 1000 * MS, DROP_RESET)]


def test_the_end_gives_what_waits_for_others_and_no_frame_of_scans_behind_the_last_image() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in range(0, 1000, 100):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 970, "radar")
    assert sync.flush("the end") == []
    push_all(sync, 1000, "left", "radar")
    (slot,) = sync.flush("the end")
    assert slot.missing == {"right": "the end"}
    assert sync.flush("the end") == []
    assert_accounted(sync)


def test_after_a_pause_sensors_that_are_gone_do_not_outvote_a_jump_of_time_for_ever() -> None:
    sync = SlotSynchronizer(PAIR)
    for at_ms in range(60_000, 61_000, 100):
        push_all(sync, at_ms, "left", "right", "radar")
    push_all(sync, 61_000, "left", "right", "radar")
    stamps_ns = []
    for at_ms in range(0, 3000, 100):  # two seconds later, of another bag: "left" alone
        stamps_ns += [slot.stamp_ns for slot in push_all(sync, at_ms, "left", late_ms=63_000)]
    assert sync.jumps == 1
    assert len(stamps_ns) >= 20
    assert stamps_ns[-1] == START_NS + 2900 * MS
    assert_accounted(sync)


def test_a_sensor_that_lies_before_a_pause_and_first_behind_it_is_left_out_alone() -> None:
    sync = SlotSynchronizer(PAIR)
    slots = []
    for at_ms in (*range(60_000, 61_000, 100), *range(63_000, 64_000, 100)):
        slots += push_all(sync, at_ms - 10_000, "left", late_ms=10_000)
        slots += push_all(sync, at_ms, "right", "radar")
    slots += sync.flush("the end")
    assert sync.jumps == 0
    assert [slot.missing.keys() for slot in slots if slot.stamp_ns >= START_NS + 63_000 * MS] == [
        {"left"}
    ] * 10


def test_a_frame_that_does_not_come_about_in_every_pass_of_a_loop_is_told_each_time() -> None:
    sync = SlotSynchronizer(SyncSettings(cameras=CAMERAS))
    for number in range(3):
        late_ms = 2000 * number
        for at_ms in range(0, 1000, 100):
            push_all(sync, at_ms, *CAMERAS, late_ms=late_ms)
        push_all(sync, 1000, *CAMERAS[:2], late_ms=late_ms)
        push_all(sync, 1100, *CAMERAS, late_ms=late_ms)
        assert sync.take_unmade() == [(START_NS + 1000 * MS, DROP_SUPERSEDED)]
    assert sync.jumps == 2


def test_reset_forgets_readings_and_keeps_counters() -> None:
    sync = SlotSynchronizer(PAIR)
    push_all(sync, 100, "left", "stranger")
    sync.reset()
    assert sync.counters == {DROP_RESET: 1, DROP_UNKNOWN: 1}
    assert (sync.pending, sync.jumps, sync.next_deadline_ns) == (0, 0, None)


def test_the_deadline_counts_from_the_first_arrival_of_the_slot() -> None:
    sync = SlotSynchronizer(PAIR)
    assert sync.next_deadline_ns is None
    push_all(sync, 0, "left", late_ms=7)
    push_all(sync, 30, "radar")
    assert sync.next_deadline_ns == START_NS + 157 * MS
    assert sync.poll(START_NS + 157 * MS - 1) == []
    (slot,) = sync.poll(START_NS + 157 * MS)
    assert set(slot.readings) == {"left", "radar"}


def test_all_orders_of_arrival_within_a_frame_give_the_same_slot() -> None:
    stamps_ns = {"left": START_NS, "right": START_NS + 20 * MS, "radar": START_NS + 5 * MS}
    for order in itertools.permutations(stamps_ns):
        sync = SlotSynchronizer(PAIR)
        slots = [
            slot
            for name in order
            for slot in sync.push(name, stamps_ns[name], name, START_NS + 30 * MS)
        ]
        assert [slot.stamps_ns for slot in slots] == [stamps_ns]
