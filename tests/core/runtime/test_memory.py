# SPDX-License-Identifier: Apache-2.0
"""The memory of maps: what is kept, in which order, seen from where, and when all is forgotten."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.geometry import rigid_transform, transform_points
from imkd_core.runtime.contract import input_contract
from imkd_core.runtime.memory import (
    MAX_SPEED_MPS,
    MAX_TURN_RADPS,
    RESET_GAP,
    RESET_NO_POSE,
    RESET_OFF,
    RESET_POSE,
    RESET_TIME,
    FusedMemory,
)
from tests.core.rigs import STAMP_NS, rotation, spec_of

BEV = BevGrid(x_min_m=0.0, x_max_m=4.0, y_min_m=-1.0, y_max_m=1.0, cell_m=1.0)
SECOND_NS = 1_000_000_000


def memory_of(kind="window", frames=3, **changes):
    spec = MemorySpec(kind=kind, frames=frames, channels=2, **changes)
    return FusedMemory(spec, BEV)


def pose_of(x_m=0.0, y_m=0.0, yaw=0.0, pitch=0.0, roll=0.0, z_m=0.0):
    return rigid_transform(rotation(yaw, pitch, roll), (x_m, y_m, z_m))


def map_of(number):
    """A map that tells which frame it is of."""
    return np.full((2, *BEV.shape), number, np.float32)


def at(seconds):
    return STAMP_NS + round(seconds * SECOND_NS)


class Drive:
    """Steps a memory with frames that are numbered from 1."""

    def __init__(self, memory):
        self.memory = memory
        self.count = 0

    def step(self, seconds, pose=None, is_lost=False):
        """Recall and keep; return the numbers of the maps that were there, newest first."""
        self.count += 1
        pose = None if is_lost else pose_of() if pose is None else pose
        recalled = self.memory.recall(at(seconds), pose)
        masked = recalled["history"][:, 0, 0, 0] * recalled["history_mask"]
        numbers = [int(number) for number in masked]
        assert recalled["history_mask"].tolist() == [float(number > 0) for number in numbers]
        self.memory.keep(at(seconds), pose, map_of(self.count))
        return [number for number in numbers if number]


def test_the_newest_maps_come_first_and_the_oldest_falls_out():
    drive = Drive(memory_of())
    seen = [drive.step(0.5 * i) for i in range(6)]
    assert seen == [[], [1], [2, 1], [3, 2, 1], [4, 3, 2], [5, 4, 3]]
    facts = drive.memory.facts
    assert (facts.kind, facts.maps, facts.capacity) == ("window", 3, 3)
    assert facts.newest_age_s == 0.5
    assert (dict(facts.resets), facts.last_reset) == ({}, "")


def test_a_recurrent_memory_holds_the_last_map_alone():
    drive = Drive(memory_of("recurrent", 1))
    assert [drive.step(0.5 * i) for i in range(4)] == [[], [1], [2], [3]]


def test_the_arrays_are_those_of_the_contract_with_zeros_for_what_is_missing():
    spec = spec_of(memory=MemorySpec(kind="window", frames=3, channels=2))
    memory = FusedMemory(spec.memory, spec.bev)
    memory.recall(at(0), pose_of())
    memory.keep(at(0), pose_of(), np.ones((2, *spec.bev.shape), np.float32))
    recalled = memory.recall(at(0.5), pose_of(1.0))
    contract = input_contract(spec)
    assert list(recalled) == [name for name in contract if name.startswith("history")]
    for name, value in recalled.items():
        assert contract[name].accepts(value.dtype, value.shape), name
        assert value[0].any(), name
        assert not value[1:].any(), name


def test_a_model_without_memory_is_given_nothing_and_nothing_is_kept():
    memory = FusedMemory(MemorySpec(), BEV)
    assert memory.recall(at(0), None) == {}
    memory.keep(at(0), pose_of(), map_of(1))
    assert (memory.facts.kind, memory.facts.maps, memory.facts.last_reset) == ("none", 0, "")


@pytest.mark.parametrize("rate_hz", [10, 12, 13, 20])
@pytest.mark.parametrize("interval_s", [0.5, 1.0])
def test_frames_in_quick_succession_look_like_key_frames(rate_hz, interval_s):
    """Maps lie an interval apart, and none is read that is younger than an interval."""
    memory = memory_of(interval_s=interval_s)
    least_s, most_s = 0.9 * interval_s - 1e-6, 0.9 * interval_s + 1 / rate_hz + 1e-6
    count = 0
    for i in range(8 * rate_hz):
        recalled = memory.recall(at(i / rate_hz), pose_of())
        memory.keep(at(i / rate_hz), pose_of(), map_of(i + 1))
        if not recalled["history_mask"].all():
            continue
        count += 1
        ages_s = recalled["history_age_s"].astype(np.float64)
        numbers = recalled["history"][:, 0, 0, 0]
        np.testing.assert_allclose(ages_s, (i + 1 - numbers) / rate_hz, atol=1e-6)
        assert least_s <= ages_s[0] <= 2 * most_s
        assert (np.diff(ages_s) >= least_s).all()
        assert (np.diff(ages_s) <= most_s).all()
    assert count >= 2 * rate_hz


def test_what_a_frame_remembers_when_it_is_kept_is_an_interval_old():
    """So that a recurrent map is made as it was in training, whatever the rate."""
    memory, before = memory_of("recurrent", 1), []
    for i in range(60):
        recalled = memory.recall(at(i / 12), pose_of())
        before.append((recalled["history"][0, 0, 0, 0], recalled["history_age_s"][0]))
        memory.keep(at(i / 12), pose_of(), map_of(i + 1))
    kept = dict.fromkeys(int(number) for number, _ in before if number)
    assert list(kept) == [1, 7, 13, 19, 25, 31, 37, 43, 49]
    for number in list(kept)[1:]:
        assert before[number - 1] == (number - 6, pytest.approx(0.5))


def test_twelve_hertz_keep_every_sixth_frame_and_jitter_changes_nothing():
    jitter_s = 0.015 * np.sin(np.arange(60) * 7.0)
    even, uneven = Drive(memory_of()), Drive(memory_of())
    first = [even.step(i / 12) for i in range(60)]
    second = [uneven.step(i / 12 + jitter_s[i]) for i in range(60)]
    assert first == second
    assert first[-1] == [49, 43, 37]


poses = st.builds(
    pose_of, *(st.floats(-20, 20),) * 2, st.floats(-3, 3), *(st.floats(-0.1, 0.1),) * 2
)


@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(-3, 3)), min_size=4, max_size=4), poses)
@settings(max_examples=30)
def test_a_point_of_now_is_found_where_it_stood_in_each_map(steps, start):
    """Level ground: the SE(2) is exact, wherever odometry began."""
    memory = memory_of(frames=3)
    yaw, x, poses_of_ego = 0.0, 0.0, []
    for i, (turn, shift) in enumerate(steps):
        yaw, x = yaw + turn, x + shift
        poses_of_ego.append(start @ pose_of(x, 0.3 * i, yaw))
        recalled = memory.recall(at(0.5 * i), poses_of_ego[-1])
        memory.keep(at(0.5 * i), poses_of_ego[-1], map_of(i + 1))
    point = np.array([3.0, -2.0, 0.0])
    in_odom = transform_points(poses_of_ego[-1], point)
    for k, pose in enumerate(reversed(poses_of_ego[:-1])):
        expected = transform_points(np.linalg.inv(pose), in_odom)
        transform = recalled["history_transform"][k].astype(np.float64)
        got = transform[:, :2] @ point[:2] + transform[:, 2]
        np.testing.assert_allclose(got, expected[:2], atol=1e-4)
        assert recalled["history_age_s"][k] == pytest.approx(0.5 * (k + 1))


def test_a_vehicle_that_stands_still_sees_its_maps_where_they_are():
    memory = memory_of()
    for i in range(3):
        recalled = memory.recall(at(0.5 * i), pose_of(7.0, 8.0, 2.0))
        memory.keep(at(0.5 * i), pose_of(7.0, 8.0, 2.0), map_of(1))
    for transform in recalled["history_transform"][:2]:
        np.testing.assert_allclose(transform, np.eye(2, 3), atol=1e-6)


def test_a_kept_map_is_a_copy():
    memory, kept = memory_of(), map_of(1)
    memory.recall(at(0), pose_of())
    memory.keep(at(0), pose_of(), kept)
    kept[:] = 9
    np.testing.assert_array_equal(memory.recall(at(0.5), pose_of())["history"][0], map_of(1))


BREAKS = {
    RESET_TIME: {"seconds": 1.0},
    RESET_GAP: {"seconds": 1.5 + 2.001},
    RESET_NO_POSE: {"seconds": 1.5 + 2.001, "is_lost": True},
    RESET_POSE: {"seconds": 2.0, "pose": pose_of(x_m=0.5 * MAX_SPEED_MPS + 0.1)},
}


@pytest.mark.parametrize("why", BREAKS)
def test_a_past_that_does_not_lead_here_is_forgotten_with_its_reason(why):
    drive = Drive(memory_of())
    for i in range(4):
        assert len(drive.step(0.5 * i)) == i
    assert drive.step(**BREAKS[why]) == []
    assert dict(drive.memory.facts.resets) == {why: 1}
    assert drive.memory.facts.last_reset == why
    # From there on it fills anew, whatever it held before.
    later_s, pose = BREAKS[why]["seconds"], BREAKS[why].get("pose")
    counts = [len(drive.step(later_s + 0.5 * i, pose)) for i in range(1, 5)]
    assert counts == ([0, 1, 2, 3] if why == RESET_NO_POSE else [1, 2, 3, 3])
    assert dict(drive.memory.facts.resets) == {why: 1}


def test_a_pose_that_is_late_costs_its_own_frame_the_past_and_nobody_else():
    drive = Drive(memory_of())
    for i in range(4):
        drive.step(0.5 * i)
    assert drive.step(2.0, is_lost=True) == []
    assert drive.step(2.5) == [4, 3, 2]
    assert drive.step(3.0, is_lost=True) == []
    assert drive.step(3.5, pose_of(x_m=MAX_SPEED_MPS + 0.1)) == []  # 1 s after the last pose
    assert dict(drive.memory.facts.resets) == {RESET_POSE: 1}


def test_a_bag_that_starts_again_begins_with_nothing_and_then_repeats_itself():
    drive = Drive(memory_of())
    first = [len(drive.step(0.25 * i, pose_of(x_m=2.0 * i))) for i in range(12)]
    second = [len(drive.step(0.25 * i, pose_of(x_m=2.0 * i))) for i in range(12)]
    assert first == second
    assert dict(drive.memory.facts.resets) == {RESET_TIME: 1}


def test_the_same_frame_again_is_answered_without_a_past():
    drive = Drive(memory_of())
    drive.step(0.0)
    drive.step(0.5)
    assert drive.step(0.5) == []


@pytest.mark.parametrize(
    ("seconds", "pose", "is_kept"),
    [
        (2.0, pose_of(), True),
        (0.5, pose_of(x_m=0.5 * MAX_SPEED_MPS - 0.1), True),
        (0.5, pose_of(yaw=0.5 * MAX_TURN_RADPS - 0.01), True),
        (0.5, pose_of(yaw=-0.5 * MAX_TURN_RADPS - 0.01), False),
        (0.5, pose_of(y_m=-0.5 * MAX_SPEED_MPS - 0.1), False),
        (1.0, pose_of(x_m=0.5 * MAX_SPEED_MPS + 0.1), True),
        (0.001, pose_of(x_m=0.3, yaw=0.05), True),  # noise of two poses that are hardly apart
        (0.001, pose_of(x_m=6.0), False),
    ],
)
def test_fast_driving_is_no_jump_and_a_jump_is_no_driving(seconds, pose, is_kept):
    drive = Drive(memory_of())
    drive.step(0.0)
    drive.step(seconds, pose)
    assert (RESET_POSE in drive.memory.facts.resets) != is_kept


def test_jumps_are_measured_from_frame_to_frame_not_from_map_to_map():
    drive = Drive(memory_of())
    speed_mps = 0.9 * MAX_SPEED_MPS
    for i in range(48):
        drive.step(i / 12, pose_of(x_m=speed_mps * i / 12))
    assert not drive.memory.facts.resets


def test_switched_off_it_keeps_nothing_and_says_so():
    spec = MemorySpec(kind="window", frames=3, channels=2)
    drive = Drive(FusedMemory(spec, BEV, is_on=False))
    assert [drive.step(0.5 * i) for i in range(4)] == [[]] * 4
    facts = drive.memory.facts
    assert (facts.maps, facts.last_reset, dict(facts.resets)) == (0, RESET_OFF, {})


def test_a_vehicle_that_never_had_a_pose_loses_nothing_and_says_why():
    drive = Drive(memory_of())
    for i in range(3):
        assert drive.step(0.5 * i, is_lost=True) == []
    facts = drive.memory.facts
    assert (facts.maps, facts.newest_age_s) == (0, None)
    assert (dict(facts.resets), facts.last_reset) == ({}, RESET_NO_POSE)


def test_asked_to_forget_it_forgets_and_the_frame_under_way_is_not_kept():
    memory = memory_of()
    memory.recall(at(0), pose_of())
    memory.keep(at(0), pose_of(), map_of(1))
    memory.recall(at(0.5), pose_of())
    assert memory.facts.maps == 1
    memory.reset("deactivated")
    assert memory.facts.maps == 0
    memory.keep(at(0.5), pose_of(), map_of(2))
    recalled = memory.recall(at(1.0), pose_of())
    assert not any(value.any() for value in recalled.values())
    assert dict(memory.facts.resets) == {"deactivated": 1}


def test_nothing_large_is_allocated_for_a_frame_or_a_map():
    spec = MemorySpec(kind="window", frames=3, channels=64)
    bev = BevGrid(x_min_m=0.0, x_max_m=64.0, y_min_m=-16.0, y_max_m=16.0, cell_m=1.0)
    memory = FusedMemory(spec, bev)
    kept = np.ones((64, *bev.shape), np.float32)
    first = memory.recall(at(0), pose_of())
    tracemalloc.start()
    try:
        for i in range(1, 8):
            memory.keep(at(0.5 * (i - 1)), pose_of(), kept)
            again = memory.recall(at(0.5 * i), pose_of())
            for name, value in again.items():
                assert value.base is (first[name].base if name == "history" else None)
                assert value.flags.c_contiguous
        memory.reset("test")
        memory.recall(at(5.0), pose_of())
        assert tracemalloc.get_traced_memory()[1] < kept.nbytes / 4
    finally:
        tracemalloc.stop()


@given(
    st.lists(
        st.tuples(st.integers(-2, 30), st.sampled_from(["", "", "", "lost", "jump", "reset"])),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=60)
def test_what_is_held_is_what_the_rules_say_whatever_happens(frames):
    """Against the rules written down plainly, over frames a tenth of a second and more apart."""
    memory = memory_of()
    drive = Drive(memory)
    kept: list[tuple[int, int]] = []
    last, waiting, tenths, x_m = None, None, 0, 0.0
    for number, (ahead, event) in enumerate(frames, start=1):
        tenths += ahead
        x_m += 1e4 if event == "jump" else 0.0
        is_lost = event == "lost"
        if event == "reset":
            memory.reset("asked")
        is_late = last is not None and not 0 < tenths - last[0] <= 20
        is_elsewhere = last is not None and not is_lost and x_m != last[1]
        if event == "reset" or is_late or is_elsewhere:
            kept, waiting, last = [], None, None
        if waiting is not None and tenths - waiting[1] >= 4.5:
            kept, waiting = [waiting, *kept][:3], None
        expected = [] if is_lost else [n for n, _ in kept]
        assert drive.step(tenths / 10, pose_of(x_m), is_lost) == expected
        last = last if is_lost else (tenths, x_m)
        if not is_lost and waiting is None:
            waiting = number, tenths
        assert memory.facts.maps == len(kept)


def test_resets_from_another_thread_leave_no_map_of_before():
    memory, stop = memory_of(interval_s=0.01), threading.Event()

    def reset():
        while not stop.is_set():
            memory.reset("other thread")

    thread = threading.Thread(target=reset)
    thread.start()
    try:
        for i in range(300):
            recalled = memory.recall(at(0.02 * i), pose_of())
            count = int(recalled["history_mask"].sum())
            assert not recalled["history"][count:].any()
            memory.keep(at(0.02 * i), pose_of(), map_of(i + 1))
    finally:
        stop.set()
        thread.join()
