# SPDX-License-Identifier: Apache-2.0
"""ROS's own `message_filters.ApproximateTimeSynchronizer` behind the interface of ours.

For those who want to compare, or must use it. Its rule is all or nothing: a sensor that is
missing stops all output, the tolerance must exceed the stagger of the whole rig, and its search
walks the product of its queues. `imkd_core.runtime.synchronizer` has none of these limits.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from imkd_core.errors import ConfigError
from imkd_core.runtime.slots import (
    DROP_LATE,
    DROP_RESET,
    DROP_STAMP,
    DROP_SUPERSEDED,
    DROP_UNKNOWN,
    Refused,
    Slot,
    SyncSettings,
    Unmade,
)
from imkd_core.types import MAX_STAMP_NS


class _Header(NamedTuple):
    stamp: Any


class _Stamped(NamedTuple):
    """What message_filters sees of a reading: a header with a stamp."""

    header: _Header
    stamp_ns: int
    reading: Any


class MessageFiltersSynchronizer:
    """Offers `push` and `poll` as `SlotSynchronizer` does; nothing is ever due by time.

    Of the settings, the names, `tolerance_ns`, `jump_ns` and `queue` are used. A radar gives one
    scan.

    Args:
        settings: sensors and limits.

    Raises:
        ConfigError: message_filters is not installed.
    """

    def __init__(self, settings: SyncSettings) -> None:
        try:
            import message_filters
            from rclpy.time import Time
        except ImportError as error:
            raise ConfigError(
                f"sync.method 'message_filters' needs the Python package {error.name}; install "
                "ROS 2's package message_filters (apt install ros-$ROS_DISTRO-message-filters) "
                "and source ROS 2, or set sync.method to 'slots'"
            ) from None
        self._library = message_filters
        self._make_time = Time
        self._settings = settings
        self._names = (*settings.cameras, *settings.radars)
        self._dropped: Counter[str] = Counter()
        self._slots: list[Slot] = []
        self._refused: list[Refused] = []
        self._pushed = self._used = self._jumps = 0
        self._connect()

    @property
    def settings(self) -> SyncSettings:
        """The settings it was built with."""
        return self._settings

    @property
    def counters(self) -> Mapping[str, int]:
        """Dropped readings by reason; with `used` and `pending` they sum to `pushed`."""
        unseen = self._pushed - self._used - self.pending - sum(self._dropped.values())
        return MappingProxyType({**self._dropped, **({DROP_SUPERSEDED: unseen} if unseen else {})})

    @property
    def pushed(self) -> int:
        """Readings offered so far."""
        return self._pushed

    @property
    def used(self) -> int:
        """Readings that stood in a slot."""
        return self._used

    @property
    def pending(self) -> int:
        """Readings that wait."""
        return sum(len(queue) for queue in self._filter.queues)

    @property
    def jumps(self) -> int:
        """Backward jumps of time."""
        return self._jumps

    @property
    def next_deadline_ns(self) -> int | None:
        """None: message_filters knows no deadline."""
        return None

    @property
    def due_ns(self) -> int | None:
        """None: as above."""
        return None

    def reset(self) -> None:
        """Forget all readings; counters stay."""
        if self.pending:
            self._dropped[DROP_RESET] += self.pending
        self._connect()

    def take_refused(self) -> list[Refused]:
        """Return the readings since the last call that were refused for their stamps."""
        refused, self._refused = self._refused, []
        return refused

    def take_unmade(self) -> list[Unmade]:
        """Return nothing: which frames message_filters did not make, it does not tell."""
        return []

    def push(self, sensor: str, stamp_ns: int, reading: Any, now_ns: int) -> list[Slot]:
        """Offer one reading and return the slots that it completes."""
        self._pushed += 1
        source = self._sources.get(sensor)
        if source is None or not 0 < stamp_ns < MAX_STAMP_NS:
            self._dropped[DROP_UNKNOWN if source is None else DROP_STAMP] += 1
            if source is not None:
                self._refused.append(Refused(sensor, stamp_ns, DROP_STAMP))
            return []
        if stamp_ns < self._newest_ns[sensor] - self._settings.jump_ns:
            self._jumps += 1
            self.reset()
            source = self._sources[sensor]
        self._newest_ns[sensor] = max(stamp_ns, self._newest_ns[sensor])
        header = _Header(self._make_time(nanoseconds=stamp_ns))
        source.signalMessage(_Stamped(header, stamp_ns, reading))
        return self.poll(now_ns)

    def poll(self, now_ns: int) -> list[Slot]:
        """Return nothing new: no slot is completed by time alone."""
        del now_ns
        slots, self._slots = self._slots, []
        return slots

    def _connect(self) -> None:
        self._sources = {name: self._library.SimpleFilter() for name in self._names}
        self._newest_ns = dict.fromkeys(self._names, 0)
        self._last_reference_ns = 0
        self._filter = self._library.ApproximateTimeSynchronizer(
            list(self._sources.values()),
            queue_size=self._settings.queue,
            slop=self._settings.tolerance_ns * 1e-9,
        )
        self._filter.registerCallback(self._on_set)

    def _on_set(self, *stamped: _Stamped) -> None:
        """Keep a complete set. Must not raise: message_filters would stay locked for ever."""
        by_name = dict(zip(self._names, stamped, strict=True))
        stamps_ns = {name: item.stamp_ns for name, item in by_name.items()}
        drivers = self._settings.cameras or self._settings.radars
        reference_ns = max(stamps_ns[name] for name in drivers)
        if reference_ns <= self._last_reference_ns:
            # message_filters takes the set from its queues only after this call
            self._dropped[DROP_LATE] += len(by_name)
            return
        self._used += len(by_name)
        self._last_reference_ns = reference_ns
        readings = {
            name: item.reading if name in self._settings.cameras else (item.reading,)
            for name, item in by_name.items()
        }
        slot = Slot(
            stamp_ns=reference_ns,
            readings=readings,
            stamps_ns=stamps_ns,
            missing={},
            jumps=self._jumps,
        )
        self._slots.append(slot)
