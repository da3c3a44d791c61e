# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.evaluation.replay_remedies import remedy_of
from imkd_core.evaluation.replay_report_files import FaultSeen, ReplayedBag, ReplayedFrame
from imkd_core.evaluation.replay_report_page import shares
from imkd_core.evaluation.replay_report_timeline import ANSWERS, timeline

PERIOD_NS = 100_000_000
SENSORS = ("CAM_FRONT", "CAM_BACK", "RADAR")


def frame(index, missing=None, faults=(), boxes=4, **changes) -> ReplayedFrame:
    missing = missing or {}
    values = {
        "stamp_ns": 1_700_000_000_000_000_000 + index * PERIOD_NS,
        "level": "degraded" if missing else "full",
        "classes": ("car",) * boxes,
        "age_ms": {name: 0.0 for name in SENSORS if name not in missing},
        "missing": missing,
        "faults": tuple(faults),
    }
    return ReplayedFrame(**(values | changes))


def bag(frames) -> ReplayedBag:
    summary = {"cameras": SENSORS[:2], "radars": SENSORS[2:]}
    return ReplayedBag(folder=Path(), name="monday", frames=tuple(frames), summary=summary)


def spans(row) -> list[tuple[int, int, str, str]]:
    return [(one.first, one.end, one.state, one.reason) for one in row.spans]


def test_a_sensor_that_was_lost_is_an_event_with_its_times_reason_and_cost():
    frames = [
        frame(i, {"CAM_BACK": "silent"}, boxes=1) if 10 <= i < 20 else frame(i) for i in range(30)
    ]
    found = timeline(bag(frames))
    assert found.duration_s == pytest.approx(3.0)
    assert [row.name for row in found.sensors] == list(SENSORS)
    assert spans(found.sensors[1]) == [
        (0, 10, "used", ""),
        (10, 20, "missing", "silent"),
        (20, 30, "used", ""),
    ]
    (event,) = found.events
    assert (event.who, event.levels) == (("CAM_BACK",), ("degraded",))
    assert (event.span.start_s, event.span.end_s) == (pytest.approx(1.0), pytest.approx(2.0))
    assert (event.boxes_before, event.boxes_within) == (4.0, 1.0)
    assert shares(found.levels) == {"full": pytest.approx(2 / 3), "degraded": pytest.approx(1 / 3)}


def test_sensors_that_break_together_are_one_event_and_those_apart_are_two():
    both = {"CAM_FRONT": "silent", "CAM_BACK": "silent"}
    together = [frame(i, both if 10 <= i < 30 else None) for i in range(60)]
    together[30] = frame(30, {"CAM_BACK": "silent"})
    assert [one.who for one in timeline(bag(together)).events] == [("CAM_FRONT", "CAM_BACK")]
    apart = [frame(i, {"CAM_FRONT": "silent"} if i < 20 else None) for i in range(60)]
    apart[40:50] = [frame(i, {"CAM_BACK": "silent"}) for i in range(40, 50)]
    assert [one.who for one in timeline(bag(apart)).events] == [("CAM_FRONT",), ("CAM_BACK",)]
    causes = [frame(i, {"CAM_FRONT": "silent", "CAM_BACK": "late"}) for i in range(60)]
    assert len(timeline(bag(causes)).events) == 2


def test_reasons_that_follow_each_other_are_one_event():
    reasons = {2: "late", 3: "late", 4: "silent", 5: "silent"}
    frames = [frame(i, {"RADAR": reasons[i]} if i in reasons else None) for i in range(20)]
    (event,) = timeline(bag(frames)).events
    assert event.span.reason == "late, then silent"
    assert (event.span.first, event.span.end) == (2, 6)


def test_of_reasons_that_follow_each_other_the_longest_tells_what_to_do():
    def reason(i: int) -> str:
        return "silent" if i < 4 else "dropped: queue full"

    frames = [frame(i, {"RADAR": reason(i)} if 2 <= i < 15 else None) for i in range(20)]
    (event,) = timeline(bag(frames)).events
    assert event.span.reason == "silent, then dropped: queue full"
    assert event.span.remedy == remedy_of("dropped: queue full") != ""


def test_a_missing_sensor_has_the_remedy_of_its_reason_and_not_of_an_older_fault():
    turned = FaultSeen(sensor="RADAR", fault="turned", remedy="correct the transform")
    frames = [frame(i, {"RADAR": "silent"}, [turned]) for i in range(9)]
    (event,) = timeline(bag(frames)).events
    assert event.span.remedy == remedy_of("silent")


def test_a_sensor_that_comes_and_goes_is_one_event():
    frames = [frame(i, {"RADAR": "late"} if i % 3 == 1 else None) for i in range(60)]
    (event,) = timeline(bag(frames)).events
    assert event.span.reason == "late (off and on)"
    assert event.span.remedy


def test_what_is_not_over_at_the_end_is_said_to_last():
    frames = [frame(i, {"RADAR": "silent"} if i > 15 else None) for i in range(20)]
    assert [one.lasts for one in timeline(bag(frames)).events] == [True]
    assert [one.lasts for one in timeline(bag([*frames, frame(20)])).events] == [False]


def test_a_slow_sensor_that_is_not_due_is_no_event():
    frames = [frame(i, {"RADAR": "not due"} if i % 2 else None) for i in range(6)]
    found = timeline(bag(frames))
    assert found.events == ()
    assert {span.state for span in found.sensors[2].spans} == {"used", "not due"}


def test_a_fault_of_a_sensor_in_use_is_suspect_and_of_one_left_out_its_reason():
    fault = FaultSeen(sensor="CAM_BACK", fault="blurred", remedy="clean the lens")
    frames = [
        frame(0, faults=[fault]),
        frame(1, {"CAM_BACK": "frozen"}, [FaultSeen(sensor="CAM_BACK", fault="frozen")]),
    ]
    row = timeline(bag(frames)).sensors[1]
    assert spans(row) == [(0, 1, "suspect", "blurred"), (1, 2, "missing", "frozen")]
    assert row.spans[0].remedy == "clean the lens"


def test_frames_without_an_answer_and_gaps_between_frames_are_events():
    frames = [
        frame(0),
        frame(1, outcome="not answered: the model failed", boxes=0),
        frame(2),
        frame(3, outcome="empty: policy blind", boxes=0),
        *(frame(i) for i in range(13, 30)),
    ]
    found = timeline(bag(frames))
    assert {one.who for one in found.events} == {(ANSWERS,)}
    assert [one.span.reason for one in found.events] == [
        "not answered: the model failed",
        "empty: policy blind",
        "no frames",
    ]
    states = [span.state for span in found.answers.spans]
    assert states == ["answered", "unanswered", "answered", "empty", "answered"]


def test_a_recording_that_loops_goes_on_in_time():
    frames = [frame(i % 10) for i in range(20)]
    found = timeline(bag(frames))
    assert found.duration_s == pytest.approx(2.0)
    assert (found.times_s[1:] > found.times_s[:-1]).all()
    assert found.events == ()


def test_a_recording_without_frames_has_an_empty_timeline():
    found = timeline(bag([]))
    assert found.duration_s == 0.0
    assert found.events == ()
    assert shares(found.levels) == {}


@given(st.lists(st.sampled_from(["", "silent", "late", "not due"]), min_size=1, max_size=40))
def test_spans_cover_every_frame_once_and_every_loss_is_in_an_event(reasons):
    frames = [frame(i, {"RADAR": why} if why else None) for i, why in enumerate(reasons)]
    found = timeline(bag(frames))
    for row in (found.levels, found.answers, *found.sensors):
        assert [one.first for one in row.spans] == [0, *(one.end for one in row.spans[:-1])]
        assert row.spans[-1].end == len(frames)
        assert sum(shares(row).values()) == pytest.approx(1.0)
    lost = {i for i, why in enumerate(reasons) if why in ("silent", "late")}
    told = {i for one in found.events for i in range(one.span.first, one.span.end)}
    assert lost <= told


def test_levels_stand_in_their_order_however_long_each_lasted():
    frames = [frame(i, {"RADAR": "late"} if i < 20 else None) for i in range(30)]
    assert list(shares(timeline(bag(frames)).levels)) == ["full", "degraded"]


@pytest.mark.parametrize("reason", ["silent", "late"])
def test_the_end_of_a_recording_is_no_loss_of_what_was_not_due_again(reason):
    cameras = {"CAM_FRONT": reason, "CAM_BACK": reason}
    black = {"CAM_BACK": "left out: black"}
    frames = [frame(i, black if i >= 10 else None) for i in range(30)]
    soon = frames[-1].stamp_ns + PERIOD_NS // 5
    found = timeline(bag([*frames, frame(30, cameras, stamp_ns=soon)]))
    assert spans(found.sensors[0])[-1] == (30, 31, "not due", "")
    (event,) = found.events
    assert (event.who, event.span.reason, event.lasts) == (("CAM_BACK",), "left out: black", True)
    late = frames[-1].stamp_ns + PERIOD_NS
    lost = timeline(bag([*frames, frame(30, cameras, stamp_ns=late)])).events
    assert [one.span.reason for one in lost] == [f"left out: black, then {reason}", reason]
