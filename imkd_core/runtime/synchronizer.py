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

Where time goes back (a clock, or the stamps of most sensors: `jumps`), what waits is given out and
all else is forgotten. A sensor whose stamps go back alone is left out until they fit again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from imkd_core.runtime.jumps import Held, JumpVote
from imkd_core.runtime.queues import SensorQueues
from imkd_core.runtime.slots import (
    DROP_BEHIND,
    DROP_DUPLICATE,
    DROP_FUTURE,
    DROP_LATE,
    DROP_ORDER,
    DROP_OVERFLOW,
    DROP_RATE,
    DROP_RESET,
    DROP_SUPERSEDED,
    DROP_TOLERANCE,
    DROP_UNKNOWN,
    MISSING_JUMP,
    Channel,
    Entry,
    Refused,
    Slot,
    SyncSettings,
    Unmade,
    missing_reason,
    split_of,
    surplus,
)
from imkd_core.runtime.unmade import UnmadeFrames
from imkd_core.types import MAX_STAMP_NS


class SlotSynchronizer:
    """Turns single readings into slots; see the module's text for the rule.

    Args:
        settings: sensors, tolerance, deadline and bounds.
    """

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self._behind_ns = max(settings.jump_ns, settings.tolerance_ns)
        self._queues = SensorQueues(settings)
        self._vote = JumpVote(settings.queue, settings.dead_after_ns)
        self._unmade = UnmadeFrames()
        self._pushed = self._used = self._jumps = 0
        self._last_reference_ns = 0
        self._ended = ""

    @property
    def settings(self) -> SyncSettings:
        """The settings it was built with."""
        return self._settings

    @property
    def counters(self) -> Mapping[str, int]:
        """Dropped readings by reason; with `used` and `pending` they sum to `pushed`."""
        return MappingProxyType(dict(self._queues.dropped))

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
        return self._queues.pending + len(self._vote)

    @property
    def jumps(self) -> int:
        """Backward jumps of time; with each all was given out that waited, and all forgotten."""
        return self._jumps

    @property
    def next_deadline_ns(self) -> int | None:
        """When `poll` is due if nothing arrives, on the clock of `now_ns`; None: never."""
        return self._queues.next_look_ns

    @property
    def due_ns(self) -> int | None:
        """When the slot that waits goes out with what is there; None while none waits."""
        return self._queues.due_ns(self._queues.drivers())

    def reset(self) -> None:
        """Forget all readings and when sensors were seen; counters stay."""
        waiting = (entry.stamp_ns for c in self._queues.cameras for entry in c.entries)
        for stamp_ns in sorted(waiting):
            self._note_unmade(stamp_ns, DROP_RESET)
        self._forget()

    def take_refused(self) -> list[Refused]:
        """Return the readings since the last call that were refused for their stamps."""
        refused = list(self._queues.refused)
        self._queues.refused.clear()
        return refused

    def take_unmade(self) -> list[Unmade]:
        """Return the frames since the last call that were due and did not come about."""
        return self._unmade.take()

    def push(self, sensor: str, stamp_ns: int, reading: Any, now_ns: int) -> list[Slot]:
        """Offer one reading and return the slots that are finished by now, oldest first.

        Args:
            sensor: a name of the settings; others are counted as unknown.
            stamp_ns: time of measurement.
            reading: handed back in `Slot.readings`; never looked at.
            now_ns: time of arrival, on the clock that `poll` uses.
        """
        self._pushed += 1
        slots = self.poll(now_ns)
        if not self._vote.is_fresh(self._queues.now_ns):
            self._queues.end_pause()
        channel = self._queues.by_name.get(sensor)
        if channel is None:
            self._queues.dropped[DROP_UNKNOWN] += 1
            return slots
        reason = self._queues.clock_reason(stamp_ns)
        if reason is not None:
            self._queues.refuse(channel, stamp_ns, reason)
            return slots
        entry = Entry(stamp_ns, self._queues.now_ns, reading)
        if self._is_behind(channel, stamp_ns):
            slots += self._doubt(channel, entry)
        else:
            self._vote.trust(sensor)
            self._take(channel, entry)
            self._end_doubt()
        return slots + self._finished()

    def poll(self, now_ns: int) -> list[Slot]:
        """Return the slots whose deadline has passed by now, oldest first."""
        slots = []
        if now_ns < self._queues.now_ns - self._settings.jump_ns:
            slots = self._start_afresh(now_ns)
        self._queues.advance(now_ns)
        return slots + self._finished()

    def flush(self, why: str) -> list[Slot]:
        """Return the slots of all that waits for others, which will not come any more.

        Args:
            why: told of sensors that were awaited.
        """
        slots: list[Slot] = []
        self._ended = why
        while (due_ns := self._queues.due_ns(self._queues.drivers())) is not None:
            self._queues.advance(due_ns)
            slots += self._finished()
        self._ended = ""
        return slots

    def _forget(self) -> None:
        self._queues.dropped[DROP_RESET] += self.pending
        self._queues.dropped += Counter()
        self._vote.take()
        self._unmade.begin_anew()
        self._queues.clear()
        self._last_reference_ns = 0

    def _start_afresh(self, now_ns: int) -> list[Slot]:
        """Time went back: give out what waits, forget all, and begin with what is of the new."""
        held = self._vote.take()
        if now_ns < self._queues.now_ns:  # there may be readings that came before their clock
            until_ns = now_ns + self._settings.max_future_ns
            channels = self._queues.by_name.values()
            held = [Held(c.name, e) for c in channels for e in c.withdraw(until_ns)] + held
        slots = self.flush(MISSING_JUMP)
        self._jumps += 1
        self._forget()
        self._queues.advance(now_ns)
        for name, entry in sorted(held, key=lambda one: one.entry.stamp_ns):
            taken = Entry(entry.stamp_ns, now_ns, entry.reading)
            self._take(self._queues.by_name[name], taken)
        return slots

    def _is_behind(self, channel: Channel, stamp_ns: int) -> bool:
        """Whether a stamp is so old that time went back, or the sensor's clock is wrong."""
        newest_ns = self._last_reference_ns or channel.newest_ns
        return stamp_ns < newest_ns - self._behind_ns

    def _doubt(self, channel: Channel, entry: Entry) -> list[Slot]:
        """Hold a reading that is behind until it is known why; return what time's jump gives."""
        self._refuse(self._vote.doubt(channel.name, entry))
        if self._vote.has_jumped(self._queues.names_alive()):
            return self._start_afresh(self._queues.now_ns)
        self._end_doubt()
        return []

    def _end_doubt(self) -> None:
        """Drop what is held where the other sensors go on."""
        queues = self._queues
        if self._vote and self._vote.is_refuted(queues.names_alive(), queues.now_ns):
            self._refuse(self._vote.take())

    def _refuse(self, held: Iterable[Held]) -> None:
        for name, entry in held:
            self._queues.refuse(self._queues.by_name[name], entry.stamp_ns, DROP_BEHIND)

    def _take(self, channel: Channel, entry: Entry) -> None:
        """Queue a reading, unless it is out of order or too late for its slot."""
        queues, stamp_ns = self._queues, entry.stamp_ns
        if stamp_ns < channel.newest_ns - self._behind_ns:
            for ahead in channel.restart(stamp_ns):
                queues.refuse(channel, ahead.stamp_ns, DROP_FUTURE)
        if stamp_ns <= channel.newest_ns:
            is_same = stamp_ns == channel.newest_ns
            queues.refuse(channel, stamp_ns, DROP_DUPLICATE if is_same else DROP_ORDER)
            return
        was_missing = channel in queues.cameras and not channel.in_last_slot
        if was_missing and stamp_ns <= self._last_reference_ns:
            channel.note_arrival(stamp_ns, queues.now_ns, queues.heard_ns)
            queues.refuse(channel, stamp_ns, DROP_LATE)
            return
        queues.add(channel, entry)
        if len(channel.entries) > channel.capacity:
            oldest = channel.entries[0]
            queues.discard_oldest(channel, DROP_OVERFLOW)
            if channel in queues.cameras:
                self._note_unmade(oldest.stamp_ns, DROP_OVERFLOW)

    def _note_unmade(self, stamp_ns: int, reason: str) -> None:
        """Images were dropped that stood in no slot: a frame, unless others make it."""
        if stamp_ns <= self._last_reference_ns:
            return
        heads = (c.entries[0].stamp_ns for c in self._queues.cameras if c.entries)
        others_ns = (self._last_reference_ns, *(() if reason == DROP_RESET else heads))
        period_ns = self._queues.usual_period_ns
        self._unmade.note(stamp_ns, reason, period_ns=period_ns, others_ns=others_ns)

    def _finished(self) -> list[Slot]:
        slots = []
        while (group := self._next_group()) is not None:
            slot = self._emit(group)
            if slot is not None:
                slots.append(slot)
        return slots

    def _next_group(self) -> list[tuple[Channel, Entry]] | None:
        """Return the driving readings of the next slot, or None while it has to wait."""
        queues = self._queues
        drivers = queues.drivers()
        due_ns = queues.due_ns(drivers)
        if due_ns is None:
            return None
        is_due = queues.now_ns >= due_ns
        if not is_due and queues.is_waiting(drivers, due_ns):
            return None
        if drivers is queues.radars:
            return [(c, c.entries[-1]) for c in drivers if c.oldest_unspent() is not None]
        group = self._camera_group(is_due)
        if group is None or is_due:
            return group
        reference_ns = max(entry.stamp_ns for _, entry in group)
        near = [c for c in queues.radars if c.scans_near(reference_ns, self._settings)]
        return group if all(c in near or queues.is_silent(c) for c in queues.radars) else None

    def _camera_group(self, is_due: bool) -> list[tuple[Channel, Entry]] | None:
        """Choose one image a camera; drop what is too old; None when it pays to wait."""
        queues = self._queues
        pending = [c for c in queues.cameras if c.entries]
        for channel in surplus(pending):
            queues.discard_oldest(channel, DROP_SUPERSEDED)
        pending.sort(key=lambda c: c.entries[0].stamp_ns)
        count, is_forced = split_of(pending, self._settings.tolerance_ns)
        older = pending[:count]
        if 0 < sum(map(queues.is_alive, queues.cameras)) <= 2 * count:
            return [(c, c.entries[0]) for c in older]
        has_next = all(c.has_next for c in older)
        if not older or (is_due and not is_forced and not has_next):
            return [(c, c.entries[0]) for c in pending]
        if not is_forced and not has_next:
            return None
        stamp_ns = older[-1].entries[0].stamp_ns
        for channel in older:
            reason = DROP_SUPERSEDED if channel.has_next else DROP_TOLERANCE
            queues.discard_oldest(channel, reason)
        self._note_unmade(stamp_ns, DROP_SUPERSEDED)
        return self._next_group()  # what is left may have to wait again

    def _emit(self, group: list[tuple[Channel, Entry]]) -> Slot | None:
        queues = self._queues
        reference_ns = max(entry.stamp_ns for _, entry in group)
        since_ns = reference_ns - self._last_reference_ns
        if since_ns <= 0 or since_ns < self._settings.min_period_ns:
            of_radars = group[0][0] in queues.radars  # scans from before the last image
            too_old = DROP_SUPERSEDED if of_radars else DROP_LATE
            queues.refuse_group(group, too_old if since_ns <= 0 else DROP_RATE)
            return None
        readings: dict[str, Any] = {}
        stamps_ns: dict[str, int] = {}
        for channel, entry in group:
            if channel not in queues.radars:
                readings[channel.name], stamps_ns[channel.name] = entry.reading, entry.stamp_ns
                self._used += 1
                channel.entries.popleft()
        spent_ns = MAX_STAMP_NS if self._ended else reference_ns + queues.usual_period_ns // 2
        for channel in queues.radars:
            if scans := channel.scans_near(reference_ns, self._settings):
                readings[channel.name] = tuple(scan.reading for scan in scans)
                stamps_ns[channel.name] = scans[0].stamp_ns
                self._used += channel.mark_used(scans, spent_ns)
                while channel.entries[0] is not scans[-1]:
                    queues.discard_oldest(channel, DROP_SUPERSEDED)
        self._last_reference_ns = reference_ns
        return self._close(reference_ns, readings, stamps_ns)

    def _close(self, stamp_ns: int, readings: dict[str, Any], stamps_ns: dict[str, int]) -> Slot:
        missing, jumps = {}, self._jumps
        for name, channel in self._queues.by_name.items():
            channel.in_last_slot = name in readings
            if not channel.in_last_slot:
                missing[name] = self._missing_reason(channel)
            channel.last_drop = None
        return Slot(
            stamp_ns=stamp_ns, readings=readings, stamps_ns=stamps_ns, missing=missing, jumps=jumps
        )

    def _missing_reason(self, channel: Channel) -> str:
        queues = self._queues
        is_silent = queues.is_silent(channel)
        is_awaited = not is_silent and channel.newest_ns and channel.last_drop is None
        if self._ended and is_awaited:
            return self._ended
        is_camera = channel in queues.cameras
        return missing_reason(channel, queues.now_ns, is_camera=is_camera, is_silent=is_silent)
