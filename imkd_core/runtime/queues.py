# SPDX-License-Identifier: Apache-2.0
"""The queues of all sensors: what waits, who is silent, and what was dropped why."""

from collections import Counter, deque
from collections.abc import Iterable

from imkd_core.runtime.slots import (
    DROP_FUTURE,
    DROP_STALE,
    DROP_STAMP,
    Channel,
    Entry,
    Refused,
    SyncSettings,
    longest_rest_ns,
)
from imkd_core.types import MAX_STAMP_NS

#: A longer time between two calls counts as so much silence and no more.
_LISTEN_NS = 30_000_000

#: Refused readings kept until they are taken; the oldest are forgotten.
_MOST = 256


class SensorQueues:
    """Readings by sensor, on a clock that only goes forward.

    Args:
        settings: sensors and limits.

    Attributes:
        cameras, radars: queues in the order of the settings.
        by_name: name -> queue of either.
        dropped: readings by reason.
        refused: readings that were refused for their stamps.
        now_ns: the latest time that was told; 0 before the first.
        heard_ns: time listened until then.
    """

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self.dropped: Counter[str] = Counter()
        self.refused: deque[Refused] = deque(maxlen=_MOST)
        self.clear()

    def clear(self) -> None:
        """Forget readings, and when sensors were seen; counters stay."""
        settings = self._settings
        self._has_begun = False
        self.now_ns = self.heard_ns = 0
        held, limit_ns = settings.queue, settings.dead_after_ns
        self.cameras = [Channel(name, held, limit_ns) for name in settings.cameras]
        held += settings.radar_sweeps
        self.radars = [Channel(name, held, limit_ns) for name in settings.radars]
        self.by_name = {c.name: c for c in (*self.cameras, *self.radars)}

    @property
    def pending(self) -> int:
        """Readings held that stood in no slot yet."""
        return sum(not entry.is_used for c in self.by_name.values() for entry in c.entries)

    @property
    def usual_period_ns(self) -> int:
        """Median of the cameras' periods; the tolerance while none is known."""
        periods_ns = sorted(c.period_ns for c in self.cameras if c.period_ns)
        return periods_ns[len(periods_ns) // 2] if periods_ns else self._settings.tolerance_ns

    def advance(self, now_ns: int) -> None:
        """Let time go on; a time that has passed already changes nothing."""
        if not self._has_begun:
            self._has_begun, self.now_ns = True, now_ns
            self.await_all()
        now_ns = max(now_ns, self.now_ns)
        self.heard_ns += min(now_ns - self.now_ns, _LISTEN_NS)
        self.now_ns = now_ns

    def await_all(self) -> None:
        """Wait for all sensors as if each had just sent."""
        for channel in self.by_name.values():
            channel.await_again(self.now_ns, self.heard_ns)

    def end_pause(self) -> None:
        """Wait for all sensors again after a time in which none came, as at the start."""
        if not any(map(self.is_alive, self.by_name.values())):
            self.await_all()

    def add(self, channel: Channel, entry: Entry) -> None:
        """Queue a reading that is in order; the queue may be too long then."""
        if channel in self.cameras and self.rest_ns(self.cameras) < 0:
            # the first camera is back after all were silent: the others are due now, too
            for c in self.cameras:
                c.await_again(self.now_ns - c.period_ns, self.heard_ns - c.period_ns)
        channel.add(entry, self.heard_ns)

    def drop(self, channel: Channel, reason: str) -> None:
        """Count a reading that was dropped."""
        self.dropped[reason] += 1
        channel.last_drop = reason

    def refuse(self, channel: Channel, stamp_ns: int, reason: str) -> None:
        """Count a reading that was dropped for its stamp, and keep which it was."""
        self.drop(channel, reason)
        self.refused.append(Refused(channel.name, stamp_ns, reason))

    def discard_oldest(self, channel: Channel, reason: str) -> None:
        """Take the oldest reading out of a queue; it counts as dropped unless it was used."""
        if not channel.entries.popleft().is_used:
            self.drop(channel, reason)

    def refuse_group(self, group: Iterable[tuple[Channel, Entry]], reason: str) -> None:
        """Drop the readings that were to make a slot, with the older scans of radars."""
        for channel, _entry in group:
            if channel in self.radars:
                self.dropped[reason] += channel.mark_used(channel.entries, channel.newest_ns)
            else:
                self.discard_oldest(channel, reason)

    def is_alive(self, channel: Channel) -> bool:
        """Whether a sensor sent, or was awaited anew, so lately that it is not dead."""
        return self.now_ns - channel.last_arrival_ns <= self._settings.dead_after_ns

    def names_alive(self) -> list[str]:
        """Return the sensors that have sent and are not dead."""
        return [c.name for c in self.by_name.values() if c.newest_ns and self.is_alive(c)]

    def rest_ns(self, channels: Iterable[Channel]) -> int:
        """Return how long readings of any of the channels are awaited; negative: of none."""
        return longest_rest_ns(channels, self.now_ns, self.heard_ns, self._settings.dead_after_ns)

    def is_silent(self, channel: Channel) -> bool:
        """Whether no reading of a sensor is awaited."""
        return self.rest_ns((channel,)) < 0

    def drivers(self) -> list[Channel]:
        """Return the channels that make slots: the cameras, or the radars if no camera sends."""
        for channel in self.cameras:
            if channel.entries:
                return self.cameras
        return self.cameras if self.rest_ns(self.cameras) >= 0 else self.radars

    def due_ns(self, drivers: list[Channel]) -> int | None:
        """Return when the slot of the oldest reading has to go out; None: nothing waits."""
        arrivals_ns = [e.arrival_ns for c in drivers if (e := c.oldest_unspent()) is not None]
        return min(arrivals_ns) + self._settings.deadline_ns if arrivals_ns else None

    @property
    def next_look_ns(self) -> int | None:
        """When a slot may be due without another reading; None: never."""
        drivers = self.drivers()
        due_ns = self.due_ns(drivers)
        if due_ns is None and all(e.is_spent for c in self.radars for e in c.entries):
            return None
        lacking = [c for c in (*drivers, *self.radars) if c.oldest_unspent() is None]
        rests_ns = (self.rest_ns((c,)) for c in (self.cameras if due_ns is None else lacking))
        ends_ns = [self.now_ns + rest_ns for rest_ns in rests_ns if rest_ns >= 0]
        if not ends_ns or (due_ns is not None and min(ends_ns) >= due_ns):
            return due_ns
        return min(*ends_ns, self.now_ns + _LISTEN_NS) + 1

    def is_waiting(self, drivers: list[Channel], due_ns: int) -> bool:
        """Return whether a driver without a reading can still be expected to give one in time."""
        return any(
            c.oldest_unspent() is None
            and not self.is_silent(c)
            and c.last_arrival_ns + c.period_ns <= due_ns
            for c in drivers
        )

    def clock_reason(self, stamp_ns: int) -> str | None:
        """Return why a stamp cannot be one of now; None where it can."""
        now_ns, max_age_ns = self.now_ns, self._settings.max_age_ns
        if not 0 < stamp_ns < MAX_STAMP_NS:
            return DROP_STAMP
        if stamp_ns > now_ns + self._settings.max_future_ns:
            return DROP_FUTURE
        if max_age_ns is not None and stamp_ns < now_ns - max_age_ns:
            return DROP_STALE
        return None
