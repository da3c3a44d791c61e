# SPDX-License-Identifier: Apache-2.0
"""Group the readings of free-running cameras and radars into slots, one slot a frame.

A slot takes one image of every camera that is alive, and of every radar the newest scans near the
slot's reference time. It is given out as soon as it is complete, and at its deadline at the
latest. Images wait in a short queue per camera and are taken in order; where taking later images
of some cameras makes the slot tighter by more than half a frame period, a message was lost on the
way and the slot is split there. All time comes in as arguments: the same sequence of calls gives
the same slots. One message costs O(N) steps of N sensors.

A sensor that is silent for longer than is usual of it (`rhythm`) is not waited for, and once all
cameras are, the radars make the slots. Only time in which somebody listened counts as silence:
where nothing was called for a while, messages wait outside, and which comes first means nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from imkd_core.runtime.slots import (
    DROP_DUPLICATE,
    DROP_FUTURE,
    DROP_LATE,
    DROP_ORDER,
    DROP_OVERFLOW,
    DROP_RATE,
    DROP_RESET,
    DROP_STALE,
    DROP_STAMP,
    DROP_SUPERSEDED,
    DROP_TOLERANCE,
    DROP_UNKNOWN,
    MISSING_LATE,
    MISSING_LOST,
    MISSING_NEVER,
    MISSING_NOT_DUE,
    MISSING_SILENT,
    MISSING_TOLERANCE,
    Channel,
    Entry,
    Slot,
    SyncSettings,
    longest_rest_ns,
    split_of,
    surplus,
)
from imkd_core.types import MAX_STAMP_NS

#: A longer time between two calls counts as so much silence and no more.
_LISTEN_NS = 30_000_000


class SlotSynchronizer:
    """Turns single readings into slots; see the module's text for the rule.

    Args:
        settings: sensors, tolerance, deadline and bounds.
    """

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self._dropped: Counter[str] = Counter()
        self._pushed = self._used = self._jumps = 0
        self._clear()

    @property
    def settings(self) -> SyncSettings:
        """The settings it was built with."""
        return self._settings

    @property
    def counters(self) -> Mapping[str, int]:
        """Dropped readings by reason; with `used` and `pending` they sum to `pushed`."""
        return MappingProxyType(dict(self._dropped))

    @property
    def pushed(self) -> int:
        """Readings offered so far."""
        return self._pushed

    @property
    def used(self) -> int:
        """Readings that stood in at least one slot."""
        return self._used

    @property
    def pending(self) -> int:
        """Readings held that stood in no slot yet."""
        return sum(not entry.is_used for c in self._channels.values() for entry in c.entries)

    @property
    def jumps(self) -> int:
        """Backward jumps of time; each cleared all queues."""
        return self._jumps

    @property
    def next_deadline_ns(self) -> int | None:
        """When `poll` is due if nothing arrives, on the clock of `now_ns`; None: never."""
        drivers = self._drivers()
        due_ns = self._due_ns(drivers)
        if due_ns is None and all(e.is_used for c in self._radars for e in c.entries):
            return None
        awaited = self._cameras if due_ns is None else (*drivers, *self._radars)
        rest_ns = self._rest_ns(awaited)
        if rest_ns < 0 or (due_ns is not None and due_ns <= self._now_ns + rest_ns):
            return due_ns
        return self._now_ns + 1 + min(rest_ns, _LISTEN_NS)

    def reset(self) -> None:
        """Forget all readings and when sensors were seen; counters stay."""
        self._dropped[DROP_RESET] += self.pending
        self._dropped += Counter()
        self._clear()

    def push(self, sensor: str, stamp_ns: int, reading: Any, now_ns: int) -> list[Slot]:
        """Offer one reading and return the slots that are finished by now, oldest first.

        Args:
            sensor: a name of the settings; others are counted as unknown.
            stamp_ns: time of measurement.
            reading: handed back in `Slot.readings`; never looked at.
            now_ns: time of arrival, on the clock that `poll` uses.
        """
        self._pushed += 1
        self._advance_clock(now_ns)
        slots = self._finished()
        self._end_pause()
        channel = self._channels.get(sensor)
        reason = DROP_UNKNOWN if channel is None else self._refusal(channel, stamp_ns)
        if channel is None or reason is not None:
            self._drop(channel, reason or DROP_UNKNOWN)
            return slots
        channel = self._channels[sensor]  # a backward jump has made new ones
        if channel in self._cameras and self._rest_ns(self._cameras) < 0:
            self._await_cameras()
        channel.add(Entry(stamp_ns, self._now_ns, reading), self._heard_ns)
        if len(channel.entries) > channel.capacity:
            self._discard_oldest(channel, DROP_OVERFLOW)
        return slots + self._finished()

    def poll(self, now_ns: int) -> list[Slot]:
        """Return the slots whose deadline has passed by now, oldest first."""
        self._advance_clock(now_ns)
        return self._finished()

    def _clear(self) -> None:
        settings = self._settings
        self._start_ns: int | None = None
        self._now_ns = self._heard_ns = 0
        self._last_reference_ns = 0
        held, limit_ns = settings.queue, settings.dead_after_ns
        self._cameras = [Channel(name, held, limit_ns) for name in settings.cameras]
        held += settings.radar_sweeps
        self._radars = [Channel(name, held, limit_ns) for name in settings.radars]
        self._channels = {c.name: c for c in (*self._cameras, *self._radars)}

    def _advance_clock(self, now_ns: int) -> None:
        if now_ns < self._now_ns - self._settings.jump_ns:
            self._jumps += 1
            self.reset()
        if self._start_ns is None:
            self._start_ns = self._now_ns = now_ns
            self._await_all()
        now_ns = max(now_ns, self._now_ns)
        self._heard_ns += min(now_ns - self._now_ns, _LISTEN_NS)
        self._now_ns = now_ns

    def _end_pause(self) -> None:
        """Wait for all sensors again after a time in which none came, as at the start."""
        if not any(map(self._is_alive, self._channels.values())):
            self._await_all()

    def _await_cameras(self) -> None:
        """The first camera is back after all were silent: the others are due now, too."""
        for c in self._cameras:
            c.await_again(self._now_ns - c.period_ns, self._heard_ns - c.period_ns)

    def _await_all(self) -> None:
        for channel in self._channels.values():
            channel.await_again(self._now_ns, self._heard_ns)

    def _refusal(self, channel: Channel, stamp_ns: int) -> str | None:
        """Return why a reading is not taken; a stamp far in the past means time has jumped."""
        if reason := self._clock_reason(stamp_ns):
            return reason
        if stamp_ns < channel.newest_ns - self._settings.jump_ns:
            now_ns = self._now_ns
            self._jumps += 1
            self.reset()
            self._advance_clock(now_ns)
            return None
        if stamp_ns <= channel.newest_ns:
            return DROP_DUPLICATE if stamp_ns == channel.newest_ns else DROP_ORDER
        was_missing = channel in self._cameras and not channel.in_last_slot
        if was_missing and stamp_ns <= self._last_reference_ns:
            channel.note_arrival(stamp_ns, self._now_ns, self._heard_ns)
            return DROP_LATE
        return None

    def _clock_reason(self, stamp_ns: int) -> str | None:
        max_age_ns = self._settings.max_age_ns
        if not 0 < stamp_ns < MAX_STAMP_NS:
            return DROP_STAMP
        if stamp_ns > self._now_ns + self._settings.max_future_ns:
            return DROP_FUTURE
        if max_age_ns is not None and stamp_ns < self._now_ns - max_age_ns:
            return DROP_STALE
        return None

    def _drop(self, channel: Channel | None, reason: str) -> None:
        self._dropped[reason] += 1
        if channel is not None:
            channel.last_drop = reason

    def _discard_oldest(self, channel: Channel, reason: str) -> None:
        if not channel.entries.popleft().is_used:
            self._drop(channel, reason)

    def _is_alive(self, channel: Channel) -> bool:
        return self._now_ns - channel.last_arrival_ns <= self._settings.dead_after_ns

    def _rest_ns(self, channels: Iterable[Channel]) -> int:
        """Return how long readings of any of the channels are awaited; negative: of none."""
        return longest_rest_ns(channels, self._now_ns, self._heard_ns, self._settings.dead_after_ns)

    def _is_silent(self, channel: Channel) -> bool:
        return self._rest_ns((channel,)) < 0

    def _drivers(self) -> list[Channel]:
        """Return the channels that make slots: the cameras, or the radars if no camera sends."""
        for channel in self._cameras:
            if channel.entries:
                return self._cameras
        return self._cameras if self._rest_ns(self._cameras) >= 0 else self._radars

    def _due_ns(self, drivers: list[Channel]) -> int | None:
        arrivals_ns = [e.arrival_ns for c in drivers if (e := c.oldest_unused()) is not None]
        return min(arrivals_ns) + self._settings.deadline_ns if arrivals_ns else None

    def _finished(self) -> list[Slot]:
        slots = []
        while (group := self._next_group()) is not None:
            slot = self._emit(group)
            if slot is not None:
                slots.append(slot)
        return slots

    def _next_group(self) -> list[tuple[Channel, Entry]] | None:
        """Return the driving readings of the next slot, or None while it has to wait."""
        drivers = self._drivers()
        due_ns = self._due_ns(drivers)
        if due_ns is None:
            return None
        is_due = self._now_ns >= due_ns
        if not is_due and self._is_waiting(drivers, due_ns):
            return None
        if drivers is self._radars:
            return [(c, c.entries[-1]) for c in drivers if c.oldest_unused() is not None]
        group = self._camera_group(is_due)
        if group is None or is_due:
            return group
        reference_ns = max(entry.stamp_ns for _, entry in group)
        near = [c for c in self._radars if c.scans_near(reference_ns, self._settings)]
        return group if all(c in near or self._is_silent(c) for c in self._radars) else None

    def _is_waiting(self, drivers: list[Channel], due_ns: int) -> bool:
        """Return whether a driver without a reading can still be expected to give one in time."""
        return any(
            c.oldest_unused() is None
            and not self._is_silent(c)
            and c.last_arrival_ns + c.period_ns <= due_ns
            for c in drivers
        )

    def _camera_group(self, is_due: bool) -> list[tuple[Channel, Entry]] | None:
        """Choose one image a camera; drop what is too old; None when it pays to wait."""
        pending = [c for c in self._cameras if c.entries]
        for channel in surplus(pending):
            self._discard_oldest(channel, DROP_SUPERSEDED)
        pending.sort(key=lambda c: c.entries[0].stamp_ns)
        count, is_forced = split_of(pending, self._settings.tolerance_ns)
        older = pending[:count]
        if 0 < sum(map(self._is_alive, self._cameras)) <= 2 * count:
            return [(c, c.entries[0]) for c in older]
        has_next = all(c.has_next for c in older)
        if not older or (is_due and not is_forced and not has_next):
            return [(c, c.entries[0]) for c in pending]
        if not is_forced and not has_next:
            return None
        for channel in older:
            self._discard_oldest(channel, DROP_SUPERSEDED if channel.has_next else DROP_TOLERANCE)
        return self._next_group()  # what is left may have to wait again

    def _emit(self, group: list[tuple[Channel, Entry]]) -> Slot | None:
        reference_ns = max(entry.stamp_ns for _, entry in group)
        since_ns = reference_ns - self._last_reference_ns
        if since_ns <= 0 or since_ns < self._settings.min_period_ns:
            of_radars = group[0][0] in self._radars  # scans from before the last image
            too_old = DROP_SUPERSEDED if of_radars else DROP_LATE
            self._refuse_group(group, too_old if since_ns <= 0 else DROP_RATE)
            return None
        readings: dict[str, Any] = {}
        stamps_ns: dict[str, int] = {}
        for channel, entry in group:
            if channel not in self._radars:
                readings[channel.name], stamps_ns[channel.name] = entry.reading, entry.stamp_ns
                self._used += 1
                channel.entries.popleft()
        for channel in self._radars:
            if scans := channel.scans_near(reference_ns, self._settings):
                readings[channel.name] = tuple(scan.reading for scan in scans)
                stamps_ns[channel.name] = scans[0].stamp_ns
                self._used += channel.mark_used(scans)
                while channel.entries[0] is not scans[-1]:
                    self._discard_oldest(channel, DROP_SUPERSEDED)
        self._last_reference_ns = reference_ns
        return self._close(reference_ns, readings, stamps_ns)

    def _refuse_group(self, group: list[tuple[Channel, Entry]], reason: str) -> None:
        for channel, entry in group:
            if channel in self._radars:
                unused = [e for e in channel.entries if not e.is_used and e is not entry]
                channel.mark_used([*unused, entry])
                self._dropped[reason] += len(unused) + 1
            else:
                self._discard_oldest(channel, reason)

    def _close(self, stamp_ns: int, readings: dict[str, Any], stamps_ns: dict[str, int]) -> Slot:
        missing = {}
        for name, channel in self._channels.items():
            channel.in_last_slot = name in readings
            if not channel.in_last_slot:
                missing[name] = self._missing_reason(channel)
            channel.last_drop = None
        return Slot(stamp_ns=stamp_ns, readings=readings, stamps_ns=stamps_ns, missing=missing)

    def _missing_reason(self, channel: Channel) -> str:
        if channel.newest_ns == 0:
            return f"dropped: {channel.last_drop}" if channel.last_drop else MISSING_NEVER
        if channel.last_drop is not None and channel.last_drop != DROP_LATE:
            return f"dropped: {channel.last_drop}"
        if channel.entries and channel in self._cameras:
            return MISSING_LOST
        if self._is_silent(channel):
            return MISSING_SILENT
        if channel.entries:
            return MISSING_TOLERANCE
        is_due = self._now_ns >= channel.last_arrival_ns + channel.period_ns
        return MISSING_LATE if is_due or channel.last_drop else MISSING_NOT_DUE
