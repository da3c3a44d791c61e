# SPDX-License-Identifier: Apache-2.0
"""Maps of earlier frames, kept for a network that cannot keep them itself (method.md 3.5, 12.2 a).

    memory = FusedMemory(bundle.inputs.memory, bundle.inputs.bev)
    inputs |= memory.recall(frame.stamp_ns, frame.odom_from_ego)
    outputs = backend.run(inputs)
    memory.keep(frame.stamp_ns, frame.odom_from_ego, outputs["memory"])

The network learned from key frames an interval apart. So that a vehicle's 12 Hz look the same to
it, one map an interval is kept, and each is read only from the age of an interval on: a map of
80 ms ago would show less motion than any that it has seen. Both hang on the frames' stamps and
poses alone, never on the time of arrival: a recording replayed offline remembers what the vehicle
did. Where the past cannot be trusted, all of it is forgotten, and the network runs without, as it
learned to.
"""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.geometry import Float64, invert_transform, planar_transform, yaw_of

Float32 = NDArray[np.float32]

#: Why a memory was emptied, where nobody asked for it.
RESET_NO_POSE = "no pose of the vehicle"
RESET_TIME = "the stamp did not go on"
RESET_GAP = "too long without a frame"
RESET_POSE = "the pose jumped"
RESET_FAILED = "the network failed on a frame"
RESET_OFF = "switched off"

#: Motion between two frames beyond which a pose is taken to have jumped; no car does either.
MAX_SPEED_MPS = 70.0
MAX_TURN_RADPS = 3.0

#: Two poses closer in time than this may differ by what this time allows: they are measured.
_LEAST_SPAN_NS = 50_000_000

#: Share of the interval after which a map may be read already: frames do not come on the dot.
_LEAST_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class MemoryFacts:
    """What is known of a memory at one moment, for diagnostics.

    Attributes:
        kind: of the `MemorySpec`; "none" holds nothing ever.
        maps: how many can be read; one more waits until it is old enough.
        capacity: how many a network reads at most.
        newest_age_s: of the newest of them, at the last frame; None while there is none.
        resets: reason -> how often maps were lost for it.
        last_reset: reason of the last reset, also of one that found nothing to lose; "" at first.
    """

    kind: str
    maps: int
    capacity: int
    newest_age_s: float | None
    resets: Mapping[str, int]
    last_reset: str


class _Moment(NamedTuple):
    stamp_ns: int
    odom_from_ego: Float64


class FusedMemory:
    """The newest maps that a network asked to be kept, and where the vehicle was then.

    May be reset from another thread than the one that recalls and keeps: a frame that was under
    way then is not kept. The arrays of `recall` are written to again by the next `recall`.

    Args:
        spec: what the network remembers; of kind "none" everything here does nothing.
        bev: grid of the maps.
        is_on: whether anything is kept; the network is told that there is nothing where not.
    """

    def __init__(self, spec: MemorySpec, bev: BevGrid, is_on: bool = True) -> None:
        self._spec = spec
        self._is_on = is_on
        self._interval_ns = round(spec.interval_s * _LEAST_SHARE * 1e9)
        self._max_gap_ns = round(spec.max_gap_s * 1e9)
        count = spec.frames
        # A map is written in front of those that are read, and the view of these moves towards it:
        # a new map is copied once, and all are moved to the end only when the front is reached.
        self._maps = np.zeros((2 * count + 1, spec.channels, *bev.shape), np.float32)
        self._begin = count + 1  # of the view
        self._transform = np.zeros((count, 2, 3), np.float32)
        self._age_s = np.zeros(count, np.float32)
        self._mask = np.zeros(count, np.float32)
        self._kept: deque[_Moment] = deque(maxlen=count)  # that are read, newest first
        self._waiting: _Moment | None = None  # of the map in front, which is too young to be read
        self._is_blank = True  # no map holds anything
        self._last: _Moment | None = None
        self._resets: Counter[str] = Counter()
        self._last_reset = ""
        self._lock = threading.Lock()

    @property
    def facts(self) -> MemoryFacts:
        """What it holds now."""
        with self._lock:
            newest_age_s = None
            if self._kept and self._last is not None:
                newest_age_s = (self._last.stamp_ns - self._kept[0].stamp_ns) * 1e-9
            return MemoryFacts(
                kind=self._spec.kind,
                maps=len(self._kept),
                capacity=self._spec.frames,
                newest_age_s=newest_age_s,
                resets=dict(self._resets),
                last_reset=self._last_reset,
            )

    def recall(self, stamp_ns: int, odom_from_ego: Float64 | None) -> dict[str, Float32]:
        """Return the network's inputs of the past, newest map first; {} of kind "none".

        history [K, C, Y, X]; history_transform [K, 2, 3], from the ego frame of this frame to that
        of the map, metres; history_age_s [K]; history_mask [K]. What is missing is zeros.

        Args:
            stamp_ns: reference time of the frame that is about to be run.
            odom_from_ego: (4, 4) pose of the vehicle then; None where it is not known: the frame is
                run without the past, which stays for the frames behind it.

        A stamp that does not go on, a gap (of frames, or of poses), and a pose that jumps empty the
        memory.
        """
        if not self._spec.frames:
            return {}
        with self._lock:
            present = None
            if odom_from_ego is not None and self._is_on:
                present = _Moment(stamp_ns, odom_from_ego)
            why = self._distrust(stamp_ns, present)
            if why:
                self._forget(why)
            self._ripen(stamp_ns)
            self._last = present or self._last
            self._describe(present)
            return {
                "history": self._maps[self._begin : self._begin + self._spec.frames],
                "history_transform": self._transform,
                "history_age_s": self._age_s,
                "history_mask": self._mask,
            }

    def keep(self, stamp_ns: int, odom_from_ego: Float64 | None, memory: NDArray[Any]) -> None:
        """Keep a copy of the map of the frame that was recalled last, unless one waits already.

        Args:
            stamp_ns: of that frame.
            odom_from_ego: pose of the vehicle then; nothing is kept where it is not known.
            memory: (C, Y, X) the network's output of that name; finite.
        """
        with self._lock:
            if odom_from_ego is None or self._last is None or self._last.stamp_ns != stamp_ns:
                return  # a memory that is off, or was reset while the network ran, has no last
            if self._waiting is None:
                self._write(memory)
                self._waiting = _Moment(stamp_ns, odom_from_ego)

    def reset(self, why: str) -> None:
        """Forget all maps.

        Args:
            why: a few words for the diagnostics.
        """
        with self._lock:
            self._forget(why)

    def _forget(self, why: str) -> None:
        if self._kept or self._waiting is not None:
            self._resets[why] += 1
        self._kept.clear()
        self._waiting = None
        self._last = None
        self._last_reset = why

    def _distrust(self, stamp_ns: int, present: _Moment | None) -> str:
        """Return why the past does not lead up to a frame; "" where it does, or may yet."""
        if not self._is_on:
            return RESET_OFF
        if self._last is None:
            return RESET_NO_POSE if present is None else ""
        span_ns = stamp_ns - self._last.stamp_ns
        if span_ns <= 0:
            return RESET_TIME
        if span_ns > self._max_gap_ns:
            return RESET_NO_POSE if present is None else RESET_GAP
        has_jumped = present is not None and _has_jumped(self._last, present)
        return RESET_POSE if has_jumped else ""

    def _write(self, memory: NDArray[Any]) -> None:
        """Copy a map to the place in front of those that are read."""
        count = self._spec.frames
        if self._begin == 0:
            self._begin = count + 1
            self._maps[self._begin :] = self._maps[:count]
        self._maps[self._begin - 1] = memory
        self._is_blank = False

    def _ripen(self, stamp_ns: int) -> None:
        """Let the map that waits be read, if it is old enough now; the oldest falls out.

        Zeros all maps where none is known any more, here and not in `reset`: a network may be
        reading them then.
        """
        if self._waiting is None:
            if not self._kept and not self._is_blank:
                self._maps[:] = 0
                self._begin, self._is_blank = self._spec.frames + 1, True
        elif stamp_ns - self._waiting.stamp_ns >= self._interval_ns:
            self._kept.appendleft(self._waiting)
            self._waiting = None
            self._begin -= 1

    def _describe(self, present: _Moment | None) -> None:
        """Write where and when the maps lie that are read, seen from a frame."""
        count = 0 if present is None else len(self._kept)
        self._mask[:count], self._mask[count:] = 1, 0
        self._transform[count:] = self._age_s[count:] = 0
        if present is None:
            return
        for index, moment in enumerate(self._kept):
            map_from_ego = invert_transform(moment.odom_from_ego) @ present.odom_from_ego
            self._transform[index] = planar_transform(map_from_ego)
            self._age_s[index] = (present.stamp_ns - moment.stamp_ns) * 1e-9


def _has_jumped(then: _Moment, now: _Moment) -> bool:
    """Whether no car can have gone from one pose to the other in that time."""
    span_s = max(now.stamp_ns - then.stamp_ns, _LEAST_SPAN_NS) * 1e-9
    then_from_now = invert_transform(then.odom_from_ego) @ now.odom_from_ego
    is_too_far = float(np.linalg.norm(then_from_now[:3, 3])) > MAX_SPEED_MPS * span_s
    return is_too_far or abs(yaw_of(then_from_now)) > MAX_TURN_RADPS * span_s
