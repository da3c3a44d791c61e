# SPDX-License-Identifier: Apache-2.0
"""Whether frames have ego motion, and how bad it is where they do not. No ROS in here."""

from collections.abc import Sequence

from imkd_ros.node.verdicts import ERROR, OK, WARN, Status

#: Ego motion that is gone for longer is an error where boxes depend on it.
TOLERATED_NS = 2_000_000_000

#: Frames without it that are further apart are two losses.
_APART_NS = 1_000_000_000

#: It is told for so long after the last frame without it.
_TOLD_NS = 3_000_000_000


class MotionWatch:
    """Remembers since when frames lack ego motion.

    Args:
        needs: what becomes wrong without it, in words.
    """

    def __init__(self, needs: Sequence[str]) -> None:
        self._needs = tuple(needs)
        self._since_ns = self._last_ns = 0
        self._text = ""

    def note(self, text: str, now_ns: int) -> None:
        """Take note of frames without ego motion, since the call before.

        Args:
            text: what happened and what to do.
            now_ns: time now.
        """
        if not self._text or not 0 <= now_ns - self._last_ns <= _APART_NS:
            self._since_ns = now_ns
        self._text, self._last_ns = text, now_ns

    def status(self, now_ns: int) -> Status:
        """Return what to tell: a warning, or an error where it lasts and boxes depend on it."""
        since_last_ns = now_ns - self._last_ns
        if not self._text or not 0 <= since_last_ns < _TOLD_NS:
            return Status(name="ego_motion", level=OK, message="ok")
        lost_ns = self._last_ns - self._since_ns
        if not self._needs or lost_ns <= TOLERATED_NS or since_last_ns > _APART_NS:
            return Status(name="ego_motion", level=WARN, message=self._text)
        message = f"{self._text} (without it {'; '.join(self._needs)})"
        return Status(name="ego_motion", level=ERROR, message=message)
