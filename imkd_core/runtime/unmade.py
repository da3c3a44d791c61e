# SPDX-License-Identifier: Apache-2.0
"""Frames that were due and did not come about, each told once."""

from collections.abc import Iterable

from imkd_core.runtime.slots import Unmade

#: Frames kept until they are taken; the oldest are forgotten.
_MOST = 64


class UnmadeFrames:
    """Collects them; readings of one turn of the cameras are one frame."""

    def __init__(self) -> None:
        self._frames: list[Unmade] = []
        self._last_ns = 0

    def note(self, stamp_ns: int, reason: str, *, period_ns: int, others_ns: Iterable[int]) -> None:
        """Take note that readings were dropped which may have been all there is of a frame.

        Args:
            stamp_ns: of the newest of them.
            reason: why.
            period_ns: of the frames.
            others_ns: stamps of frames that were given out, and of readings that wait for theirs:
                one that is nearer than half a period is of the same turn.
        """
        known_ns = (*others_ns, self._last_ns)
        if min(abs(stamp_ns - known) for known in known_ns) * 2 >= period_ns:
            self._last_ns = stamp_ns
            self._frames = [*self._frames, Unmade(stamp_ns, reason)][-_MOST:]

    def begin_anew(self) -> None:
        """Stamps go back: what was told of them before says nothing of those that come."""
        self._last_ns = 0

    def take(self) -> list[Unmade]:
        """Return those since the last call, oldest first."""
        frames, self._frames = self._frames, []
        return frames
