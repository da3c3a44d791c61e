# SPDX-License-Identifier: Apache-2.0
"""What is told of a sensor: that frames lack it, that its clock is wrong, and all at once."""

import pytest

from imkd_core.health.faults import BLACK, FROZEN, Finding
from imkd_core.runtime.slots import SyncSettings
from imkd_core.runtime.synchronizer import SlotSynchronizer
from imkd_ros.bridge.tally import Problem
from imkd_ros.node.verdicts import ERROR, OK, WARN
from tests.ros.node.health_bench import SECOND, SENSORS, Bench


@pytest.fixture
def bench():
    return Bench()


def test_without_a_listener_it_is_said_that_nobody_looks_at_what_sensors_send(bench):
    bench.hear(10 * SECOND)
    assert bench.judge(10 * SECOND)["A"].message == "ok"
    bench.state.has_subscriber = False
    found = bench.judge(10 * SECOND)
    assert found["A"].message == "ok; its pictures are not looked at: nobody listens"
    assert found["R"].message == "ok; its scans are not looked at: nobody listens"
    assert {found[name].level for name in "ABR"} == {OK}


@pytest.mark.parametrize("why", ["late", "lost", "outside tolerance", "dropped: late"])
def test_a_sensor_that_frames_lack_for_long_warns_with_the_reason_and_what_to_do(bench, why):
    found = bench.lack({"R": why}, 10.0, 10.4)
    assert {status.level for status in found.values()} == {OK}
    found = bench.lack({"R": why}, 10.5, 11.0)
    assert (found["frames"].level, found["R"].level, found["A"].level) == (WARN, WARN, OK)
    assert f"running without R ({why})" in found["frames"].message
    assert found["frames"].values["radars"] == "0/1"
    assert f"left out of the frames ({why})" in found["R"].message
    assert "come 20 ms after their stamps" in found["R"].message
    assert all(word in found["R"].message for word in ("driver", "network", "clock"))
    found = bench.lack({}, 11.1, 11.1)
    assert (found["frames"].level, found["R"].level) == (OK, OK)
    assert found["frames"].message == "all sensors are in use"


def test_all_cameras_that_no_frame_has_are_an_error(bench):
    found = bench.lack({"A": "late", "B": "lost"}, 10.0, 11.0)
    assert found["frames"].level == ERROR
    assert found["A"].level == found["B"].level == WARN


def test_a_sensor_that_is_slower_than_the_frames_is_not_missed(bench):
    found = bench.lack({"R": "not due"}, 10.0, 12.0)
    assert (found["frames"].level, found["R"].level) == (OK, OK)


def test_a_sensor_that_is_missed_for_less_than_two_of_its_periods_is_not_told(bench):
    for step in range(12):
        bench.hear(10 * SECOND + step * SECOND // 2)
    begin_ns = 10 * SECOND + 11 * SECOND // 2
    for step in range(8):  # 0.7 s
        bench.monitor.note_frame({"R": "outside tolerance"}, begin_ns + step * SECOND // 10)
    assert bench.judge(begin_ns + 7 * SECOND // 10)["R"].level == OK


def test_what_frames_lacked_is_forgotten_when_the_node_starts_anew_or_no_frame_comes(bench):
    assert bench.lack({"R": "late"}, 10.0, 11.0)["R"].level == WARN
    bench.hear(15 * SECOND)
    assert bench.judge(15 * SECOND)["R"].level == OK
    assert bench.lack({"R": "late"}, 20.0, 21.0)["R"].level == WARN
    bench.monitor.start(21 * SECOND)
    bench.hear(45 * SECOND // 2)
    assert bench.judge(45 * SECOND // 2)["R"].level == OK


def test_a_radar_that_comes_long_after_its_tolerance_is_told_with_its_delay(bench):
    sync = SlotSynchronizer(SyncSettings(cameras=("A", "B"), radars=("R",)))
    sent = [(k * SECOND // 12, k * SECOND // 12, name) for k in range(36) for name in "AB"]
    sent += [(k * SECOND // 13 + 2 * SECOND // 5, k * SECOND // 13, "R") for k in range(34)]
    frames = 0
    for arrival_ns, stamp_ns, name in sorted(sent):
        now_ns = 10 * SECOND + arrival_ns
        bench.tally.accept(name, 10 * SECOND + stamp_ns, now_ns)
        for slot in sync.push(name, 10 * SECOND + stamp_ns, None, now_ns):
            bench.monitor.note_frame(slot.missing, now_ns)
            frames += 1
    found = bench.judge(now_ns)
    assert frames > 20
    assert (found["frames"].level, found["R"].level) == (WARN, WARN)
    assert "come 400 ms after their stamps" in found["R"].message


def test_a_camera_whose_images_cannot_be_decoded_is_in_no_frame(bench):
    bench.state.note_missing({"A": "corrupt", "B": "late"})
    assert bench.state.corrupt == {"A": "corrupt"}
    found = bench.lack(bench.state.corrupt, 10.0, 11.0)
    assert "running without A (corrupt)" in found["frames"].message
    assert "cannot be decoded" in found["A"].message


def test_a_sensor_that_is_not_calibrated_is_told_that_and_not_that_frames_lack_it(bench):
    bench.uncalibrated = {"R": "start the vehicle description"}
    found = bench.lack({"R": "uncalibrated"}, 10.0, 11.0)
    assert found["R"].message == "start the vehicle description"
    assert found["frames"].message.startswith("running without R: ")


def old_stamps(bench, age_ns, names=SENSORS.names, begin_s=10):
    """Judge after four seconds of stamps of this age; jumps of stamps are told no more."""
    for step in range(40):
        now_ns = begin_s * SECOND + step * SECOND // 10
        bench.hear(now_ns, set(SENSORS.names) - set(names))
        bench.hear(now_ns, names, age_ns)
        found = bench.judge(now_ns)
    return found


def test_a_rig_whose_clock_is_behind_is_told_so_and_not_to_take_more_threads(bench):
    bench.state.latency.add({"sync": 37_000.0, "total": 37_500.0})
    found = old_stamps(bench, 37 * SECOND)
    for name in "ABR":
        assert found[name].level == WARN
        assert "clock: its stamps are 37.0 s old" in found[name].message
        assert all(word in found[name].message for word in ("PTP", "NTP", "use_sim_time"))
    assert found["latency"].level == WARN
    assert "threads" not in found["latency"].message
    assert "clock" in found["latency"].message
    found = old_stamps(bench, 20_000_000, begin_s=14)
    assert {found[name].level for name in "ABR"} == {OK}


def test_one_sensor_of_another_clock_is_told_alone_and_says_nothing_of_the_latency(bench):
    bench.state.latency.add({"sync": 50.0, "total": 500.0})
    found = old_stamps(bench, 3 * SECOND, "B")
    assert [found[name].level for name in "ABR"] == [OK, WARN, OK]
    assert "model.threads" in found["latency"].message


def test_a_message_that_was_held_up_once_is_no_clock(bench):
    for step in range(20):
        now_ns = 10 * SECOND + step * SECOND // 10
        bench.hear(now_ns, age_ns=2 * SECOND if step % 4 == 0 else 20_000_000)
        assert "clock" not in bench.judge(now_ns)["A"].kind.split(", ")


def test_all_that_is_wrong_with_a_sensor_is_told_at_once(bench):
    bench.hear(10 * SECOND)
    again = Problem(sensor="A", reason="duplicate stamp", text="a driver that repeats")
    cut = Problem(sensor="A", reason="bad image", text="cut")
    bench.monitor.note_problems([again, cut], 10 * SECOND)
    bench.state.findings = (Finding(sensor="A", fault=FROZEN, since_ns=1, is_certain=True),)
    found = bench.judge(10 * SECOND)["A"]
    assert found.level == WARN
    assert found.message.startswith(
        "duplicate stamp: a driver that repeats; bad image: cut; frozen"
    )


def test_another_reason_at_the_same_level_is_another_kind_and_other_numbers_are_not(bench):
    for step in range(12):
        bench.hear(10 * SECOND + step * SECOND // 10)
    now_ns = 10 * SECOND + 11 * SECOND // 10
    bench.state.findings = (Finding(sensor="A", fault=BLACK, since_ns=1, is_certain=True),)
    black = bench.judge(now_ns)["A"]
    bench.hear(now_ns + SECOND, ("B", "R"))
    silent = bench.judge(now_ns + SECOND)["A"]
    assert black.level == silent.level == WARN
    assert black.kind != silent.kind
    bench.state.findings = ()
    first = old_stamps(bench, 3 * SECOND, begin_s=20)["A"]
    later = old_stamps(bench, 4 * SECOND, begin_s=24)["A"]
    assert first.message != later.message
    assert (first.kind, first.level) == (later.kind, later.level) == ("clock", WARN)


def test_frames_that_lack_another_sensor_are_of_another_kind(bench):
    found = [bench.lack({name: "late"}, 10.0 + n, 10.9 + n) for n, name in enumerate("BR")]
    assert [one["frames"].level for one in found] == [WARN, WARN]
    assert found[0]["frames"].kind != found[1]["frames"].kind
    late = bench.lack({"R": "outside tolerance"}, 12.0, 12.1)
    assert late["frames"].kind == found[1]["frames"].kind
    assert late["R"].kind == found[1]["R"].kind
