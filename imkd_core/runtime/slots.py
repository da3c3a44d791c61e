# SPDX-License-Identifier: Apache-2.0
"""What the slot synchroniser is set with, gives out, and keeps for each sensor."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from imkd_core.mapping import require
from imkd_core.runtime.rhythm import Rhythm

#: Why a reading was dropped.
DROP_BEHIND = "stamp behind"
DROP_DUPLICATE = "duplicate stamp"
DROP_FUTURE = "stamp in the future"
DROP_LATE = "late"
DROP_ORDER = "out of order"
DROP_OVERFLOW = "queue full"
DROP_RATE = "rate limit"
DROP_RESET = "reset"
DROP_STALE = "stale"
DROP_STAMP = "impossible stamp"
DROP_SUPERSEDED = "superseded"
DROP_TOLERANCE = "outside tolerance"
DROP_UNKNOWN = "unknown sensor"

#: Why a sensor is not in a slot; `DROPPED` and the reason where its readings were dropped.
MISSING_JUMP = "time went back"
MISSING_NEVER = "never seen"
MISSING_SILENT = "silent"
MISSING_LATE = "late"
MISSING_LOST = "lost"
MISSING_NOT_DUE = "not due"
MISSING_TOLERANCE = "outside tolerance"
DROPPED = "dropped: "


@dataclass(frozen=True, kw_only=True)
class SyncSettings:
    """Sensors and limits of a `SlotSynchronizer`; all times in nanoseconds.

    Attributes:
        cameras, radars: names of the sensors.
        tolerance_ns: largest distance of an image, or of a radar's newest scan, from the slot's
            reference stamp. Must cover the rig's stagger (up to one camera period).
        deadline_ns: a slot is given out at the latest this long after its first image arrived.
        dead_after_ns: a sensor of which nothing came for so long is not waited for, nor one that
            is silent for longer than is usual of it; must exceed the longest period of a sensor.
        jump_ns: a stamp or a clock this far behind is a backward jump, not a late message.
        max_future_ns: stamps further ahead of the time of arrival are dropped.
        max_age_ns: stamps further behind the time of arrival are dropped; None: never.
        min_period_ns: smallest distance of two slots' reference stamps; 0: no limit.
        radar_sweeps: scans a radar gives to a slot, newest first.
        queue: readings kept per sensor (radars: besides `radar_sweeps`).

    Raises:
        ConfigError: no sensor, a sensor twice, or a limit that is impossible.
    """

    cameras: tuple[str, ...]
    radars: tuple[str, ...] = ()
    tolerance_ns: int = 120_000_000
    deadline_ns: int = 150_000_000
    dead_after_ns: int = 1_000_000_000
    jump_ns: int = 500_000_000
    max_future_ns: int = 200_000_000
    max_age_ns: int | None = None
    min_period_ns: int = 0
    radar_sweeps: int = 1
    queue: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        names = (*self.cameras, *self.radars)
        require(bool(names), "sync: name at least one camera or radar")
        require(len(set(names)) == len(names), f"sync: a sensor is named twice in {names}")
        for name in ("tolerance_ns", "deadline_ns", "dead_after_ns", "jump_ns"):
            value = getattr(self, name)
            require(value > 0, f"sync.{name} must be positive, got {value}")
        for name in ("max_future_ns", "min_period_ns"):
            value = getattr(self, name)
            require(value >= 0, f"sync.{name} must not be negative, got {value}")
        require(
            self.max_age_ns is None or self.max_age_ns > 0,
            f"sync.max_age_ns must be positive or unset, got {self.max_age_ns}",
        )
        require(
            self.deadline_ns < self.dead_after_ns,
            f"sync.dead_after_ns ({self.dead_after_ns}) must be longer than sync.deadline_ns "
            f"({self.deadline_ns})",
        )
        require(1 <= self.radar_sweeps <= 16, "sync.radar_sweeps must be 1..16")
        require(2 <= self.queue <= 64, "sync.queue must be 2..64")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The readings of one frame.

    Attributes:
        stamp_ns: reference time: the newest image's stamp (no image: the newest scan's).
        readings: camera -> reading; radar -> tuple of readings, newest first.
        missing: sensor -> why it is not in `readings`.
        stamps_ns: sensor -> stamp of its (newest) reading.
        jumps: how often time had gone back when its readings came.
    """

    stamp_ns: int
    readings: Mapping[str, Any]
    missing: Mapping[str, str]
    stamps_ns: Mapping[str, int] = field(default_factory=dict)
    jumps: int = 0

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        for name in ("readings", "missing", "stamps_ns"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


class Refused(NamedTuple):
    """One reading that was refused for its stamp."""

    sensor: str
    stamp_ns: int
    reason: str


class Unmade(NamedTuple):
    """A frame that was due and did not come about: the newest stamp of its images, and why."""

    stamp_ns: int
    reason: str


class Entry:
    """One reading that waits; radar scans stay after use, as older sweeps of later slots.

    Attributes:
        is_used: it stood in a slot, or was dropped.
        is_spent: so it did, and a slot of about its own time is out: it makes none any more. A
            scan that went along with much older images is used, and not spent: if these were the
            last ones, the radars go on with it.
    """

    __slots__ = ("arrival_ns", "is_spent", "is_used", "reading", "stamp_ns")

    def __init__(self, stamp_ns: int, arrival_ns: int, reading: Any) -> None:
        self.stamp_ns = stamp_ns
        self.arrival_ns = arrival_ns
        self.reading = reading
        self.is_used = self.is_spent = False


class Channel:
    """The queue of one sensor, and what was learned about its rate.

    Args:
        name: of the sensor.
        capacity: entries kept.
        max_interval_ns: a longer time between two readings is an outage, not a period.
    """

    __slots__ = (
        "capacity",
        "entries",
        "in_last_slot",
        "last_arrival_ns",
        "last_drop",
        "last_heard_ns",
        "name",
        "newest_ns",
        "rhythm",
    )

    def __init__(self, name: str, capacity: int, max_interval_ns: int) -> None:
        self.name = name
        self.capacity = capacity
        self.entries: deque[Entry] = deque()
        self.newest_ns = 0
        self.last_arrival_ns = 0
        self.last_heard_ns = 0  # as `last_arrival_ns`, on the clock of the time listened
        self.in_last_slot = True
        self.last_drop: str | None = None
        self.rhythm = Rhythm(max_interval_ns)

    @property
    def period_ns(self) -> int:
        """Median of the last intervals of stamps; 0 while unknown."""
        return self.rhythm.period_ns

    @property
    def has_next(self) -> bool:
        """Whether a second reading waits."""
        return len(self.entries) > 1

    @property
    def next_stamp_ns(self) -> int | None:
        """Stamp of the second reading; foreseen from the period while it has not come."""
        if len(self.entries) > 1:
            return self.entries[1].stamp_ns
        return self.entries[0].stamp_ns + self.period_ns if self.period_ns else None

    def note_arrival(self, stamp_ns: int, now_ns: int, heard_ns: int) -> None:
        """Learn from a reading that is in order; `heard_ns` is the time listened so far."""
        self.rhythm.add(stamp_ns, heard_ns)
        self.newest_ns = stamp_ns
        self.last_arrival_ns = now_ns
        self.last_heard_ns = heard_ns

    def add(self, entry: Entry, heard_ns: int) -> None:
        """Append a reading that is in order."""
        self.note_arrival(entry.stamp_ns, entry.arrival_ns, heard_ns)
        self.entries.append(entry)

    def await_again(self, now_ns: int, heard_ns: int) -> None:
        """Wait for the next reading as if one had come then."""
        self.last_arrival_ns, self.last_heard_ns = now_ns, heard_ns

    def withdraw(self, until_ns: int) -> list[Entry]:
        """Take out and return the unused readings with stamps up to a time, oldest first."""
        taken = [e for e in self.entries if not e.is_used and e.stamp_ns <= until_ns]
        self.entries = deque(e for e in self.entries if e.is_used or e.stamp_ns > until_ns)
        return taken

    def restart(self, stamp_ns: int) -> list[Entry]:
        """Forget that readings of later stamps came; return those of them that were not used."""
        later = [e for e in self.entries if e.stamp_ns >= stamp_ns]
        self.entries = deque(e for e in self.entries if e.stamp_ns < stamp_ns)
        self.newest_ns = stamp_ns - 1
        return [entry for entry in later if not entry.is_used]

    def oldest_unspent(self) -> Entry | None:
        """Return the oldest reading that can still make a slot."""
        for entry in self.entries:
            if not entry.is_spent:
                return entry
        return None

    def scans_near(self, reference_ns: int, settings: SyncSettings) -> list[Entry]:
        """Return a radar's scans for a slot, newest first; none if the newest is too far away."""
        newest_ns = reference_ns + settings.tolerance_ns
        scans = [entry for entry in reversed(self.entries) if entry.stamp_ns <= newest_ns]
        if not scans or scans[0].stamp_ns < reference_ns - settings.tolerance_ns:
            return []
        oldest_ns = reference_ns - settings.dead_after_ns
        return [e for e in scans[: settings.radar_sweeps] if e.stamp_ns >= oldest_ns] or scans[:1]

    def mark_used(self, entries: Sequence[Entry], until_ns: int) -> int:
        """Mark entries as used, and those with stamps up to a time as spent.

        Returns:
            How many were not used before.
        """
        fresh = sum(not entry.is_used for entry in entries)
        for entry in entries:
            entry.is_used = True
            entry.is_spent |= entry.stamp_ns <= until_ns
        return fresh


def split_of(pending: Sequence[Channel], tolerance_ns: int) -> tuple[int, bool]:
    """Return how many of the oldest heads belong to an earlier frame than the rest.

    Heads further apart than the tolerance are split at their widest gap. Otherwise, taking the
    next images of the `count` oldest cameras instead must make the set tighter by nearly the
    shortest frame period, which only a lost message explains: less is jitter or stagger, and
    splitting there would cost frames.

    Args:
        pending: channels with at least one entry, ordered by the stamp of the first.
        tolerance_ns: largest distance from the newest.

    Returns:
        (count, whether the tolerance forces it); count 0: they belong together.
    """
    heads_ns = [channel.entries[0].stamp_ns for channel in pending]
    newest_ns = heads_ns[-1]
    spread_ns = newest_ns - heads_ns[0]
    if spread_ns > tolerance_ns:
        return max(range(1, len(heads_ns)), key=lambda m: heads_ns[m] - heads_ns[m - 1]), True
    count, best_ns = 0, min((c.period_ns for c in pending if c.period_ns), default=0) * 7 // 8
    for m in range(1, len(pending)):
        next_ns = pending[m - 1].next_stamp_ns
        if next_ns is None:
            break
        newest_ns = max(newest_ns, next_ns)
        gain_ns = spread_ns - (newest_ns - heads_ns[m])
        if gain_ns > best_ns:
            count, best_ns = m, gain_ns
    return count, False


def surplus(pending: Sequence[Channel]) -> Iterator[Channel]:
    """Yield cameras much faster than the usual one while they can skip to the common time.

    The oldest entry of what is yielded has to be taken away before the next is asked for.

    Args:
        pending: channels with at least one entry.
    """
    usual_ns = sorted(c.period_ns for c in pending)[(len(pending) - 1) // 2]
    common_ns = max(c.entries[0].stamp_ns for c in pending)
    for channel in pending:
        while (
            4 * channel.period_ns < 3 * usual_ns
            and channel.has_next
            and abs(channel.entries[1].stamp_ns - common_ns)
            <= abs(channel.entries[0].stamp_ns - common_ns)
        ):
            yield channel


def longest_rest_ns(
    channels: Iterable[Channel], now_ns: int, heard_ns: int, dead_after_ns: int
) -> int:
    """Return how long the next reading of any channel may still take; negative: none is awaited.

    Args:
        channels: to look at.
        now_ns: time now.
        heard_ns: time listened until now.
        dead_after_ns: silence after which a channel is not awaited in any case.
    """
    longest_ns = -1
    for channel in channels:
        rest_ns = channel.last_heard_ns + channel.rhythm.patience_ns - heard_ns
        if rest_ns > longest_ns and now_ns - channel.last_arrival_ns <= dead_after_ns:
            longest_ns = rest_ns
    return longest_ns


def missing_reason(channel: Channel, now_ns: int, *, is_camera: bool, is_silent: bool) -> str:
    """Return why a sensor is not in the slot that is given out.

    Args:
        channel: its queue.
        now_ns: time now.
        is_camera: whether it is a camera.
        is_silent: whether it is silent for longer than is usual of it.
    """
    is_due = now_ns >= channel.last_arrival_ns + channel.period_ns
    was_dropped = channel.last_drop is not None
    rules = (
        (was_dropped and channel.last_drop != DROP_LATE, f"{DROPPED}{channel.last_drop}"),
        (channel.newest_ns == 0, f"{DROPPED}{DROP_LATE}" if was_dropped else MISSING_NEVER),
        (is_camera and bool(channel.entries), MISSING_LOST),
        (is_silent, MISSING_SILENT),
        (bool(channel.entries), MISSING_TOLERANCE),
        (is_due or was_dropped, MISSING_LATE),
    )
    return next((reason for holds, reason in rules if holds), MISSING_NOT_DUE)
