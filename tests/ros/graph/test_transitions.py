# SPDX-License-Identifier: Apache-2.0
"""Transitions that take long are waited for, and lost answers are not taken for refusals."""

import threading
import time
from contextlib import suppress

import pytest

pytest.importorskip("rclpy")

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from imkd_ros.graph import transitions
from imkd_ros.graph.client import ACTIVATE, CONFIGURE
from imkd_ros.graph.transitions import ANSWER_S, Outcome, PatientClient, Watch

pytestmark = [pytest.mark.ros]


def judged(*told):
    """What the last of (state, seconds after the asking) shows."""
    watch = Watch(CONFIGURE, 0.0)
    return [watch.judge(state, now_s) for state, now_s in told][-1]


def test_while_a_node_is_silent_or_in_transition_nothing_is_decided():
    assert judged(("", 1.0), ("", 5000.0)) is None
    assert judged(("configuring", 1.0), ("configuring", 5000.0)) is None


def test_a_node_that_has_arrived_has_made_it():
    assert judged(("", 1.0), ("inactive", 5000.0)) is Outcome.MADE


def test_a_node_that_fell_back_has_refused_once_its_answer_had_its_moment():
    fallen = [("", ANSWER_S), ("unconfigured", ANSWER_S + 1)]
    assert judged(*fallen) is None
    assert judged(*fallen, ("unconfigured", ANSWER_S + 2)) is Outcome.REFUSED
    seen = [("configuring", 0.5), ("unconfigured", 1.0), ("unconfigured", 1.5)]
    assert judged(*seen) is Outcome.REFUSED


def test_a_node_that_answers_and_does_nothing_never_heard_of_it():
    awake = [("unconfigured", second) for second in range(5)]
    assert judged(*awake) is None
    assert judged(*awake, ("unconfigured", ANSWER_S)) is Outcome.LOST


def test_a_node_that_is_somewhere_else_is_looked_at_anew():
    assert judged(("finalized", 1.0)) is Outcome.LOST


class SlowNode:
    """Serves the services of a lifecycle node in one thread, and is slow to configure."""

    def __init__(self, seconds, success=True):
        self._seconds, self._success = seconds, success
        self.state, self.asked = "unconfigured", 0
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[])
        self._node = rclpy.create_node("slow", context=self._context)
        self._node.create_service(ChangeState, "/slow/change_state", self._change)
        self._node.create_service(GetState, "/slow/get_state", self._tell)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self):
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _change(self, request, response):
        self.asked += 1
        time.sleep(self._seconds)
        if self._success:
            self.state = {CONFIGURE: "inactive", ACTIVATE: "active"}[request.transition.id]
        response.success = self._success
        return response

    def _tell(self, _request, response):
        response.current_state = State(label=self.state)
        return response

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def slow_node(ros_environment, monkeypatch):
    monkeypatch.setattr(transitions, "ASK_S", 0.2)
    monkeypatch.setattr(transitions, "ANSWER_S", 1.0)
    monkeypatch.setattr(transitions, "SAY_S", 0.5)
    made = []

    def make(**given):
        made.append(SlowNode(**given))
        return made[-1]

    yield make
    for node in made:
        node.close()


@pytest.mark.parametrize("success", [True, False])
def test_a_configure_that_takes_longer_than_any_answer_is_asked_for_once(slow_node, success):
    node, said = slow_node(seconds=3.0, success=success), []
    with PatientClient(lambda: True, say=said.append) as client:
        assert client.transition("/slow", CONFIGURE, 2.0) is success
    assert node.asked == 1
    assert any("on its way to 'inactive'" in line for line in said)


def test_a_process_that_ends_meanwhile_ends_the_wait(slow_node):
    slow_node(seconds=4.0)
    end_s = time.monotonic() + 1.5
    with PatientClient(lambda: time.monotonic() < end_s) as client:
        assert client.carry_out("/slow", CONFIGURE) is Outcome.LOST
    assert time.monotonic() < end_s + 2.0


def test_a_node_that_is_not_there_is_not_waited_for(ros_environment, monkeypatch):
    monkeypatch.setattr(transitions, "ANSWER_S", 0.2)
    with PatientClient(lambda: True) as client:
        assert not client.transition("/nobody", CONFIGURE, 0.5)
