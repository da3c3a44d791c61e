# SPDX-License-Identifier: Apache-2.0
"""Records topics of a ROS graph to an MCAP bag.

    bag_recorder out/run --topics /imkd_detector/output/detections /tf --idle 5

Messages are written as the bytes that arrived; nothing is decoded. The bag appears under its name
when recording ends: after SIGINT, SIGTERM, a number of messages, or a time without any.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.errors import ImkdError
from imkd_ros.graph.bag_topics import message_class, positive, qos_profile, report, stop_on_signals
from imkd_ros.graph.stream_executor import StreamExecutor

#: How often the graph is asked for topics that have not appeared yet.
DISCOVERY_PERIOD_S = 0.1

#: Messages that a subscription keeps while the recorder writes.
QUEUE_DEPTH = 500


@dataclass(frozen=True, kw_only=True)
class RecorderOptions:
    """What is recorded, and until when.

    Attributes:
        topics: names, or "name:package/msg/Type" to subscribe before a publisher is there.
        max_messages: stop after so many; 0 = no limit.
        idle_s: stop when so long no message came, counted from the first; 0 = never.
        use_sim_time: log time is `/clock`, not the time of this machine.
    """

    topics: tuple[str, ...]
    max_messages: int = 0
    idle_s: float = 0.0
    use_sim_time: bool = False


class BagRecorder(Node):
    """Subscribes to topics as they appear and writes what comes.

    Attributes:
        counts: topic -> messages recorded.
        lost: topic -> messages that the middleware reported as lost.
    """

    def __init__(self, writer: BagWriter, options: RecorderOptions) -> None:
        overrides = [Parameter("use_sim_time", value=options.use_sim_time)]
        super().__init__("bag_recorder", parameter_overrides=overrides)
        self.counts: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._writer = writer
        self._options = options
        self._pending: dict[str, str] = {}
        self._early: list[tuple[str, str, bytes]] = []
        self._last_s = 0.0
        for entry in options.topics:
            topic, _, type_name = entry.partition(":")
            self._pending[self.resolve_topic_name(topic)] = type_name
        self._subscribe_to_what_is_there()
        self._timer = self.create_timer(
            DISCOVERY_PERIOD_S, self._subscribe_to_what_is_there, clock=_steady_clock()
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Topics that have not been found yet."""
        return tuple(self._pending)

    @property
    def is_done(self) -> bool:
        """Whether the number of messages is reached, or nothing came for long enough."""
        if self._is_full:
            return True
        quiet_s = time.monotonic() - self._last_s if self._last_s else 0.0
        return bool(self._options.idle_s) and quiet_s > self._options.idle_s

    @property
    def _is_full(self) -> bool:
        return 0 < self._options.max_messages <= self.counts.total()

    def write_early(self) -> None:
        """Write what came before `/clock` did, with the first time known."""
        now_ns = max(1, self.get_clock().now().nanoseconds)
        early, self._early = self._early, []
        for topic, type_name, cdr in early:
            self._writer.write(topic, type_name, now_ns, cdr)

    def _subscribe_to_what_is_there(self) -> None:
        if not self._pending:
            return
        types = dict(self.get_topic_names_and_types())
        for topic, given in list(self._pending.items()):
            offers = self.get_publishers_info_by_topic(topic)
            if offers or given:
                self._subscribe(topic, given or types.get(topic, [""])[0], offers)

    def _subscribe(self, topic: str, type_name: str, offers: Sequence[object]) -> None:
        if not type_name:
            return  # the type is told a moment after the publisher
        self._pending.pop(topic)
        self.create_subscription(
            message_class(type_name),
            topic,
            self._callback(topic, type_name),
            _matching_profile(offers),
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._lost_callback(topic)),
        )

    def _callback(self, topic: str, type_name: str) -> Callable[[bytes], None]:
        def record(cdr: bytes) -> None:
            if self._is_full:  # one turn of the executor may bring several messages
                return
            now_ns = self.get_clock().now().nanoseconds
            if not now_ns:
                self._early.append((topic, type_name, cdr))
            else:
                self.write_early()
                self._writer.write(topic, type_name, now_ns, cdr)
            self.counts[topic] += 1
            self._last_s = time.monotonic()

        return record

    def _lost_callback(self, topic: str) -> Callable[[object], None]:
        def note(event: object) -> None:
            self.lost[topic] += int(getattr(event, "total_count_change", 0))

        return note


def _steady_clock() -> object:
    from rclpy.clock import Clock, ClockType

    return Clock(clock_type=ClockType.STEADY_TIME)


def _matching_profile(offers: Sequence[object]) -> QoSProfile:
    """Return a profile that all publishers found satisfy; the most forgiving one without any."""
    profiles = [getattr(offer, "qos_profile") for offer in offers]  # noqa: B009
    reliable = [item.reliability is ReliabilityPolicy.RELIABLE for item in profiles]
    latched = [item.durability is DurabilityPolicy.TRANSIENT_LOCAL for item in profiles]
    return qos_profile(
        depth=QUEUE_DEPTH,
        is_reliable=bool(reliable) and all(reliable),
        is_latched=bool(latched) and all(latched),
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="bag_recorder",
        description="Record topics of a ROS graph to a rosbag2 MCAP bag, without rosbag2.",
        epilog="Example: bag_recorder out/run --topics /imkd_detector/output/detections --idle 5. "
        "Ctrl-C completes the bag. The last line of the output is JSON with the number of messages "
        "of each topic.",
    )
    default = RecorderOptions(topics=())
    add = parser.add_argument
    add("bag", type=Path, help="folder to make")
    add("--topics", nargs="+", required=True, metavar="TOPIC", help=_TOPICS)
    add("--max-messages", type=int, default=0, metavar="N", help="stop after N messages")
    add("--idle", dest="idle_s", type=positive, default=default.idle_s, metavar="SEC", help=_IDLE)
    add("--use-sim-time", action="store_true", help="log time is /clock")
    add("--overwrite", action="store_true", help="replace a bag that is there")
    return parser


_TOPICS = "names; NAME:package/msg/Type subscribes before there is a publisher"
_IDLE = "stop when no message came for so long, counted from the first"


def record(path: Path, options: RecorderOptions, *, overwrite: bool = False) -> dict[str, object]:
    """Record until a signal, `max_messages` or `idle_s`; return the counts of the report.

    Raises:
        DataError: the bag cannot be written, or a topic's type is not installed.
    """
    with stop_on_signals() as stop, BagWriter(path, overwrite=overwrite) as writer:
        node = BagRecorder(writer, options)
        executor = StreamExecutor()
        executor.add_node(node)
        while node.context.ok() and not stop.is_set() and not node.is_done:
            executor.spin_once(timeout_sec=0.1)
        node.write_early()
        counts = {
            "recorded": node.counts.total(),
            "topics": dict(node.counts),
            "lost": dict(node.lost),
            "missing": list(node.missing),
        }
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Record a bag; return 0, or 2 after an error that the user can mend."""
    raw = list(sys.argv[1:] if arguments is None else arguments)
    values = make_parser().parse_args(remove_ros_args(["", *raw])[1:])
    options = RecorderOptions(
        topics=tuple(values.topics),
        max_messages=values.max_messages,
        idle_s=values.idle_s,
        use_sim_time=values.use_sim_time,
    )
    rclpy.init(args=raw, signal_handler_options=SignalHandlerOptions.NO)
    try:
        report(record(values.bag, options, overwrite=values.overwrite))
    except ImkdError as error:
        sys.stderr.write(f"bag_recorder: {error}\n")
        return 2
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
