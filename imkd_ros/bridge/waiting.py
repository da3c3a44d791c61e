# SPDX-License-Identifier: Apache-2.0
"""Slots that wait for the ego poses of their stamps. No ROS in here."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from imkd_core.geometry import Float64
from imkd_core.runtime.ego_motion import PoseBuffer
from imkd_core.runtime.slots import Slot
from imkd_ros.bridge.motion import EgoMotion

#: Slots that may wait; a bound, never reached while TF is alive.
_MOST = 8


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A slot that waits.

    Attributes:
        slot: complete, or out of time itself.
        deadline_ns: when it goes out without the poses that are missing.
        look_ns: until then poses must be exact; from then on extrapolated ones will do.
    """

    slot: Slot
    deadline_ns: int
    look_ns: int


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A slot whose ego motion is known, or whose time is up.

    Attributes:
        slot: its readings.
        motion: stamp -> (4, 4) `reference_from_ego`, of those stamps that are known.
        odom_from_ego: (4, 4) pose at the reference time; None where it is not known.
        lacks_motion: some stamps are not known.
    """

    slot: Slot
    motion: Mapping[int, Float64]
    odom_from_ego: Float64 | None
    lacks_motion: bool


class PoseWait:
    """Holds slots until their ego motion is known, in their order.

    Args:
        motion: of the vehicle.
        is_awaited: whether a slot must wait all the same: for its calibration.
    """

    def __init__(self, motion: EgoMotion, is_awaited: Callable[[Slot], bool]) -> None:
        self._motion = motion
        self._is_awaited = is_awaited
        self._waiting: deque[_Waiting] = deque()
        self._has_begun = False

    @property
    def next_look_ns(self) -> int | None:
        """When `ready` is to be called at the latest; None while nothing waits."""
        return self._waiting[0].look_ns if self._waiting else None  # the others wait behind it

    def add(self, slots: list[Slot], deadline_ns: int, look_ns: int) -> None:
        """Have slots wait until a time at most, and for exact poses until another."""
        self._waiting.extend(
            _Waiting(slot=slot, deadline_ns=deadline_ns, look_ns=look_ns) for slot in slots
        )

    def clear(self) -> list[Slot]:
        """Forget the slots that wait, and return them."""
        slots = [waiting.slot for waiting in self._waiting]
        self._waiting.clear()
        return slots

    def of_before(self, jumps: int, now_ns: int) -> list[Moved]:
        """Return the slots from before time went back; their poses of then hold.

        Args:
            jumps: how often time has gone back by now.
            now_ns: time now.
        """
        old = [waiting.slot for waiting in self._waiting if waiting.slot.jumps < jumps]
        self._waiting = deque(w for w in self._waiting if w.slot.jumps >= jumps)
        then = self._motion.before(now_ns)
        return [_moved(slot, then) for slot in old]

    def ready(self, now_ns: int) -> list[Moved]:
        """Return the slots that need not wait any more."""
        found = []
        while self._waiting:
            head = self._waiting[0]
            moved = _moved(head.slot, self._motion.poses)
            is_due = now_ns >= head.deadline_ns or len(self._waiting) > _MOST
            if not is_due and self._pays(head, moved, now_ns):
                if now_ns >= head.look_ns:
                    self._waiting[0] = replace(head, look_ns=head.deadline_ns)
                break
            self._waiting.popleft()
            self._has_begun = True
            found.append(moved)
        return found

    def _pays(self, head: _Waiting, moved: Moved, now_ns: int) -> bool:
        """Whether ego motion, or for the first frame calibration, may still come in time."""
        if not self._has_begun and self._is_awaited(head.slot):
            return True
        is_extrapolated = now_ns < head.look_ns and not self._motion.reaches(stamps_of(head.slot))
        is_coming = self._motion.is_alive(now_ns) or not self._has_begun
        return (moved.lacks_motion or is_extrapolated) and self._motion.is_wanted and is_coming


def _moved(slot: Slot, poses: PoseBuffer) -> Moved:
    stamps_ns = stamps_of(slot)
    found = {stamp_ns: poses.relative(slot.stamp_ns, stamp_ns) for stamp_ns in stamps_ns}
    known = {stamp_ns: pose for stamp_ns, pose in found.items() if pose is not None}
    return Moved(
        slot=slot,
        motion=known,
        odom_from_ego=poses.pose_at(slot.stamp_ns),
        lacks_motion=len(known) < len(stamps_ns),
    )


def stamps_of(slot: Slot) -> set[int]:
    """Return the stamps of all readings of a slot."""
    stamps_ns = set()
    for value in slot.readings.values():
        readings = value if isinstance(value, tuple) else (value,)
        stamps_ns |= {reading.stamp_ns for reading in readings}
    return stamps_ns
