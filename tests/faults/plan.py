# SPDX-License-Identifier: Apache-2.0
"""What the faulty player plays: a drive, again and again with stamps that run on, and its faults.

Pure, no ROS: the player plays it, and whoever judges a run asks it which frames there should be.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imkd_core.data.bags.recording import Bag, BagMessage, open_bag
from imkd_core.errors import DataError
from tests.faults.injection import Fault, is_picture, is_scan, stamp_of, with_stamp

#: Rate of the cameras of a made-up drive, 1/s.
CAMERA_HZ = 12

#: What no node of ours needs costs its listener nothing: it is not played.
_UNPLAYED = ("/ground_truth/", "/odometry")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One play.

    Attributes:
        seconds: of play; the drive is repeated.
        every: every so-manieth image of each camera is played.
        faults: what goes wrong.
        seed: of chance in the faults.
    """

    seconds: float
    every: int = 1
    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @property
    def period_s(self) -> float:
        """Time between two images of a camera."""
        return self.every / CAMERA_HZ

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read what `write` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            raw: dict[str, Any] = json.loads(path.read_bytes())
            return cls(**{**raw, "faults": tuple(Fault(**fault) for fault in raw["faults"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no plan of a play: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Due:
    """One frame that there should be: one image of each camera.

    Attributes:
        first_ns, last_ns: stamps of its first and of its last image.
    """

    first_ns: int
    last_ns: int

    @property
    def middle_ns(self) -> int:
        """Between both."""
        return (self.first_ns + self.last_ns) // 2


def played_topics(bag: Bag) -> tuple[str, ...]:
    """Return the topics that are played."""
    return tuple(topic for topic in bag.topics if not topic.startswith(_UNPLAYED))


def timeline(bag: Bag, plan: Plan) -> Iterator[BagMessage]:
    """Yield the messages of a play without faults, by rising log time.

    The drive begins again where its cameras' next images are due; log times and stamps run on.
    Latched messages come once.
    """
    once = tuple(bag.messages(played_topics(bag)))
    pass_ns = _pass_ns(once)
    end_ns = bag.start_ns + round(plan.seconds * 1e9)
    last_ns: dict[str, int] = {}
    count: dict[str, int] = {}
    for number in range(1 + (end_ns - bag.start_ns) // pass_ns):
        for message in once:
            log_ns = message.stamp_ns + number * pass_ns
            if log_ns >= end_ns:
                return
            if bag.topics[message.topic].is_latched and number:
                continue
            # scans have another period than images: those that would come too soon are left out
            if is_scan(message) and log_ns - last_ns.get(message.topic, 0) < 40_000_000:
                continue
            last_ns[message.topic] = log_ns
            index = count[message.topic] = count.get(message.topic, -1) + 1
            if index % _step(message, plan):
                continue
            moved = replace(message, stamp_ns=log_ns)
            yield with_stamp(moved, stamp_of(message) + number * pass_ns) if number else moved


def frames_due(path: Path, plan: Plan) -> list[Due]:
    """Return the frames that a play should give, by time: all cameras' images of one turn."""
    with open_bag(path) as bag:
        stamps: dict[str, list[int]] = {}
        for message in timeline(bag, plan):
            if is_picture(message):
                stamps.setdefault(message.topic, []).append(stamp_of(message))
    turns: Sequence[tuple[int, ...]] = list(zip(*stamps.values(), strict=False))
    return [Due(first_ns=min(turn), last_ns=max(turn)) for turn in turns]


def _step(message: BagMessage, plan: Plan) -> int:
    """Return which messages of a topic are played: every so-manieth."""
    if is_scan(message) or "/sensing/" not in message.topic:
        return 1
    return plan.every


def _pass_ns(messages: Sequence[BagMessage]) -> int:
    """Return the time from one pass of the drive to the next."""
    pictures = [message for message in messages if is_picture(message)]
    topics = {message.topic for message in pictures}
    if not topics:
        raise DataError("the bag has no compressed images; make one with live_bag")
    return round(len(pictures) / len(topics) / CAMERA_HZ * 1e9)
