# SPDX-License-Identifier: Apache-2.0
"""Faults that the node tells on /diagnostics are read back, and belong to the right frames."""

from types import SimpleNamespace

import pytest

from imkd_core.cli.replaying.offline import plain_findings
from imkd_core.cli.replaying.online_findings import FaultsTold, faults_told
from imkd_core.health.faults import BLURRED, COVERED, FROZEN, REMEDIES, TURNED, Finding
from tests.ros.node.test_health import SECOND, SENSORS, Bench

NAMES = SENSORS.names


def message(stamp_ns: int, **sentences: str) -> SimpleNamespace:
    """A DiagnosticArray of the node."""
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    statuses = [("imkd_detector: frames", "all is well")]
    statuses += [(f"imkd_detector: {name}", text) for name, text in sentences.items()]
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds)),
        status=[SimpleNamespace(name=name, message=text) for name, text in statuses],
    )


def blurred(use: str = "still used") -> str:
    return f"blurred: {REMEDIES[BLURRED]} ({use})"


def test_what_the_node_tells_of_faults_is_what_is_read():
    given = (
        Finding(sensor="A", fault=FROZEN, since_ns=10 * SECOND, is_certain=True),
        Finding(sensor="A", fault=COVERED, since_ns=10 * SECOND, is_certain=False),
        Finding(sensor="B", fault=BLURRED, since_ns=10 * SECOND, is_certain=False),
        Finding(
            sensor="R", fault=TURNED, since_ns=10 * SECOND, is_certain=False, detail="by 3 degrees"
        ),
    )
    bench = Bench()
    bench.hear(10 * SECOND)
    bench.state.findings, bench.state.masked = given, frozenset({"A"})
    said = {name: status.message for name, status in bench.judge(10 * SECOND).items()}
    told = faults_told([message(10 * SECOND, **{name: said[name] for name in NAMES})], NAMES)
    assert told.at(10 * SECOND) == given
    assert [one["remedy"] for one in plain_findings(told.at(10 * SECOND))] == [
        one.remedy for one in given
    ]


def test_other_troubles_of_a_sensor_are_no_faults_and_hide_none():
    late = "late: its frame has gone out already; raise sync.deadline_ms if this is normal"
    sentences = {"A": "silent on /a; check that the driver runs", "B": late, "R": "ok"}
    assert faults_told([message(SECOND, **sentences)], NAMES).at(SECOND) == ()
    (one,) = faults_told([message(SECOND, B=f"{late}; {blurred()}")], NAMES).at(SECOND)
    assert (one.sensor, one.fault, one.remedy) == ("B", BLURRED, REMEDIES[BLURRED])


def test_a_fault_holds_from_its_first_word_until_it_is_no_longer_told():
    words = {1: "ok", 2: blurred(), 3: blurred(), 4: "ok"}
    told = faults_told([message(at * SECOND, A=text) for at, text in words.items()], NAMES)
    shown = [len(told.of_frame(at * SECOND // 2, {})) for at in range(10)]
    assert shown == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    assert {one.since_ns for one in told.at(3 * SECOND)} == {2 * SECOND}


def test_words_of_other_nodes_end_no_fault():
    other = message(2 * SECOND)
    other.status[0].name = "imu: temperature"
    told = faults_told([message(SECOND, A=blurred()), other], NAMES)
    assert [one.fault for one in told.at(3 * SECOND)] == [BLURRED]


def test_a_frame_that_left_a_sensor_out_says_so_itself_before_the_diagnostics_do():
    (one,) = FaultsTold().of_frame(7, {"A": "left out: frozen", "B": "silent"})
    assert (one.sensor, one.fault, one.since_ns, one.is_certain) == ("A", FROZEN, 7, True)
    assert one.remedy == REMEDIES[FROZEN]


@pytest.mark.parametrize("missing", [{}, {"A": "silent"}])
def test_a_frame_knows_better_than_older_diagnostics_that_a_sensor_was_left_out(missing):
    sentence = f"frozen: {REMEDIES[FROZEN]} (left out of the frames)"
    told = faults_told([message(SECOND, A=sentence)], NAMES)
    assert told.of_frame(SECOND, missing) == ()
    assert len(told.of_frame(SECOND, {"A": "left out: frozen"})) == 1


def test_a_sensor_that_a_frame_lacks_for_another_reason_shows_no_fault_in_it():
    told = faults_told([message(SECOND, A=blurred())], NAMES)
    assert told.of_frame(SECOND, {"A": "late"}) == ()
    assert len(told.of_frame(SECOND, {"B": "late"})) == 1
