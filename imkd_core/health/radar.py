# SPDX-License-Identifier: Apache-2.0
"""Faults of a radar, scan by scan: a pure function over a state that the caller keeps."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.health.faults import EMPTY, FROZEN, INTERFERED
from imkd_core.health.streaks import Patience, Streaks

#: An empty scan of a radar that saw little before; it takes longer to become `EMPTY`.
_EMPTY_AS_USUAL = "empty as usual"


@dataclass(frozen=True, kw_only=True)
class RadarSettings:
    """Limits of the signs.

    Attributes:
        least_repeated: a scan with fewer returns may be the same again by chance.
        quiet_returns: a radar that usually gives fewer is given longer to be empty.
        more_returns, more_share: clutter is so many returns above the usual, and so large a
            share of the usual above it.
        more_spreads: and so many times the usual spread (standard deviation) above it.
        past_scans: remembered, so many.
        least_past: scans that must be remembered before interference is judged.
        relearn_ns: clutter that stayed for so long is the new usual: a street after a garage.
        patience: sign -> how long it must stay.
    """

    least_repeated: int = 3
    quiet_returns: float = 3.0
    more_returns: float = 15.0
    more_share: float = 0.35
    more_spreads: float = 4.0
    past_scans: int = 40
    least_past: int = 6
    relearn_ns: int = 60_000_000_000
    patience: Mapping[str, Patience] = field(
        default_factory=lambda: MappingProxyType(
            {
                FROZEN: Patience(count=3),
                EMPTY: Patience(count=5),
                _EMPTY_AS_USUAL: Patience(count=40),
                INTERFERED: Patience(count=4),
            }
        )
    )


@dataclass(frozen=True, kw_only=True)
class RadarState:
    """What is remembered of a radar between two scans.

    Attributes:
        digest: of the newest scan.
        counts: returns of the scans before that showed nothing unusual, oldest first.
        streaks: of the signs.
        faults: fault -> stamp of its first sign.
    """

    digest: bytes = b""
    counts: tuple[int, ...] = ()
    streaks: Streaks = field(default_factory=Streaks)
    faults: Mapping[str, int] = field(default_factory=dict)


def advance(
    state: RadarState, stamp_ns: int, points: NDArray[np.float32], settings: RadarSettings
) -> RadarState:
    """Return the state after one more scan.

    Args:
        state: before it.
        stamp_ns: of the scan, later than those before.
        points: (N, 7) returns with columns `types.RADAR_FIELDS`; N may be 0.
        settings: limits.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(points).data, digest_size=16).digest()
    signs = _signs(state, digest, len(points), settings)
    streaks = state.streaks.after(stamp_ns, signs)
    lasting = streaks.lasting(stamp_ns, settings.patience)
    if _EMPTY_AS_USUAL in lasting:
        lasting[EMPTY] = lasting.pop(_EMPTY_AS_USUAL)
    is_usual = INTERFERED not in signs and EMPTY not in signs
    counts = (*state.counts[1 - settings.past_scans :], len(points)) if is_usual else state.counts
    if streaks.age_ns(stamp_ns, (INTERFERED,)) > settings.relearn_ns:
        counts = ()
    return RadarState(
        digest=digest, counts=counts, streaks=streaks, faults=MappingProxyType(lasting)
    )


def _signs(state: RadarState, digest: bytes, count: int, settings: RadarSettings) -> list[str]:
    if count == 0:
        usual = float(np.median(state.counts)) if state.counts else 0.0
        return [EMPTY if usual >= settings.quiet_returns else _EMPTY_AS_USUAL]
    signs = []
    if count >= settings.least_repeated and digest == state.digest:
        signs.append(FROZEN)
    if len(state.counts) >= settings.least_past and count >= _clutter_limit(state, settings):
        signs.append(INTERFERED)
    return signs


def _clutter_limit(state: RadarState, settings: RadarSettings) -> float:
    """Return how many returns are far more than usual."""
    counts = np.asarray(state.counts, dtype=np.float64)
    usual = float(np.median(counts))
    above = (
        settings.more_returns,
        settings.more_share * usual,
        settings.more_spreads * float(np.std(counts)),
    )
    return usual + max(above)
