# SPDX-License-Identifier: Apache-2.0
"""A sign of a fault becomes a fault when it stays: so many measurements, and so long."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a sign must stay.

    Attributes:
        count: measurements in a row that show it.
        time_ns: from the first of them to the last.
    """

    count: int
    time_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Streak:
    """Measurements in a row that show a sign: stamp of the first, and how many."""

    since_ns: int
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Streaks:
    """Sign -> its streak; signs that the last measurement did not show are not in it."""

    running: Mapping[str, Streak] = field(default_factory=dict)

    def after(self, stamp_ns: int, signs: Iterable[str]) -> "Streaks":
        """Return the streaks with one more measurement, which shows `signs`."""
        running = {}
        for sign in signs:
            before = self.running.get(sign)
            if before is None:
                running[sign] = Streak(since_ns=stamp_ns)
            else:
                running[sign] = Streak(since_ns=before.since_ns, count=before.count + 1)
        return Streaks(running=running)

    def age_ns(self, stamp_ns: int, signs: Iterable[str]) -> int:
        """Return how long the oldest of some signs has lasted; 0 where none is shown."""
        shown = [self.running[sign].since_ns for sign in signs if sign in self.running]
        return stamp_ns - min(shown) if shown else 0

    def lasting(self, stamp_ns: int, patience: Mapping[str, Patience]) -> dict[str, int]:
        """Return fault -> stamp of its first sign, for those that lasted until `stamp_ns`."""
        return {
            sign: streak.since_ns
            for sign, streak in self.running.items()
            if streak.count >= patience[sign].count
            and stamp_ns - streak.since_ns >= patience[sign].time_ns
        }
