# SPDX-License-Identifier: Apache-2.0
"""Figures of made-up runs: what is late is a gap, what is wrong is not right."""

from itertools import pairwise

import pytest

from benchmarks.process_stats import ProcessStats
from imkd_ros.graph.sent_log import SentMessage
from tests.faults import bad_data, late, never_there
from tests.faults.clock import second_pass
from tests.faults.episodes import (
    Episode,
    dropped,
    episodes,
    plan_of,
    stray_answers,
    told_of,
    yield_percent,
)
from tests.faults.injection import Fault
from tests.faults.judge import (
    crashes,
    frames_to_full,
    gap_periods,
    latencies,
    paired,
    right_after_s,
    worst,
)
from tests.faults.live import Run, Told
from tests.faults.plan import Due, Plan
from tests.faults.sensor_loss import CASES, losses
from tests.faults.soak import DRAWN, drawn_faults, unexplained

START_NS = 1_700_000_000_000_000_000
BEGIN_NS = 5_000_000_000_000
PERIOD_NS = 166_666_667
FRAMES = 60


def stamp(number: int) -> int:
    return START_NS + number * PERIOD_NS


def arrival(number: int, delay_ms: float = 80.0) -> int:
    return BEGIN_NS + number * PERIOD_NS + round(delay_ms * 1e6)


def status(number: int, level: str, missing: str = "", outcome: str = "answered") -> Told:
    return Told(
        stamp_ns=stamp(number),
        arrived_ns=arrival(number),
        name="imkd_detector: status",
        level=0,
        message="",
        values={"level": level, "missing": missing, "outcome": outcome},
    )


def run_of(answered=range(FRAMES), statuses=(), diagnostics=(), **values) -> Run:
    chosen = {
        "plan": Plan(seconds=10.0, every=2),
        "failure": "",
        "answers": [(stamp(n), arrival(n)) for n in answered],
        "statuses": list(statuses),
        "diagnostics": list(diagnostics),
        "sent": [SentMessage("/image", stamp(n), arrival(n, 0.0)) for n in range(FRAMES)],
        "due": [Due(first_ns=stamp(n) - 40_000_000, last_ns=stamp(n)) for n in range(FRAMES)],
        "looks": [],
        "start_ns": START_NS,
    }
    return Run(**{**chosen, **values})


def test_a_steady_output_has_no_gap_and_one_frame_left_out_is_a_gap_of_one():
    assert gap_periods(run_of(), 1.0, 9.0) == pytest.approx(0.0, abs=1e-3)
    seen = run_of([n for n in range(FRAMES) if n != 30])
    assert gap_periods(seen, 4.0, 6.0) == pytest.approx(1.0, abs=1e-3)
    assert gap_periods(seen, 6.0, 9.0) == pytest.approx(0.0, abs=1e-3)


def test_an_output_that_ends_is_a_gap_to_the_end():
    assert gap_periods(run_of(range(30)), 4.0, 9.0) > 20


def test_the_status_is_right_from_its_last_wrong_word_on():
    words = [status(n, "full") for n in range(26)]
    words += [status(n, "degraded", "CAM_FRONT: silent") for n in range(26, 48)]
    seen = run_of(statuses=words)
    begin_s = 4.0
    spent_s = right_after_s(seen, "degraded", ["CAM_FRONT"], begin_s, 7.0)
    assert spent_s == pytest.approx((arrival(26) - BEGIN_NS) * 1e-9 - begin_s, abs=1e-6)
    assert right_after_s(seen, "degraded", ["CAM_BACK"], begin_s, 7.0) is None
    words[40] = status(40, "full")
    late_s = right_after_s(run_of(statuses=words), "degraded", ["CAM_FRONT"], begin_s, 7.0)
    assert late_s > 2.5


def test_without_a_frame_the_level_alone_must_be_right():
    words = [status(n, "radar_only", "", "no frame: not due yet") for n in range(24, 40)]
    assert right_after_s(run_of(statuses=words), "radar_only", ["CAM_FRONT"], 4.0, 6.0) < 0.2


def test_recovery_counts_answered_frames():
    words = [status(n, "degraded") for n in range(30, 32)]
    words += [status(32, "full", "", "replaced by a newer frame"), status(33, "full")]
    seen = run_of(statuses=words)
    assert frames_to_full(seen, stamp(30), stamp(50)) == 3
    assert frames_to_full(seen, stamp(40), stamp(50)) is None


def test_a_latency_is_from_the_newest_image_to_the_boxes():
    times = latencies(run_of(), {"/image"})
    assert times.p50_ms == pytest.approx(80.0)
    assert len(latencies(run_of(), {"/other"}).samples_ms) == 0


def test_a_crash_is_a_failure_or_an_exception_in_the_log():
    assert crashes("x", run_of()).met
    assert not crashes("x", run_of(failure="the detector died")).met
    assert not crashes("x", run_of(log="Traceback (most recent call last):")).met


def test_of_several_rounds_the_worst_counts_and_a_missing_one_is_a_miss():
    assert worst("a", [0.1, 0.4], 0.5, "s", "", "").value == 0.4
    missing = worst("a", [0.1, None], 0.5, "s", "", "never right")
    assert (missing.value, missing.met) == (None, False)
    assert "1 of 2" in missing.note


def test_the_yield_is_of_the_frames_that_were_due_in_the_episode():
    (episode,) = episodes({"half": ("loss", ("CAM_FRONT",), 0.5)}, lasts_s=3.0)
    assert (episode.fault.begin_s, episode.fault.end_s) == (4.0, 7.0)
    assert yield_percent(run_of(), episode) == 100.0
    assert yield_percent(run_of(range(33)), episode) == pytest.approx(50, abs=6)
    assert plan_of([episode], every=2).faults == (episode.fault,)


def test_counters_are_read_before_and_after_an_episode():
    fault = Fault(kind="stamp_set", sensors=("CAM_FRONT",), begin_s=4.0, end_s=6.0)
    words = [
        Told(
            stamp_ns=0,
            arrived_ns=BEGIN_NS + second * 1_000_000_000,
            name="imkd_detector: CAM_FRONT",
            level=1,
            message="late",
            values={"received": "9", "dropped: late": str(count)},
        )
        for second, count in ((3, 2), (5, 7), (7, 12), (9, 40))
    ]
    counts = dropped(run_of(diagnostics=words), Episode(name="x", fault=fault), "CAM_FRONT")
    assert counts == {"late": 10}


def test_an_answer_of_another_time_is_a_stray():
    assert stray_answers(run_of()) == 0
    assert stray_answers(run_of(answers=[(stamp(3), arrival(3)), (17, arrival(4))])) == 1


def test_the_second_pass_begins_where_stamps_go_back():
    numbers = [*range(40), *range(2, 40)]
    answers = [(stamp(n), arrival(place)) for place, n in enumerate(numbers)]
    assert second_pass(run_of(answers=answers)) == [stamp(n) for n in range(2, 40)]
    assert second_pass(run_of()) == []


def test_a_frame_is_explained_by_its_boxes_its_status_or_a_word_that_there_is_none():
    words = [status(31, "full", "", "replaced by a newer frame")]
    seen = run_of([n for n in range(FRAMES) if n not in (30, 31)], words)
    assert unexplained(seen, seen.due) == [seen.due[30]]
    word = status(32, "blind", "", "no frame: every sensor is silent")
    assert unexplained(run_of(seen.answers and range(30), [*words, word]), seen.due[:32]) == []


def test_a_frame_that_waited_for_the_next_image_of_a_camera_is_its_turns_and_not_the_next_ones():
    due = run_of().due[:4]
    waited = [stamp(0), due[2].first_ns, stamp(2), stamp(3)]
    assert paired(due, waited) == due
    handed_on = [stamp(0), due[2].first_ns, due[3].first_ns, stamp(3)]
    assert paired(due, handed_on) == due, "two turns running waited for the camera"
    assert paired(due, [stamp(0), stamp(2), stamp(3)]) == [due[0], *due[2:]], "one was lost"
    lost = [stamp(0), due[3].first_ns, stamp(3)]
    assert paired(due, lost) == [due[0], *due[2:]], "one to spare is for one turn"
    assert paired(due, [stamp(0), stamp(0), stamp(3)]) == [due[0], due[3]], "the same one twice"
    assert paired(due[1:3], [stamp(0), stamp(3), stamp(4)]) == [], "those of other turns"
    assert paired([], [stamp(0)]) == []


def test_drawn_faults_are_the_same_again_one_at_a_time_and_of_every_kind():
    faults = drawn_faults(3600.0, seed=0)
    assert faults == drawn_faults(3600.0, seed=0)
    assert faults != drawn_faults(3600.0, seed=1)
    assert all(a.end_s < b.begin_s for a, b in pairwise(faults))
    assert {fault.kind for fault in faults} == {kind for kind, _, _ in DRAWN}
    assert faults[-1].end_s < 3600.0


def test_every_case_of_loss_comes_in_every_round_without_overlap():
    found = losses(rounds=2)
    assert [one.case for one in found] == [*CASES, *CASES]
    assert all(a.end_s < b.begin_s for a, b in pairwise(found))


def word_of(sensor: str, second: float, message: str) -> Told:
    """Return a warning of a sensor on /diagnostics."""
    return Told(
        stamp_ns=0,
        arrived_ns=BEGIN_NS + round(second * 1e9),
        name=f"imkd_detector: {sensor}",
        level=1,
        message=message,
        values={},
    )


def late_case(sensor: str = "RADAR_FRONT") -> Episode:
    fault = Fault(kind="late", sensors=(sensor,), begin_s=3.0, end_s=7.0, amount=400.0)
    return Episode(name="radar 400 ms late", fault=fault)


def test_a_sensor_that_is_late_must_be_told_while_it_is_and_not_only_as_silent_at_first():
    seen = run_of(diagnostics=[word_of("RADAR_FRONT", 3.3, "silent")])
    assert not late.told_on_diagnostics(seen, late_case()).met
    seen = run_of(diagnostics=[word_of("RADAR_FRONT", 5.0, "left out of the frames")])
    figure = late.told_on_diagnostics(seen, late_case())
    assert figure.met
    assert figure.note == "left out of the frames"
    assert not late.told_on_diagnostics(seen, late_case("CAM_FRONT")).met


def test_what_was_said_before_a_fault_does_not_tell_it():
    old = "turned: its yaw is off by -2.2 degrees; look whether it has come loose"
    words = [word_of("RADAR_FRONT", second, f"{old} (still used)") for second in (2.5, 3.5, 4.5)]
    seen = run_of(diagnostics=words)
    assert told_of(seen, late_case(), "RADAR_FRONT") == []
    words.append(word_of("RADAR_FRONT", 5.5, f"empty: no returns; {old} (left out of the frames)"))
    assert told_of(run_of(diagnostics=words), late_case(), "RADAR_FRONT") == words[-1:]
    assert told_of(run_of(diagnostics=words[1:]), late_case(), "RADAR_FRONT") == words[1:]


def test_a_radar_that_is_late_is_looked_for_in_the_frames_by_its_own_name():
    words = [status(n, "degraded", "RADAR_FRONT: late") for n in range(FRAMES)]
    figures = {one.name: one for one in late.judge(run_of(statuses=words), late_case())}
    assert figures["radar 400 ms late: radar named as missing"].value == 100.0


def test_noise_that_is_told_when_it_is_over_was_not_told():
    fault = Fault(kind="noise", sensors=("CAM_BACK",), begin_s=3.0, end_s=7.0)
    episode = Episode(name="camera of noise", fault=fault)
    seen = run_of(diagnostics=[word_of("CAM_BACK", 7.5, "blurred")])
    answered, told = bad_data.judge(seen, episode)
    assert answered.met
    assert (told.value, told.goal) == (0, None)
    assert "no check looks for noise; when it was over: blurred" in told.note


def test_a_sensor_that_never_sends_is_named_in_all_frames_and_costs_a_second_at_most():
    fault = Fault(kind="lost", sensors=("CAM_FRONT",), begin_s=0.0, end_s=11.0)
    episode = Episode(name="camera never there", fault=fault)
    words = [status(n, "degraded", "CAM_FRONT: never seen") for n in range(FRAMES)]
    warning = word_of("CAM_FRONT", 2.0, "no message yet")
    seen = run_of(statuses=words, diagnostics=[warning])
    assert all(figure.met for figure in never_there.judge(seen, episode))
    words[30] = status(30, "full")
    slow = run_of(range(8, FRAMES), statuses=words)
    missed = {
        one.name.partition(": ")[2] for one in never_there.judge(slow, episode) if not one.met
    }
    assert missed == {
        "first boxes after the others' first images",
        "frames answered",
        "frames that name it as missing",
        "told on /diagnostics",
    }


def test_looks_are_kept_with_their_times():
    stats = ProcessStats(rss_mb=1, peak_rss_mb=1, threads=1, files=1, cpu_s=0, main_cpu_s=0)
    assert run_of(looks=[(0.5, stats)]).looks[0][1].files == 1
