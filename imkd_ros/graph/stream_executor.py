# SPDX-License-Identifier: Apache-2.0
"""An executor for nodes that listen to many streams: its wait set is kept from message to message.

    executor = StreamExecutor()
    executor.add_node(node)
    executor.spin()

rclpy's executors gather all entities of the node anew for each message, wrap each callback in a
task, and wake themselves up twice for it; with eleven sensors, their CameraInfo and transforms
that takes more of a core than all the node does with the messages. This one keeps the list and
what it waits on until rclpy says that something was created or destroyed (`wake`), and calls back
directly. Only subscriptions and timers go this short way; services, clients, guard conditions,
tasks and QoS events are left to rclpy's own code, when the wait says that one is ready, and for
events (which are not waited for) twice a second. Callbacks run one at a time in the thread
that spins.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Literal

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

#: How often QoS events are looked at, seconds; the middleware keeps them meanwhile.
EVENTS_S = 0.5

_Kind = Literal["subscription", "timer", "client", "service", "guard_condition"]

_MESSAGE_ONLY = Subscription.CallbackType.MessageOnly


class StreamExecutor(SingleThreadedExecutor):
    """rclpy's executor with a short way for subscriptions and timers.

    Their callbacks must be plain functions; those of timers take no argument.

    Args:
        context: the ROS context; the default one if none is given.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        self._waited: _Waited | None = None
        self._turn = threading.RLock()  # held from before a wait to the end of its callbacks
        self._events_due_s = 0.0
        super().__init__(context=context)

    def wake(self) -> None:
        """Wait for something else from now on: an entity was created or destroyed."""
        waited = self._waited
        if waited is not None:
            waited.is_stale = True
        super().wake()

    def add_node(self, node: Node) -> bool:
        """Call back a node as well; return whether it is new."""
        is_new = super().add_node(node)
        self.wake()
        return is_new

    def remove_node(self, node: Node) -> None:
        """Call back a node no more."""
        super().remove_node(node)
        self.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """End, and hold nothing any more; may be called from any thread.

        Args:
            timeout_sec: wait no longer for the callback that another thread is in; None = wait.

        Returns:
            Whether that callback has ended. Where it has not, `spin` lets go of everything.
        """
        with self._shutdown_lock:
            self._is_shutdown = True
            if self._guard is not None:
                self._guard.trigger()
        wait_s = -1.0 if timeout_sec is None or timeout_sec < 0 else timeout_sec  # -1: no limit
        if not self._turn.acquire(timeout=wait_s):
            return False
        try:
            self._release()
            return super().shutdown(timeout_sec)
        finally:
            self._turn.release()

    def spin(self) -> None:
        """Call back until the context or this executor is shut down.

        Raises:
            ExternalShutdownException: the context was shut down while this waited, by a signal for
                example; between two waits it makes this return.
        """
        try:
            super().spin()
        finally:
            with self._turn:
                self._release()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait until something is ready and call back everything that is.

        Args:
            timeout_sec: wait no longer; None = until something is ready, or QoS events have to be
                looked at.

        Raises:
            ExternalShutdownException: the context was shut down.
        """
        with self._turn:
            waited = None if self._is_shutdown else self._current()
            is_others_turn = waited is not None and waited.wait(self._timeout_ns(timeout_sec))
            if waited is None or self._is_shutdown:
                return
            if not self._context.ok():
                raise ExternalShutdownException
            waited.call_back()
            if is_others_turn or self._tasks or self._are_events_due():
                self._leave_to_rclpy()

    def _current(self) -> "_Waited":
        """Return what is waited for, gathered anew where something was created or destroyed."""
        waited = self._waited
        if waited is None or waited.is_stale:
            self._release()
            waited = self._waited = _Waited()  # before it gathers: `wake` must reach it meanwhile
            own_guards = [self._guard, self._sigint_gc]
            try:
                waited.gather(self.get_nodes(), own_guards, self._context.handle)
            except BaseException:  # the context ends, for example
                self._release()
                raise
        return waited

    def _timeout_ns(self, timeout_s: float | None) -> int:
        """Return how long to wait: until events are due at the longest."""
        wait_s = max(self._events_due_s - time.monotonic(), 0.0)
        if timeout_s is not None and timeout_s >= 0:
            wait_s = min(wait_s, timeout_s)
        return int(wait_s * 1e9)

    def _are_events_due(self) -> bool:
        """Whether it is time to look at QoS events, and there are any that may be called back."""
        now_s = time.monotonic()
        if now_s < self._events_due_s:
            return False
        self._events_due_s = now_s + EVENTS_S
        waitables = [one for node in self.get_nodes() for one in node.waitables]
        return any(self.can_execute(one) for one in waitables)

    def _leave_to_rclpy(self) -> None:
        """Let rclpy call back everything that is ready."""
        try:
            while True:
                handler, _, _ = self.wait_for_ready_callbacks(0)
                handler()
                handler.result()
        except (TimeoutException, ShutdownException):
            return
        finally:  # rclpy drops what is done when it is asked next: it would have to be asked again
            with self._tasks_lock:
                self._tasks[:] = [one for one in self._tasks if not _is_over(one[0])]

    def _release(self) -> None:
        waited, self._waited = self._waited, None
        if waited is not None:
            waited.release()


def _is_over(task: Any) -> bool:
    return bool(task.done() or task.cancelled())


class _Waited:
    """All entities of the nodes, held so that they are not destroyed while they are waited for.

    Attributes:
        is_stale: something was created or destroyed since it began to gather, or all was let go.
    """

    def __init__(self) -> None:
        self.is_stale = False
        self._stack = ExitStack()

    def gather(self, nodes: list[Node], guards: list[Any], context: Any) -> None:
        """Take hold of all entities there are.

        Args:
            nodes: whose entities they are.
            guards: the executor's own guard conditions.
            context: handle of the ROS context.
        """
        self._stack.enter_context(context)
        self._subscriptions = self._hold(one for node in nodes for one in node.subscriptions)
        self._timers = self._hold(one for node in nodes for one in node.timers)
        self._clients = self._hold(one for node in nodes for one in node.clients)
        self._services = self._hold(one for node in nodes for one in node.services)
        self._guards = self._hold(one for node in nodes for one in node.guards)
        own_guards = self._hold(guards)
        self._wait_set = wait_set = rclpy_implementation.WaitSet(
            len(self._subscriptions),
            len(self._guards) + len(own_guards),
            len(self._timers),
            len(self._clients),
            len(self._services),
            0,
            context,
        )
        kinds: tuple[tuple[Callable[[Any], int], Mapping[int, Any]], ...] = (
            (wait_set.add_subscription, self._subscriptions),
            (wait_set.add_timer, self._timers),
            (wait_set.add_client, self._clients),
            (wait_set.add_service, self._services),
            (wait_set.add_guard_condition, {**self._guards, **own_guards}),
        )
        self._adding = [(add, one.handle) for add, held in kinds for one in held.values()]

    def release(self) -> None:
        """Let go; what was destroyed meanwhile is given back now."""
        self.is_stale = True
        self._stack.close()

    def wait(self, timeout_ns: int) -> bool:
        """Wait until something is ready; return whether rclpy has to look after it."""
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._adding:
            add(handle)
        wait_set.wait(timeout_ns)
        triggered = self._ready("guard_condition", self._guards)
        for guard in triggered:
            guard._executor_triggered = True  # the wait took it; rclpy triggers it anew
        others = [
            *triggered,
            *self._ready("client", self._clients),
            *self._ready("service", self._services),
        ]
        return bool(others)

    def call_back(self) -> None:
        """Call back the timers and one message of each subscription that are ready.

        It stops where a callback created or destroyed something: what is left is ready again.
        """
        for timer in self._ready("timer", self._timers):
            if self.is_stale:
                return
            if timer.handle.is_timer_ready():  # not cancelled by a callback before
                timer.handle.call_timer()
                timer.callback()
        for subscription in self._ready("subscription", self._subscriptions):
            if self.is_stale:
                return
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                wants_info = subscription._callback_type is not _MESSAGE_ONLY
                subscription.callback(*taken[: 1 + wants_info])

    def _hold(self, entities: Iterable[Any]) -> dict[int, Any]:
        """Return pointer -> entity of those that are not destroyed yet, and hold them."""
        held = {}
        for entity in entities:
            try:
                self._stack.enter_context(entity.handle)
            except InvalidHandle:
                continue
            held[entity.handle.pointer] = entity
        return held

    def _ready(self, kind: _Kind, held: Mapping[int, Any]) -> list[Any]:
        return [held[key] for key in self._wait_set.get_ready_entities(kind) if key in held]
