# SPDX-License-Identifier: Apache-2.0
"""When the player sent what: written by it, read by whoever measures a graph. No ROS in here."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from imkd_core.errors import DataError


class SentMessage(NamedTuple):
    """One message.

    Attributes:
        topic: that it was sent on.
        stamp_ns: its time in the bag.
        sent_ns: on the steady clock (`time.monotonic`), just before it was handed to DDS.
    """

    topic: str
    stamp_ns: int
    sent_ns: int


def write_sent_log(path: Path, messages: Iterable[SentMessage]) -> None:
    """Write a line a message: topic, bag time and steady clock, in nanoseconds."""
    lines = (f"{m.topic} {m.stamp_ns} {m.sent_ns}\n" for m in messages)
    path.write_text("".join(lines), encoding="utf-8")


def read_sent_log(path: Path) -> list[SentMessage]:
    """Read what `write_sent_log` wrote.

    Raises:
        DataError: there is no such file, or it is something else.
    """
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return [SentMessage(topic, int(stamp), int(sent)) for topic, stamp, sent in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read when messages were sent from {path}: {error}") from None
