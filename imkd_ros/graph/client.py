# SPDX-License-Identifier: Apache-2.0
"""A small rclpy node that drives a lifecycle node and looks at the graph; for the supervisor."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from imkd_ros.graph.bag_topics import header_stamp_ns, message_class, qos_profile

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE

#: How often a condition is looked at.
POLL_S = 0.05


class GraphClient:
    """Talks to the graph from a context of its own; a context manager.

    Args:
        is_alive: asked while waiting; False ends every wait.
        on_stamp: called with the header stamp of each message that is counted, and when it came
            (steady clock), both in nanoseconds.
    """

    def __init__(
        self, is_alive: Callable[[], bool], on_stamp: Callable[[int, int], None] | None = None
    ) -> None:
        self._is_alive = is_alive
        self._on_stamp = on_stamp
        self._context = Context()
        self._counts: dict[str, int] = {}
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> "GraphClient":
        """Open the context and the node."""
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("imkd_supervisor", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        return self

    def __exit__(self, *exception: object) -> None:
        """Close node and context."""
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def finds_lifecycle_node(self, node: str, timeout_s: float) -> bool:
        """Wait until a node can be asked for transitions; return whether it came in time."""
        client = self._node.create_client(ChangeState, f"{node}/change_state")
        try:
            return self.wait_until(client.service_is_ready, timeout_s)
        finally:
            self._node.destroy_client(client)

    def state(self, node: str, timeout_s: float) -> str:
        """Return a lifecycle node's state, such as "inactive"; "" where it does not answer."""
        answer = self._call(GetState, f"{node}/get_state", GetState.Request(), timeout_s)
        return "" if answer is None else str(answer.current_state.label)

    def _call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        """Return a service's answer; None where none came in time."""
        client = self._client(kind, service)
        if not self.wait_until(client.service_is_ready, timeout_s):
            return None
        future = client.call_async(request)
        if self.wait_until(future.done, timeout_s):
            return future.result()
        client.remove_pending_request(future)
        return None

    def _client(self, kind: Any, service: str) -> Any:
        """Return the client of a service, which is kept.

        Who serves it anew, after a crash, must have found it before it hears a request, and the
        graph knows the dead server for another while.
        """
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, service)
        return self._clients[service]

    def has_listener(self, topic: str, node: str) -> bool:
        """Whether a node of that name subscribes to a topic."""
        infos = self._node.get_subscriptions_info_by_topic(topic)
        return any(info.node_name == node for info in infos)

    def missing_listeners(self, topics: Sequence[str], node: str) -> list[str]:
        """Return the topics that a node does not subscribe to."""
        return [topic for topic in topics if not self.has_listener(topic, node)]

    def count(self, topic: str, type_name: str) -> None:
        """Count the messages of a topic from now on; their type must begin with a header."""
        self._counts[topic] = 0

        def add(cdr: Any) -> None:
            arrived_ns = time.monotonic_ns()
            self._counts[topic] += 1
            if self._on_stamp is not None:
                self._on_stamp(header_stamp_ns(cdr), arrived_ns)

        profile = qos_profile(depth=500, is_reliable=True, is_latched=False)
        self._node.create_subscription(message_class(type_name), topic, add, profile, raw=True)

    def listen(
        self, topic: str, type_name: str, on_message: Callable[[str, bytes, int], None]
    ) -> None:
        """Hand over each message of a topic: its name, the CDR bytes, when it came (steady, ns)."""

        def take(cdr: Any) -> None:
            on_message(topic, bytes(cdr), time.monotonic_ns())

        profile = qos_profile(depth=500, is_reliable=True, is_latched=False)
        self._node.create_subscription(message_class(type_name), topic, take, profile, raw=True)

    def counted(self, topic: str) -> int:
        """Return how many messages came since `count`."""
        return self._counts[topic]

    def spin(self, seconds: float) -> None:
        """Take in messages for a time."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Spin until a condition holds; False after the timeout, or when `is_alive` is not."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s or not self._is_alive():
                return False
            self._executor.spin_once(timeout_sec=POLL_S)
        return True
