# SPDX-License-Identifier: Apache-2.0
"""What is usual of one sensor's messages: their period, and how long it may be silent."""

from collections import deque

#: Intervals looked back on: for the period, and for the longest silence that is usual.
_PERIODS, _SILENCES = 9, 32

#: What is usual is known after so many intervals.
_LEAST = 8

#: A stamp that runs ahead of its arrival, or falls behind, by so much more than the one before.
_JUMP_NS = 500_000_000


class Rhythm:
    """Learns from the stamps and arrivals of one sensor; a message costs a fixed time.

    Args:
        max_interval_ns: a longer time between two stamps is an outage, not a period.

    Attributes:
        period_ns: median of the last intervals of stamps; 0 while unknown.
        patience_ns: a silence that is longer is unusual. One and a half periods, or more where
            longer silences came twice of late (jitter, lost messages); `max_interval_ns` while
            unknown.
        lost: messages that are missing between those that came, by the period.
        jumps: times that the stamps left the clock of arrival by more than half a second.
    """

    __slots__ = (
        "_arrival_ns",
        "_intervals_ns",
        "_max_interval_ns",
        "_silences_ns",
        "_stamp_ns",
        "jumps",
        "lost",
        "patience_ns",
        "period_ns",
    )

    def __init__(self, max_interval_ns: int) -> None:
        self._max_interval_ns = max_interval_ns
        self._intervals_ns: deque[int] = deque(maxlen=_PERIODS)
        self._silences_ns: deque[int] = deque(maxlen=_SILENCES)
        self._stamp_ns = self._arrival_ns = 0
        self.period_ns = 0
        self.patience_ns = max_interval_ns
        self.lost = self.jumps = 0

    def add(self, stamp_ns: int, arrival_ns: int) -> None:
        """Take in one message.

        Args:
            stamp_ns: time of measurement; one that goes back counts as a jump alone.
            arrival_ns: on any clock that runs like that of the stamps.
        """
        interval_ns, silence_ns = stamp_ns - self._stamp_ns, arrival_ns - self._arrival_ns
        is_first = not self._stamp_ns
        self._stamp_ns, self._arrival_ns = stamp_ns, arrival_ns
        if is_first:
            return
        self.jumps += abs(interval_ns - silence_ns) > _JUMP_NS
        if not 0 < interval_ns <= self._max_interval_ns:
            return
        self._count_lost(interval_ns)
        self._intervals_ns.append(interval_ns)
        self._silences_ns.append(min(max(silence_ns, 0), self._max_interval_ns))
        self.period_ns = sorted(self._intervals_ns)[len(self._intervals_ns) // 2]
        if len(self._silences_ns) >= _LEAST:
            usual_ns = sorted(self._silences_ns)[-2]  # one outage is no habit
            excess_ns = max(usual_ns - self.period_ns, 0)
            patience_ns = self.period_ns + max(self.period_ns // 2, 3 * excess_ns)
            self.patience_ns = min(patience_ns, self._max_interval_ns)

    def _count_lost(self, interval_ns: int) -> None:
        if len(self._intervals_ns) >= _LEAST:
            periods = (interval_ns + self.period_ns // 2) // self.period_ns
            self.lost += max(periods - 1, 0)
