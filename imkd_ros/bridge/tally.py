# SPDX-License-Identifier: Apache-2.0
"""Counts of what arrived and of what was dropped, by sensor and reason. No ROS in here."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from imkd_core.runtime.rhythm import Rhythm
from imkd_core.runtime.slots import (
    DROP_BEHIND,
    DROP_DUPLICATE,
    DROP_FUTURE,
    DROP_LATE,
    DROP_ORDER,
    DROP_OVERFLOW,
    DROP_RESET,
    DROP_STALE,
    DROP_STAMP,
    DROP_SUPERSEDED,
)

#: Problems kept until they are taken; the counters go on counting.
_MAX_PROBLEMS = 64

#: A longer time between two readings of a sensor is an outage.
LONGEST_PERIOD_NS = 1_000_000_000

#: A sensor whose period is known counts as lost after twice the silence that is usual of it, but
#: never sooner than this.
_LEAST_SILENCE_NS = 300_000_000

#: Name under which what concerns whole frames is filed.
FRAMES = "frames"

#: Reason of a problem of `FRAMES`: stamps of a frame without ego motion.
NO_MOTION = "no ego motion"


#: Reasons of the synchroniser that concern the reading just offered, and what to do about each.
REFUSALS: Mapping[str, str] = {
    DROP_STAMP: "its stamp is not a time; check the driver's clock and header.stamp",
    DROP_FUTURE: "its stamp lies in the future; synchronise the clocks (PTP, NTP), or set "
    "use_sim_time when a bag plays",
    DROP_STALE: "its stamp lies far in the past; synchronise the clocks (PTP, NTP), or set "
    "use_sim_time when a bag plays",
    DROP_DUPLICATE: "a reading of that stamp was there already; two publishers on one topic, or "
    "a driver that repeats",
    DROP_ORDER: "it is older than the one before; check the network and the driver's stamps",
    DROP_BEHIND: "its stamp lies more than half a second behind those of the other sensors; "
    "synchronise the clocks (PTP, NTP), and see whether its driver was started again",
    DROP_LATE: "its frame has gone out already; raise sync.deadline_ms if this is normal",
}

#: Why a frame that was due did not come about, by the synchroniser's reason.
UNMADE: Mapping[str, str] = {
    DROP_OVERFLOW: "its images waited too long for the others",
    DROP_RESET: "a reset forgot its readings",
    DROP_SUPERSEDED: "images of the next frame came before those of most cameras",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that went wrong.

    Attributes:
        sensor: name of the sensor, or `FRAMES`.
        reason: short code; the key of the counter.
        text: what happened and what to do.
    """

    sensor: str
    reason: str
    text: str


class Tally:
    """Arrivals, drops by reason, and the problems that nobody was told yet.

    Drops may be counted from any thread: images are decoded in several.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drops: dict[str, Counter[str]] = {}
        self._problems: dict[tuple[str, str], Problem] = {}
        self._accepted: Counter[str] = Counter()
        self._newest: dict[str, tuple[int, int]] = {}
        self._rhythms: dict[str, Rhythm] = {}

    @property
    def drops(self) -> Mapping[str, Mapping[str, int]]:
        """Sensor -> reason -> count."""
        with self._lock:
            return MappingProxyType({name: dict(counts) for name, counts in self._drops.items()})

    @property
    def accepted(self) -> Mapping[str, int]:
        """Sensor -> readings that were let in: scans, and images by their headers."""
        return MappingProxyType(self._accepted)

    @property
    def newest(self) -> Mapping[str, tuple[int, int]]:
        """Sensor -> (stamp, arrival) of the last reading, nanoseconds."""
        return MappingProxyType(self._newest)

    @property
    def rhythms(self) -> Mapping[str, Rhythm]:
        """Sensor -> what is usual of its readings, and what was lost between them."""
        return MappingProxyType(self._rhythms)

    def accept(self, sensor: str, stamp_ns: int, now_ns: int) -> None:
        """Count a reading."""
        self._accepted[sensor] += 1
        self._newest[sensor] = (stamp_ns, now_ns)
        if sensor not in self._rhythms:
            self._rhythms[sensor] = Rhythm(LONGEST_PERIOD_NS)
        self._rhythms[sensor].add(stamp_ns, now_ns)

    def is_silent(self, sensor: str, now_ns: int, timeout_ns: int) -> bool:
        """Return whether a sensor that came counts as lost by now.

        Args:
            sensor: name of one of `newest`.
            now_ns: time now, on the clock of arrivals.
            timeout_ns: silence after which it does in any case.
        """
        usual_ns = max(2 * self._rhythms[sensor].patience_ns, _LEAST_SILENCE_NS)
        return now_ns - self._newest[sensor][1] > min(timeout_ns, usual_ns)

    def forget_after(self, now_ns: int) -> None:
        """Forget that sensors came after this time: the clock went back."""
        for name in [name for name, (_, arrival_ns) in self._newest.items() if arrival_ns > now_ns]:
            del self._newest[name]

    def drop(self, sensor: str, reason: str, text: str) -> None:
        """Count a drop, and keep its text (the newest of each kind) until it is taken."""
        with self._lock:
            self._drops.setdefault(sensor, Counter())[reason] += 1
            if len(self._problems) < _MAX_PROBLEMS or (sensor, reason) in self._problems:
                self._problems[sensor, reason] = Problem(sensor=sensor, reason=reason, text=text)

    def count(self, sensor: str, reason: str, number: int) -> None:
        """Count parts of a reading that were left out; nobody is warned."""
        with self._lock:
            self._drops.setdefault(sensor, Counter())[reason] += number

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call, one for each sensor and reason."""
        with self._lock:
            problems = list(self._problems.values())
            self._problems.clear()
        return problems
