# SPDX-License-Identifier: Apache-2.0
"""The node as a process of its own: parameters by file, signals, time that stands, two of it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

pytest.importorskip("rclpy")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tests.ros.node_bench import write_sensors

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


class Peer:
    """A node that drives others and hears their diagnostics."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[])
        self.node = Node("peer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard = []
        self.subscription = self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self.heard.append, 10
        )

    def wait(self, condition, seconds=30.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            self.executor.spin_once(timeout_sec=0.02)
        return bool(condition())

    def change(self, name, transition):
        client = self.node.create_client(ChangeState, f"{name}/change_state")
        assert client.wait_for_service(timeout_sec=15.0), name
        request = ChangeState.Request(transition=Transition(id=transition))
        future = client.call_async(request)
        assert self.wait(future.done)
        self.node.destroy_client(client)
        return future.result().success

    def start(self, name="/imkd_detector"):
        assert self.change(name, Transition.TRANSITION_CONFIGURE)
        assert self.change(name, Transition.TRANSITION_ACTIVATE)

    def close(self):
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def peer(ros_environment):
    peer = Peer()
    yield peer
    peer.close()


@contextmanager
def running(tmp_path, bundle, *arguments, **parameters):
    """Run the node with a parameter file; it is gone after the block."""
    values = {
        "model.bundle": str(bundle),
        "sensors_file": str(write_sensors(tmp_path / "sensors.yaml")),
        "diagnostics.period_sec": 0.2,
        **parameters,
    }
    lines = [
        f"    {name}: {str(v).lower() if isinstance(v, bool) else v}" for name, v in values.items()
    ]
    path = tmp_path / "node.param.yaml"
    path.write_text("\n".join(["/**:", "  ros__parameters:", *lines]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "imkd_ros.detector_node"]
    command += ["--ros-args", "--params-file", str(path), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_active_node_cleanly(tmp_path, bundle, peer, number):
    with running(tmp_path, bundle) as process:
        peer.start()
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=15)
    # under coverage its own handler saves the data on SIGTERM, and lets the signal kill
    is_measured = "COVERAGE_PROCESS_CONFIG" in os.environ and number == signal.SIGTERM
    assert process.returncode == (-number if is_measured else 0), errors
    assert "Traceback" not in errors


def test_simulated_time_without_a_clock_is_explained_and_costs_nothing(tmp_path, bundle, peer):
    with running(tmp_path, bundle, use_sim_time=True) as process:
        peer.start()

        def frames():
            statuses = [s for m in peer.heard for s in m.status if s.name.endswith(": frames")]
            return bool(statuses) and "/clock" in statuses[-1].message

        assert peer.wait(frames)
        used = psutil.Process(process.pid)
        before_s, start_s = sum(used.cpu_times()[:2]), time.monotonic()
        peer.wait(lambda: False, 3.0)
        share = (sum(used.cpu_times()[:2]) - before_s) / (time.monotonic() - start_s)
    assert share < 0.4  # a busy loop takes all; under coverage everything costs more


def test_two_nodes_in_two_namespaces_have_topics_and_diagnostics_of_their_own(
    tmp_path, bundle, peer
):
    folders = [tmp_path / name for name in ("left", "right")]
    for folder in folders:
        folder.mkdir()

    def topics():
        return dict(peer.node.get_topic_names_and_types())

    def speakers():
        return {s.name.split(":")[0] for message in peer.heard for s in message.status}

    left, right = "left/imkd_detector", "right/imkd_detector"
    with (
        running(folders[0], bundle, "-r", "__ns:=/left"),
        running(folders[1], bundle, "-r", "__ns:=/right"),
    ):
        peer.start(f"/{left}")
        assert peer.wait(lambda: f"/{left}/output/detections" in topics())
        assert f"/{right}/output/detections" not in topics()
        assert peer.wait(lambda: speakers() == {left})
        peer.start(f"/{right}")
        assert peer.wait(lambda: f"/{right}/output/detections" in topics())
        assert peer.wait(lambda: speakers() == {left, right})


@pytest.mark.slow
def test_many_transitions_leak_neither_memory_nor_files(tmp_path, bundle, peer):
    order = (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
    )
    with running(tmp_path, bundle) as process:
        used = psutil.Process(process.pid)

        def cycle(times):
            for _ in range(times):
                for transition in order:
                    assert peer.change("/imkd_detector", transition)
            return used.memory_info().rss, used.num_fds(), used.num_threads()

        cycle(15)
        warm = cycle(1)
        after = cycle(25)
    assert after[0] <= warm[0] * 1.05
    assert after[1:] == warm[1:]
