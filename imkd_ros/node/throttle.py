# SPDX-License-Identifier: Apache-2.0
"""At most one of a kind in a while. No clock in here."""

from collections.abc import Hashable

#: Kinds remembered; older ones may be told again.
_MAX_KINDS = 1000


class Throttle:
    """Says whether something of a kind may be said again.

    Args:
        period_s: least time between two of a kind.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._last_s: dict[Hashable, float] = {}

    def is_due(self, kind: Hashable, now_s: float) -> bool:
        """Return whether the last of this kind is long enough ago, and remember this one."""
        last_s = self._last_s.get(kind)
        if last_s is not None and 0 <= now_s - last_s < self._period_s:
            return False
        if len(self._last_s) >= _MAX_KINDS:
            self._last_s.clear()
        self._last_s[kind] = now_s
        return True
