# SPDX-License-Identifier: Apache-2.0
"""The real graph, end to end: every frame of a bag is answered, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy")

from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import ConfigError, DataError
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.graph.environment import remove_dead_segments
from imkd_ros.graph.observer import GraphObserver
from imkd_ros.graph.options import GraphOptions
from imkd_ros.replay import Replay, read_answers
from imkd_ros.supervisor import main, run_graph
from tests.ros.bag_tools import finish, write_bag, write_drive
from tests.ros.tiny_bundle import CLASSES, write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

FRAMES = 10

#: A busy machine starts its senders one by one; the first frame shall wait for all of them.
PATIENT = {"sync.deadline_ms": 400.0, "ego_motion.max_wait_ms": 400.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny bundle and a bag of ten frames."""
    folder = tmp_path_factory.mktemp("graph")
    write_tiny_bundle(folder / "bundle")
    write_drive(folder, FRAMES)
    return folder


def options(place: Path, recording: Path, **changes) -> GraphOptions:
    values = {"bag": place / "drive", "recording": recording, "bundle": place / "bundle"}
    return GraphOptions(**{"overrides": PATIENT, **values, **changes})


def descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


class Watch(GraphObserver):
    def __init__(self):
        self.answers, self.names, self.seconds = [], set(), 0.0

    def on_active(self, seconds):
        self.seconds = seconds

    def on_answer(self, stamp_ns, arrived_ns):
        self.answers.append((stamp_ns, arrived_ns))

    def on_poll(self, process_ids):
        self.names |= set(process_ids)


@pytest.mark.slow
def test_every_frame_is_answered_online_as_offline_and_nothing_is_left(place, tmp_path):
    before, variables = descendants(), dict(os.environ)
    watch = Watch()
    result = run_graph(options(place, tmp_path / "out", log_folder=tmp_path / "logs"), watch)
    assert result.is_ok, (result.failure, result.log_tails)
    assert [stamp for stamp, _ in watch.answers] == sorted({stamp for stamp, _ in watch.answers})
    assert len(watch.answers) == FRAMES
    assert watch.seconds > 0
    assert watch.names >= {"detector", "recorder", "player"}
    assert result.exit_codes == {"player": 0, "detector": 0, "recorder": 0}
    assert result.answers == FRAMES
    assert result.recorded["/imkd_detector/output/detections"] == FRAMES
    assert result.played["/sensing/cam_front/image/compressed"] == FRAMES
    assert result.lost == {}
    assert descendants() == before
    assert dict(os.environ) == variables
    online = read_answers(tmp_path / "out", CLASSES)
    with Replay(read_settings(None, {"model.bundle": str(place / "bundle")})) as replay:
        offline = [detections for _, detections in replay.run(place / "drive")]
    for one, two in zip(online, offline, strict=True):
        assert one.stamp_ns == two.stamp_ns
        assert one.names == two.names
        np.testing.assert_allclose(one.center_m, two.center_m, atol=1e-4)
        np.testing.assert_allclose(one.velocity_mps, two.velocity_mps, atol=1e-4)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-4)
    with open_bag(tmp_path / "out") as out, open_bag(place / "drive") as drive:
        assert drive.start_ns < out.start_ns < out.end_ns < drive.end_ns + 10 * 10**9


@pytest.mark.slow
def test_a_namespace_moves_the_node_and_its_topics(place, tmp_path):
    result = run_graph(options(place, tmp_path / "out", namespace="/front", rate=2.0))
    assert result.is_ok, (result.failure, result.log_tails)
    assert result.recorded["/front/imkd_detector/output/detections"] == result.answers == FRAMES


@pytest.mark.slow
def test_a_node_that_refuses_to_configure_ends_the_run_with_its_reason(place, tmp_path):
    before = descendants()
    result = run_graph(options(place, tmp_path / "out", bundle=tmp_path / "nothing"))
    assert not result.is_ok
    assert "did not configure" in result.failure
    assert "nothing" in result.log_tails["detector"]
    assert "refused" in result.log_tails["detector"]
    assert result.played == {}
    assert descendants() == before


@pytest.fixture
def running(place, tmp_path):
    """A supervisor in a process of its own, with player, node and recorder at work."""
    command = [sys.executable, "-m", "imkd_ros.supervisor", place / "drive", "--rate", "0.1"]
    command += ["--record", tmp_path / "out", "--bundle", place / "bundle"]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = {}
    end_s = time.monotonic() + 60
    while len(children) < 3 and process.poll() is None and time.monotonic() < end_s:
        time.sleep(0.2)
        children = _by_module(process.pid)
    time.sleep(2.0)
    try:
        assert set(children) == {"detector_node", "recorder", "player"}, process.poll()
        yield process, children
    finally:
        process.kill()
        process.communicate()
        for child in children.values():
            if child.is_running():
                child.kill()
        time.sleep(3.0)
        remove_dead_segments()


def _by_module(pid: int) -> dict[str, psutil.Process]:
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        for part in child.cmdline():
            if part.startswith("imkd_ros.") and part != "imkd_ros.graph.supervised":
                found[part.removeprefix("imkd_ros.")] = child
    return found


def _all_gone(children, timeout_s: float = 15.0) -> bool:
    _, alive = psutil.wait_procs(list(children.values()), timeout=timeout_s)
    return not alive


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_supervisor_ends_all_processes(running, tmp_path, number):
    process, children = running
    process.send_signal(number)
    code, _, errors = finish(process, timeout_s=40)
    assert code == 128 + number, errors
    assert _all_gone(children)
    with open_bag(tmp_path / "out") as bag:
        assert bag.message_count >= 0, "the recording was completed"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_a_killed_supervisor_leaves_no_orphans(running):
    process, children = running
    process.kill()
    assert _all_gone(children)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["detector_node", "recorder", "player"])
def test_the_death_of_one_process_ends_all_and_is_reported(running, victim):
    process, children = running
    children[victim].kill()
    code, report, errors = finish(process, timeout_s=60)
    assert code == 1
    name = victim.removesuffix("_node")
    assert name in report["failure"]
    assert report["exit_codes"][name] == -signal.SIGKILL
    assert f"--- {name}, exit -9" in errors
    assert _all_gone(children)


def test_what_cannot_be_used_is_refused_before_anything_starts(place, tmp_path, capsys):
    before = descendants()
    with pytest.raises(DataError, match="there is no bag"):
        run_graph(options(place, tmp_path / "out", bag=tmp_path / "none"))
    with pytest.raises(DataError, match="exists"):
        run_graph(options(place, place / "drive"))
    write_bag(tmp_path / "other", count=1)
    with pytest.raises(DataError, match="none of the sensor topics"):
        run_graph(options(place, tmp_path / "out", bag=tmp_path / "other"))
    with pytest.raises(ConfigError, match="sensor file"):
        run_graph(options(place, tmp_path / "out", sensors=tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="no parameter file"):
        run_graph(options(place, tmp_path / "out", parameters=tmp_path / "none.yaml"))
    assert main([str(tmp_path / "none"), "--record", str(tmp_path / "out")]) == 2
    assert "there is no bag" in capsys.readouterr().err
    assert descendants() == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"passes": 0}, {"namespace": "/a b"}])
def test_impossible_options_are_refused(place, tmp_path, wrong):
    with pytest.raises(ConfigError):
        options(place, tmp_path / "out", **wrong)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "--record" in capsys.readouterr().out
