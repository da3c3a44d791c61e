# SPDX-License-Identifier: Apache-2.0
"""Which reading of a sensor belongs to which key frame of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Readings up to this long before the first key frame are kept as its past.
PAST_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One reading of a sensor in a data set.

    Attributes:
        stamp_ns: of the reading.
        key: index of the key frame that it belongs to, or that comes next.
        is_key: whether it is that key frame's.
    """

    stamp_ns: int
    key: int
    is_key: bool


def place_readings(
    stamps_ns: Sequence[int], keys_ns: Sequence[int], tolerance_ns: int, with_sweeps: bool
) -> tuple[Placed, ...]:
    """Return the readings of one sensor that belong to a data set, in time order.

    A key frame takes the reading nearest to it, and no reading serves two key frames: the nearer
    one has it, and the other goes without. What comes after the last key frame is left out.

    Args:
        stamps_ns: of the sensor's readings, rising.
        keys_ns: of the key frames, rising.
        tolerance_ns: a key frame takes no reading further away than this.
        with_sweeps: also the readings between key frames.
    """
    if not stamps_ns or not keys_ns:
        return ()
    stamps, keys = np.asarray(stamps_ns, np.int64), np.asarray(keys_ns, np.int64)
    owner = _owners(stamps, keys, tolerance_ns)
    placed = []
    for i, stamp_ns in enumerate(stamps.tolist()):
        following = int(np.searchsorted(keys, stamp_ns))
        if i in owner:
            placed.append(Placed(stamp_ns=stamp_ns, key=owner[i], is_key=True))
        elif with_sweeps and following < len(keys) and stamp_ns >= keys[0] - PAST_NS:
            placed.append(Placed(stamp_ns=stamp_ns, key=following, is_key=False))
    return tuple(placed)


def _owners(
    stamps: np.ndarray[tuple[int], np.dtype[np.int64]],
    keys: np.ndarray[tuple[int], np.dtype[np.int64]],
    tolerance_ns: int,
) -> dict[int, int]:
    """Return index of a reading -> index of the key frame that has it."""
    owner: dict[int, int] = {}
    for key, key_ns in enumerate(keys):
        lag_ns = np.abs(stamps - key_ns)
        nearest = int(np.argmin(lag_ns))
        if lag_ns[nearest] > tolerance_ns:
            continue
        rival = owner.get(nearest)
        if rival is None or lag_ns[nearest] < abs(stamps[nearest] - keys[rival]):
            owner[nearest] = key
    return owner
