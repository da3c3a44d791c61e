# SPDX-License-Identifier: Apache-2.0
"""What went wrong of late, each kind once. No ROS in here."""

from imkd_ros.bridge.tally import Problem

#: A problem is told for so long.
_TOLD_NS = 3_000_000_000


class RecentProblems:
    """Remembers the last problem of each sensor and reason for a while."""

    def __init__(self) -> None:
        self._noted: dict[str, dict[str, tuple[int, Problem]]] = {}

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors, and other parts, that ever had one."""
        return tuple(self._noted)

    def note(self, problem: Problem, now_ns: int) -> None:
        """Remember a problem that is there now."""
        self._noted.setdefault(problem.sensor, {})[problem.reason] = (now_ns, problem)

    def of(self, sensor: str, now_ns: int) -> list[Problem]:
        """Return those of a sensor that are still told, the newest first.

        Those of a time that the clock left are not.
        """
        noted = self._noted.get(sensor, {}).values()
        told = [(when_ns, one) for when_ns, one in noted if abs(now_ns - when_ns) < _TOLD_NS]
        return [one for _, one in sorted(told, key=lambda pair: -pair[0])]
