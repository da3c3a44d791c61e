# SPDX-License-Identifier: Apache-2.0
"""Plays a bag into a ROS graph, with its own spacing in time and `/clock`.

    bag_player drive --rate 2 --wait-for /sensing/cam_front/image/compressed

Messages are published as the bytes that were recorded. `/clock` follows the bag's log time, so
nodes with `use_sim_time` see the time of the recording; header stamps are not changed.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from imkd_core.data.bags.recording import Bag, BagMessage, BagTopic, open_bag
from imkd_core.errors import DataError, ImkdError
from imkd_ros.graph.bag_topics import (
    message_class,
    not_negative,
    positive,
    qos_profile,
    report,
    stop_on_signals,
)
from imkd_ros.graph.sent_log import SentMessage, write_sent_log

#: How long the player waits at its end until reliable subscribers have everything.
ACKNOWLEDGE_TIMEOUT_S = 10.0


#: `/clock` is at most this far behind a message that is published, bag time: every tick wakes
#: every node, so it has its period, and not one tick a message; but stamps must not lie far ahead.
LARGEST_CLOCK_LAG_S = 0.02


@dataclass(frozen=True, kw_only=True)
class PlayerOptions:
    """How a bag is played.

    Attributes:
        rate: bag seconds a second of wall time.
        passes: how often the bag is played; 0 = until interrupted.
        delay_s: wall seconds between the last subscriber's arrival and the first message.
        topics: the topics to play; empty = all.
        wait_for: topics that must have `min_subscribers` before anything is played.
        min_subscribers: see `wait_for`.
        wait_timeout_s: give up waiting after this.
        best_effort: topics to publish best effort; the others are reliable.
        depth: messages a publisher keeps for resending.
        clock_period_s: wall time between two `/clock` messages; 0 = no `/clock`.
        linger_s: bag seconds that `/clock` runs on after the last message.
        sent_log: file that says when each message was sent; None = none.
    """

    rate: float = 1.0
    passes: int = 1
    delay_s: float = 0.0
    topics: tuple[str, ...] = ()
    wait_for: tuple[str, ...] = ()
    min_subscribers: int = 1
    wait_timeout_s: float = 30.0
    best_effort: tuple[str, ...] = ()
    depth: int = 50
    clock_period_s: float = 0.02
    linger_s: float = 0.5
    sent_log: Path | None = None


class BagPlayer(Node):
    """Publishes the messages of a bag; `play` does it and returns when all are out.

    Attributes:
        counts: topic -> messages published.
        largest_delay_s: how late the latest message was, wall time.
    """

    def __init__(self, bag: Bag, options: PlayerOptions, stop: threading.Event) -> None:
        super().__init__("bag_player", start_parameter_services=False)
        self.counts: Counter[str] = Counter()
        self.largest_delay_s = 0.0
        self._bag = bag
        self._options = options
        self._stop = stop
        topics = options.topics or tuple(bag.topics)
        _check_topics(bag, topics, topics=tuple(bag.topics))
        named = (*options.wait_for, *options.best_effort)
        _check_topics(bag, named, topics=(*topics, "/clock"))
        self._publishers_by_topic = {
            topic: self._make_publisher(topic, bag.topics[topic])
            for topic in topics
            if topic != "/clock"
        }
        self._clock = self.create_publisher(
            Clock, "/clock", qos_profile(depth=1, is_reliable=True, is_latched=False)
        )
        self._clock_ns = -1
        self._clock_lag_ns = round(
            min(options.clock_period_s * options.rate, LARGEST_CLOCK_LAG_S) * 1e9
        )
        self._sent: list[SentMessage] = []

    def play(self) -> None:
        """Wait for subscribers, then publish the bag; return early when told to stop.

        Raises:
            DataError: no subscribers came in time, or the bag is damaged.
        """
        self._wait_for_subscribers()
        self._sleep_until(time.monotonic() + self._options.delay_s)
        passes = 0
        while self._may_go_on() and (passes < self._options.passes or not self._options.passes):
            self._play_once()
            passes += 1
        if self._options.sent_log is not None:
            write_sent_log(self._options.sent_log, self._sent)
        self._wait_for_acknowledgements()

    def messages(self, topics: Sequence[str]) -> Iterable[BagMessage]:
        """Return what is played, by rising log time: when each is sent. Override to change it."""
        return self._bag.messages(topics)

    def is_logged(self, message: BagMessage) -> bool:
        """Whether the sent log has a message. Override to make it shorter."""
        del message
        return True

    def _may_go_on(self) -> bool:
        return not self._stop.is_set() and bool(self.context.ok())

    def _make_publisher(self, topic: str, info: BagTopic) -> Any:
        depth = max(1, info.count) if info.is_latched else self._options.depth
        is_reliable = topic not in self._options.best_effort
        profile = qos_profile(depth=depth, is_reliable=is_reliable, is_latched=info.is_latched)
        return self.create_publisher(message_class(info.type_name), topic, profile)

    def _wait_for_subscribers(self) -> None:
        give_up = time.monotonic() + self._options.wait_timeout_s
        missing = set(self._options.wait_for)
        publishers = {**self._publishers_by_topic, "/clock": self._clock}
        while missing and self._may_go_on():
            missing = {
                topic
                for topic in missing
                if publishers[topic].get_subscription_count() < self._options.min_subscribers
            }
            if missing and time.monotonic() > give_up:
                raise DataError(
                    f"no {self._options.min_subscribers} subscriber(s) on "
                    f"{', '.join(sorted(missing))} within {self._options.wait_timeout_s:g} s; "
                    "start the subscriber, and check its topic names, QoS and ROS_DOMAIN_ID"
                )
            time.sleep(0.02 if missing else 0.0)

    def _play_once(self) -> None:
        start_ns, start_s = self._bag.start_ns, time.monotonic()
        end_ns = self._bag.end_ns
        self._clock_ns = -1
        for message in self.messages(tuple(self._publishers_by_topic)):
            end_ns = max(end_ns, message.stamp_ns)
            due_s = start_s + (message.stamp_ns - start_ns) * 1e-9 / self._options.rate
            self._run_clock(message.stamp_ns, due_s)
            if not self._may_go_on():
                return
            self.largest_delay_s = max(self.largest_delay_s, time.monotonic() - due_s)
            if message.stamp_ns - self._clock_ns >= self._clock_lag_ns:
                self._publish_clock(message.stamp_ns)
            if self._options.sent_log is not None and self.is_logged(message):
                sent_ns = time.monotonic_ns()
                self._sent.append(SentMessage(message.topic, message.stamp_ns, sent_ns))
            self._publishers_by_topic[message.topic].publish(message.cdr)
            self.counts[message.topic] += 1
        end_ns += round(self._options.linger_s * 1e9)
        self._run_clock(end_ns, start_s + (end_ns - start_ns) * 1e-9 / self._options.rate)

    def _run_clock(self, stamp_ns: int, due_s: float) -> None:
        """Sleep until `due_s`, where bag time is `stamp_ns`; let `/clock` run up to it."""
        while self._may_go_on() and (left_s := due_s - time.monotonic()) > 0:
            if self._options.clock_period_s:
                self._publish_clock(stamp_ns - round(left_s * self._options.rate * 1e9))
            time.sleep(min(left_s, self._options.clock_period_s or 0.1, 0.1))

    def _publish_clock(self, stamp_ns: int) -> None:
        if self._options.clock_period_s and stamp_ns > self._clock_ns and self._may_go_on():
            self._clock_ns = stamp_ns
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 1_000_000_000)
            self._clock.publish(message)

    def _sleep_until(self, due_s: float) -> None:
        while self._may_go_on() and (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))

    def _wait_for_acknowledgements(self) -> None:
        give_up = time.monotonic() + ACKNOWLEDGE_TIMEOUT_S
        for topic, publisher in self._publishers_by_topic.items():
            left_s = max(0.0, give_up - time.monotonic())
            if self._may_go_on() and not publisher.wait_for_all_acked(Duration(seconds=left_s)):
                self.get_logger().warning(f"a subscriber of {topic} has not taken all messages")


def _check_topics(bag: Bag, names: Sequence[str], *, topics: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(topics))
    if unknown:
        raise DataError(
            f"{', '.join(unknown)}: not played from the bag {bag.path}; "
            f"choose from {', '.join(sorted(topics)) or 'nothing: the bag is empty'}"
        )


_LOOP = "play N times; without N until interrupted"
_DELAY = "wait this long before the first message"
_CLOCK = "seconds of wall time between two /clock messages; 0: no /clock"
_SENT = "write when each message was sent: topic, bag time, steady clock, in nanoseconds"
_LINGER = "seconds of bag time that /clock runs on after the last message"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="bag_player",
        description="Play a bag into a ROS graph, with its own spacing in time and /clock.",
        epilog="Example: bag_player drive --rate 2 --wait-for /sensing/cam_front/image/compressed. "
        "Remap topics with --ros-args -r /from:=/to. The last line of the output is JSON with the "
        "number of messages of each topic.",
    )
    default = PlayerOptions()
    add = parser.add_argument
    add("bag", type=Path, help="folder of a rosbag2 (MCAP or SQLite), or one .mcap or .db3 file")
    add("--rate", type=positive, default=default.rate, help="speed; 2 is twice as fast")
    add("--loop", dest="passes", type=int, nargs="?", default=1, const=0, metavar="N", help=_LOOP)
    add("--delay", dest="delay_s", type=not_negative, default=0.0, metavar="SEC", help=_DELAY)
    add("--topics", nargs="+", default=(), metavar="TOPIC", help="play these only")
    add("--wait-for", nargs="+", default=(), metavar="TOPIC", help="start when they are heard")
    add("--min-subscribers", type=int, default=1, metavar="N", help="each of --wait-for")
    add("--wait-timeout", dest="wait_timeout_s", type=positive, default=30.0, metavar="SEC")
    add("--best-effort", nargs="+", default=(), metavar="TOPIC", help="instead of reliable")
    add("--depth", type=int, default=default.depth, help="messages kept for resending")
    clock_s, linger_s = default.clock_period_s, default.linger_s
    add("--clock-period", dest="clock_period_s", type=not_negative, default=clock_s, help=_CLOCK)
    add("--linger", dest="linger_s", type=not_negative, default=linger_s, help=_LINGER)
    add("--sent-log", type=Path, metavar="FILE", help=_SENT)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a bag; return 0, or 2 after an error that the user can mend."""
    raw = list(sys.argv[1:] if arguments is None else arguments)
    return play(raw, make_parser().parse_args(remove_ros_args(["", *raw])[1:]))


def play(
    raw: Sequence[str],
    chosen: argparse.Namespace,
    make: Callable[[Bag, PlayerOptions, threading.Event], BagPlayer] = BagPlayer,
) -> int:
    """Play a bag as the command line says; return 0, or 2 after an error that the user can mend.

    Args:
        raw: the command line, for rclpy.
        chosen: what `make_parser` made of it.
        make: makes the player.
    """
    values = vars(chosen)
    path = values.pop("bag")
    for name in ("topics", "wait_for", "best_effort"):
        values[name] = tuple(values[name])
    options = PlayerOptions(**values)
    rclpy.init(args=raw, signal_handler_options=SignalHandlerOptions.NO)
    player = None
    try:
        with stop_on_signals() as stop, open_bag(path) as bag:
            player = make(bag, options, stop)
            player.play()
    except ImkdError as error:
        sys.stderr.write(f"bag_player: {error}\n")
        return 2
    finally:
        if player is not None:
            counts = dict(player.counts)
            delay_s = round(player.largest_delay_s, 4)
            report({"played": sum(counts.values()), "topics": counts, "largest_delay_s": delay_s})
            player.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
