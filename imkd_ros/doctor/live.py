# SPDX-License-Identifier: Apache-2.0
"""A running ROS graph -> what was observed on it, with subscriptions like the node's own."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from imkd_core.errors import ConfigError, SensorError
from imkd_ros.doctor.facts import ClockFacts, Endpoint, NodeFacts, Observation
from imkd_ros.doctor.observer import Observer
from imkd_ros.doctor.wanted import Wanted, WantedTopic
from imkd_ros.graph.bag_topics import message_class, qos_profile

#: Name of the doctor on the graph.
_NAME = "imkd_doctor"

#: Bounds of the time to listen; below a second nothing can be said of rates.
_SECONDS = (1.0, 3600.0)

#: Messages of a topic that may wait for the doctor.
_DEPTH = 100

#: How long to wait until all topics and the detector are found, and for its answers.
_FIND_S, _ANSWER_S = 2.5, 2.0


def observe_graph(wanted: Wanted, seconds: float) -> Observation:
    """Listen to the graph of this process's ROS domain.

    Args:
        wanted: what the node would listen to.
        seconds: how long.

    Raises:
        ConfigError: a time that is too short or too long.
    """
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise ConfigError(f"--seconds must be {_SECONDS[0]:g} to {_SECONDS[1]:g}, got {seconds:g}")
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(_NAME, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return _Listener(node, executor, wanted).listen(seconds)
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        context.try_shutdown()


class _Listener:
    def __init__(self, node: Node, executor: SingleThreadedExecutor, wanted: Wanted) -> None:
        self._node, self._executor, self._wanted = node, executor, wanted
        self._observer = Observer(wanted, with_pictures=True)
        self._ticks: list[tuple[int, int]] = []
        self._statuses: list[Any] = []

    def listen(self, seconds: float) -> Observation:
        for topic in self._wanted.topics:
            self._subscribe(topic)
        clock_qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._node.create_subscription(Clock, "/clock", self._on_clock, clock_qos)
        status = f"{self._wanted.node}/output/status"
        self._node.create_subscription(DiagnosticArray, status, self._statuses.append, 5)
        self._spin_until(self._is_discovered, _FIND_S)
        start_ns = time.time_ns()
        node, is_simulated = self._ask_node()
        self._spin_until(lambda: False, seconds - (time.time_ns() - start_ns) * 1e-9)
        end_ns = time.time_ns()
        clock = self._clock_facts(is_simulated, end_ns)
        to_clock = self._to_clock() if clock.is_used and clock.advance_s > 0 else None
        return self._observer.observation(
            "the running graph",
            (start_ns, end_ns),
            self._ends(self._node.get_publishers_info_by_topic, self._topics()),
            self._ends(self._node.get_subscriptions_info_by_topic, self._outputs()),
            clock=clock,
            node=self._with_status(node),
            to_clock=to_clock,
        )

    def _subscribe(self, topic: WantedTopic) -> None:
        kind = message_class(topic.type_name)

        def on_message(cdr: bytes) -> None:
            decode = partial(_decoded, cdr, kind, topic.name)
            self._observer.take(topic.name, time.time_ns(), cdr, decode)

        self._node.create_subscription(
            kind,
            topic.name,
            on_message,
            qos_profile(depth=_DEPTH, is_reliable=topic.is_reliable, is_latched=topic.is_latched),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )

    def _on_clock(self, message: Any) -> None:
        stamp = message.clock
        self._ticks.append((time.time_ns(), stamp.sec * 1_000_000_000 + stamp.nanosec))

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while not condition():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left_s, 0.05))
        return True

    def _is_discovered(self) -> bool:
        """Whether all that is wanted was found; what is not there keeps the doctor waiting."""
        found = [self._node.count_publishers(topic.name) for topic in self._wanted.topics]
        return all(found) and self._is_there()

    def _is_there(self) -> bool:
        names = self._node.get_node_names_and_namespaces()
        return self._wanted.node in {f"{space.rstrip('/')}/{name}" for name, space in names}

    def _ask_node(self) -> tuple[NodeFacts, bool]:
        """Return how the detector stands, and whether it goes by /clock."""
        said = self._wanted.use_sim_time
        if not self._is_there():
            return NodeFacts(is_there=False), bool(said)
        state = self._call(GetState, "get_state", GetState.Request())
        label = "" if state is None else str(state.current_state.label)
        if said is None:
            request = GetParameters.Request(names=["use_sim_time"])
            answer = self._call(GetParameters, "get_parameters", request)
            values = [] if answer is None else answer.values
            said = bool(values and values[0].bool_value)
        return NodeFacts(is_there=True, state=label), said

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        """Return the answer of one of the detector's services; None where none comes in time."""
        client = self._node.create_client(kind, f"{self._wanted.node}/{service}")
        try:
            if not self._spin_until(client.service_is_ready, _ANSWER_S):
                return None
            future = client.call_async(request)
            return future.result() if self._spin_until(future.done, _ANSWER_S) else None
        finally:
            self._node.destroy_client(client)

    def _clock_facts(self, is_used: bool, end_ns: int) -> ClockFacts:
        steps_ns = np.diff(np.array([tick for _, tick in self._ticks], dtype=np.int64))
        changed = np.flatnonzero(steps_ns)
        last_ns = self._ticks[int(changed[-1]) + 1][0] if len(changed) else 0
        return ClockFacts(
            is_used=is_used,
            publishers=self._node.count_publishers("/clock"),
            ticks=len(self._ticks),
            advance_s=float(steps_ns[steps_ns > 0].sum()) * 1e-9,
            silent_s=(end_ns - last_ns) * 1e-9,
            jumps=int((steps_ns < 0).sum()),
        )

    def _to_clock(self) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
        """Return what turns times of this machine into those of /clock."""
        here, there = np.array(self._ticks, dtype=np.int64).T

        def convert(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
            # offsets from the first tick: a float of nanoseconds since 1970 has steps of 256
            moved = np.interp(times_ns - here[0], here - here[0], there - there[0])
            return np.asarray(moved.round(), dtype=np.int64) + there[0]

        return convert

    def _topics(self) -> list[str]:
        known = [name for name, _ in self._node.get_topic_names_and_types()]
        return [name for name in known if self._node.count_publishers(name)]

    def _outputs(self) -> list[str]:
        return [name for name in self._topics() if name.startswith(f"{self._wanted.node}/")]

    def _ends(
        self, find: Callable[[str], Iterable[Any]], topics: Iterable[str]
    ) -> dict[str, tuple[Endpoint, ...]]:
        found = {name: tuple(_endpoint(info) for info in find(name)) for name in topics}
        own = f"/{_NAME}"
        return {name: tuple(e for e in ends if e.node != own) for name, ends in found.items()}

    def _with_status(self, node: NodeFacts) -> NodeFacts:
        """Add what the newest `~/output/status` says."""
        found = [status for message in self._statuses for status in message.status]
        if not found:
            return node
        level = found[-1].level
        return NodeFacts(
            is_there=True,
            state=node.state,
            status=str(found[-1].message),
            status_level=level[0] if isinstance(level, bytes) else int(level),
        )


def _decoded(cdr: bytes, kind: Any, topic: str) -> Any:
    """Return a message as an object.

    Raises:
        SensorError: the bytes are no such message.
    """
    try:
        return deserialize_message(cdr, kind)
    except Exception as error:  # noqa: BLE001 - whatever the middleware's binding raises
        raise SensorError(
            f"a message of {len(cdr)} bytes on {topic} cannot be read ({error})"
        ) from None


def _endpoint(info: Any) -> Endpoint:
    """Return what matters of a `TopicEndpointInfo`."""
    return Endpoint(
        node=f"{info.node_namespace.rstrip('/')}/{info.node_name}",
        type_name=str(info.topic_type),
        is_reliable=info.qos_profile.reliability is not ReliabilityPolicy.BEST_EFFORT,
        is_latched=info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL,
    )
