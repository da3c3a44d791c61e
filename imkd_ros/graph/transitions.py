# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions that take long, such as a configure that builds an engine for minutes.

A node answers nothing while it is in transition, so silence says nothing and the transition's own
answer is waited for. That answer can get lost: a node that a process was just started for may not
know its asker yet. Then the node's state tells what became of the transition.
"""

import time
from collections.abc import Callable
from enum import Enum

from lifecycle_msgs.srv import ChangeState

from imkd_ros.graph.client import ACTIVATE, CONFIGURE, DEACTIVATE, GraphClient

#: How often the state of a node is asked for, seconds.
ASK_S = 0.5

#: An answer that did not come within so long from a node that does answer is lost, seconds; a node
#: that was silent for longer was in transition.
ANSWER_S = 5.0

#: How often it is said that a transition goes on, seconds.
SAY_S = 30.0

#: Transition -> the states before and behind it.
_STATES = {
    CONFIGURE: ("unconfigured", "inactive"),
    ACTIVATE: ("inactive", "active"),
    DEACTIVATE: ("active", "inactive"),
}

#: States that a node passes through.
_PASSING = frozenset({"configuring", "activating", "deactivating", "errorprocessing"})


class Outcome(Enum):
    """What became of a transition."""

    MADE = "made"
    REFUSED = "refused"
    LOST = "lost"  # the node never heard of it, or is somewhere else: look, and ask again


class Watch:
    """Judges by a node's states what became of a transition whose answer has not come. No ROS.

    Args:
        transition: that was asked for.
        now_s: time then, on any steady clock.
    """

    def __init__(self, transition: int, now_s: float) -> None:
        self._before, self._behind = _STATES[transition]
        self._asked_s = self._heard_s = now_s
        self._was_away = False
        self._fell_back = False

    def judge(self, state: str, now_s: float) -> Outcome | None:
        """Return what became of it; None where it may go on.

        Args:
            state: that the node told, "" where it does not answer.
            now_s: time now.
        """
        if not state or state in _PASSING:
            self._was_away |= state in _PASSING
            return None
        self._was_away |= now_s - self._heard_s >= ANSWER_S
        self._heard_s = now_s
        if state == self._behind:
            return Outcome.MADE
        if state != self._before:
            return Outcome.LOST
        if self._was_away:  # its own answer has a moment to overtake the state's
            fell_back, self._fell_back = self._fell_back, True
            return Outcome.REFUSED if fell_back else None
        return Outcome.LOST if now_s - self._asked_s >= ANSWER_S else None


class PatientClient(GraphClient):
    """A client that waits for transitions as long as they take.

    Args:
        is_alive: asked while waiting; False ends every wait.
        on_stamp: see `GraphClient`.
        say: is told now and then that a transition goes on.
    """

    def __init__(
        self,
        is_alive: Callable[[], bool],
        on_stamp: Callable[[int, int], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(is_alive, on_stamp)
        self._say = say

    def __enter__(self) -> "PatientClient":
        """Open the context and the node."""
        super().__enter__()
        return self

    def transition(self, node: str, transition: int, timeout_s: float) -> bool:
        """Ask for a transition; return whether it was made.

        Args:
            node: name of a lifecycle node, in the state that the transition starts from.
            transition: one of `client`'s.
            timeout_s: to be heard in; the transition itself may take as long as it takes.
        """
        end_s = time.monotonic() + timeout_s
        outcome = Outcome.LOST
        while outcome is Outcome.LOST and time.monotonic() < end_s and self._is_alive():
            outcome = self.carry_out(node, transition)
        return outcome is Outcome.MADE

    def carry_out(self, node: str, transition: int) -> Outcome:
        """Ask once for a transition, and wait while the node is busy with it and alive."""
        client = self._client(ChangeState, f"{node}/change_state")
        if not self.wait_until(client.service_is_ready, ANSWER_S):
            return Outcome.LOST
        request = ChangeState.Request()
        request.transition.id = transition
        future = client.call_async(request)
        begin_s = said_s = time.monotonic()
        watch, outcome = Watch(transition, begin_s), None
        while outcome is None and self._is_alive():
            if self.wait_until(future.done, ASK_S):
                return Outcome.MADE if future.result().success else Outcome.REFUSED
            outcome = watch.judge(self.state(node, ASK_S), time.monotonic())
            said_s = self._say_that_it_goes_on(_STATES[transition][1], begin_s, said_s)
        client.remove_pending_request(future)
        return outcome or Outcome.LOST

    def _say_that_it_goes_on(self, goal: str, begin_s: float, said_s: float) -> float:
        """Say it where it is due; return when it was said last."""
        now_s = time.monotonic()
        if self._say is None or now_s - said_s < SAY_S:
            return said_s
        self._say(f"the node is on its way to '{goal}' ({now_s - begin_s:.0f} s); its log says how")
        return now_s
