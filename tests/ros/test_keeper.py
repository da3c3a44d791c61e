# SPDX-License-Identifier: Apache-2.0
"""The keeper: a node that dies is started again; one that refuses at first ends it."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import serialize_message

from imkd_ros.graph.options import GraphOptions, detector_arguments
from imkd_ros.graph.processes import Processes
from imkd_ros.graph.transitions import Outcome
from imkd_ros.keeper import Keeper, RefusedError
from tests.ros.node_bench import write_sensors
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@contextmanager
def kept(tmp_path, *arguments):
    """Run the keeper; yield its process and what reads its log."""
    sensors = write_sensors(tmp_path / "sensors.yaml")
    log = tmp_path / "keeper.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "imkd_ros.keeper", "--sensors", str(sensors), *arguments],
            stderr=file,
        )
    try:
        yield process, log.read_text
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def wait_for(log, text, count=1, seconds=60.0):
    end_s = time.monotonic() + seconds
    while log().count(text) < count and time.monotonic() < end_s:
        time.sleep(0.1)
    assert log().count(text) >= count, log()


def children(process_id):
    path = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(word) for word in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_node_that_is_killed_comes_back_to_active_and_ends_with_its_keeper(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "tiny").root
    with kept(tmp_path, "--bundle", str(bundle), "--namespace", "/kept") as (process, log):
        wait_for(log, "keeper: active")
        (first,) = children(process.pid)
        os.kill(first, signal.SIGKILL)
        wait_for(log, "keeper: active", 2)
        assert "the node ended with -9" in log()
        (second,) = children(process.pid)
        assert second != first
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not Path(f"/proc/{second}").exists()


def test_when_all_is_to_end_the_node_has_time_to_give_everything_back(tmp_path, capfd):
    options = GraphOptions(
        bag=Path(),
        recording=Path(),
        bundle=write_tiny_bundle(tmp_path / "tiny").root,
        sensors=write_sensors(tmp_path / "sensors.yaml"),
        namespace="/ended",
    )
    stop, said = threading.Event(), []

    def stop_when_active():
        end_s = time.monotonic() + 60.0
        while "keeper: active" not in "".join(said) and time.monotonic() < end_s:
            time.sleep(0.1)
            said.append(capfd.readouterr().err)
        stop.set()

    watcher = threading.Thread(target=stop_when_active)
    with Processes(tmp_path, dict(os.environ)) as processes:
        watcher.start()
        # in this thread: the kernel ends the node with the thread that started it
        Keeper(options, 4.0, processes, detector_arguments(options, tmp_path), stop).run()
        watcher.join()
    assert "keeper: active" in "".join(said)
    assert processes.exit_codes == {"detector": 0}


class ScriptedClient:
    """Tells states, and carries transitions out in the time that the test gives them."""

    def __init__(self, monkeypatch, states, outcomes, seconds):
        self._states, self._outcomes, self._seconds = iter(states), iter(outcomes), seconds
        self._now_s = 0.0
        monkeypatch.setattr("imkd_ros.keeper.time.monotonic", lambda: self._now_s)

    def state(self, _node, timeout_s):
        self._now_s += timeout_s
        return next(self._states)

    def carry_out(self, _node, _transition):
        self._now_s += self._seconds
        return next(self._outcomes)


def bring_up(client):
    options = GraphOptions(bag=Path(), recording=Path(), ready_timeout_s=600.0)
    processes = Processes(None, {})
    return Keeper(options, 4.0, processes, (), threading.Event())._bring_up(client)


def test_a_configure_that_builds_for_an_hour_is_no_reason_to_start_the_node_again(monkeypatch):
    states = ["", "unconfigured", "inactive", "active"]
    made = [Outcome.MADE, Outcome.MADE]
    assert bring_up(ScriptedClient(monkeypatch, states, made, 3600.0)) == ""


def test_a_refusal_that_comes_late_is_one(monkeypatch):
    client = ScriptedClient(monkeypatch, ["unconfigured"], [Outcome.REFUSED], 3600.0)
    with pytest.raises(RefusedError, match="refused to leave 'unconfigured'"):
        bring_up(client)


def test_a_node_that_never_hears_is_given_up(monkeypatch):
    client = ScriptedClient(monkeypatch, ["unconfigured"] * 200, [Outcome.LOST] * 200, 5.0)
    assert bring_up(client) == "was not active after 600 s"


def test_a_node_of_that_name_elsewhere_is_not_the_one_that_is_kept():
    options = GraphOptions(bag=Path(), recording=Path())
    keeper = Keeper(options, 4.0, Processes(None, {}), (), threading.Event())

    def heard(name):
        status = DiagnosticStatus(name=name, message="see 'imkd_detector: frames'")
        array = DiagnosticArray(status=[status])
        keeper._on_word("/diagnostics", serialize_message(array), 0)
        return keeper._heard_s > 0.0

    assert not heard("front/imkd_detector: frames")
    assert not heard("/imkd_detector: frames")
    assert heard("imkd_detector: frames")


def test_a_node_that_refuses_at_first_ends_the_keeper_with_its_reason(tmp_path):
    with kept(tmp_path, "--bundle", str(tmp_path / "nothing")) as (process, log):
        assert process.wait(60) == 1
        assert "refused to leave 'unconfigured'" in log()
        assert str(tmp_path / "nothing") in log()


def test_what_cannot_be_used_is_said_before_anything_is_started(tmp_path):
    with kept(tmp_path, "--params", str(tmp_path / "nothing.yaml")) as (process, log):
        assert process.wait(60) == 2
        assert "nothing.yaml" in log()
