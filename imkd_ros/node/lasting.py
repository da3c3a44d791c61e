# SPDX-License-Identifier: Apache-2.0
"""Since when something holds of a sensor without a break. No ROS in here."""

from collections.abc import Collection, Mapping

#: Notes that are further apart say nothing of the time between them.
_APART_NS = 3_000_000_000


class Lasting:
    """Remembers since when each sensor is what it is said to be."""

    def __init__(self) -> None:
        self._since_ns: dict[str, int] = {}
        self._holding: dict[str, str] = {}
        self._last_ns = 0

    def note(
        self, holding: Mapping[str, str], now_ns: int, undecided: Collection[str] = ()
    ) -> None:
        """Take note of what holds now; it has ended for all others.

        Args:
            holding: sensor -> in which way.
            now_ns: time now.
            undecided: sensors of which nothing is known now: what held goes on.
        """
        if not 0 <= now_ns - self._last_ns <= _APART_NS:
            self.clear()
        self._last_ns = now_ns
        for name in [n for n in self._since_ns if n not in holding and n not in undecided]:
            del self._since_ns[name], self._holding[name]
        for name, how in holding.items():
            self._since_ns.setdefault(name, now_ns)
            self._holding[name] = how

    def found(self, now_ns: int, least_ns: Mapping[str, int], else_ns: int) -> dict[str, str]:
        """Return sensor -> in which way, of those of which it has held for long.

        Args:
            now_ns: time now.
            least_ns: sensor -> how long is long for it.
            else_ns: how long is long for the others, and the least for all.
        """
        if not 0 <= now_ns - self._last_ns <= _APART_NS:
            return {}
        return {
            name: self._holding[name]
            for name, since_ns in self._since_ns.items()
            if now_ns - since_ns > max(least_ns.get(name, 0), else_ns)
        }

    def clear(self) -> None:
        """Forget all."""
        self._since_ns.clear()
        self._holding.clear()
