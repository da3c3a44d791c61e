# SPDX-License-Identifier: Apache-2.0
"""Faults of a camera, picture by picture: pure functions over a state that the caller keeps.

    changes = {name: change(states[name], facts[name], settings) for name in facts}
    states[name] = advance(states[name], stamp_ns, facts[name], changes[name], peers, settings)
    states[name].faults

Blur and cover are judged against the camera's own past, and against what the other cameras went
through at the same time: a tunnel, dusk or fog change all of them, a dirty lens changes one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.health.faults import BLACK, BLURRED, COVERED, FROZEN, OVEREXPOSED
from imkd_core.health.picture import PictureFacts
from imkd_core.health.streaks import Patience, Streaks


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """Limits of the signs; see `benchmarks/sensor_health.py` for what they give.

    Attributes:
        black_level: a picture is black where 99.5 % of its pixels are at most so bright.
        limit_share: share of pixels at the limit of brightness that is over-exposed.
        blur_ratio: sharpness below this times the camera's own past is blurred; where the other
            cameras lost sharpness too, so much less than theirs.
        least_detail: parts of the picture with less detail in the past are not judged.
        flat_detail: a part with more detail than this has not lost it.
        lost_ratio: a part whose detail fell below this times its past has lost it.
        lost_share: share of the judged parts that lost their detail: covered.
        peer_lost_share: by so much more than in the other cameras.
        judged_share: at least so many parts must be judged; else nothing is said.
        past_period_ns: one picture in this time is remembered as the past.
        past_pictures: remembered, so many.
        least_past: pictures that must be remembered before blur and cover are judged.
        relearn_ns: without other cameras to compare with, a change that stayed for so long is the
            new usual.
        patience: fault -> how long its sign must stay.
    """

    black_level: float = 14.0
    limit_share: float = 0.5
    blur_ratio: float = 0.65
    least_detail: float = 4.0
    flat_detail: float = 6.0
    lost_ratio: float = 0.5
    lost_share: float = 0.6
    peer_lost_share: float = 0.35
    judged_share: float = 0.25
    past_period_ns: int = 400_000_000
    past_pictures: int = 16
    least_past: int = 3
    relearn_ns: int = 60_000_000_000
    patience: Mapping[str, Patience] = field(
        default_factory=lambda: MappingProxyType(
            {
                FROZEN: Patience(count=4),
                BLACK: Patience(count=3),
                OVEREXPOSED: Patience(count=3, time_ns=500_000_000),
                COVERED: Patience(count=3, time_ns=1_500_000_000),
                BLURRED: Patience(count=3, time_ns=1_000_000_000),
            }
        )
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """What a camera's pictures were like.

    Attributes:
        newest_ns: stamp of the newest picture in it.
        sharpness: of its pictures, oldest first.
        details: (8, 22) of each of them.
        usual_sharpness: median.
        usual_detail: (8, 22) median.
    """

    newest_ns: int
    sharpness: tuple[float, ...]
    details: tuple[NDArray[np.float32], ...]
    usual_sharpness: float
    usual_detail: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraState:
    """What is remembered of a camera between two pictures.

    Attributes:
        digest: of the newest picture.
        past: None before the first picture.
        streaks: of the signs.
        faults: fault -> stamp of its first sign.
    """

    digest: bytes = b""
    past: Past | None = None
    streaks: Streaks = field(default_factory=Streaks)
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A picture against its camera's past.

    Attributes:
        sharpness: times the usual; 1 where there is no past.
        lost_share: share of the judged parts that lost their detail.
    """

    sharpness: float = 1.0
    lost_share: float = 0.0


def change(state: CameraState, facts: PictureFacts, settings: CameraSettings) -> Change:
    """Return what changed against the camera's past; nothing while there is too little past."""
    past = state.past
    if past is None or len(past.sharpness) < settings.least_past:
        return Change()
    judged = past.usual_detail >= settings.least_detail
    limit = np.minimum(settings.lost_ratio * past.usual_detail, settings.flat_detail)
    lost = judged & (facts.detail < limit)
    enough = np.count_nonzero(judged) >= settings.judged_share * judged.size
    return Change(
        sharpness=facts.sharpness / max(past.usual_sharpness, 1e-3),
        lost_share=float(np.count_nonzero(lost) / np.count_nonzero(judged)) if enough else 0.0,
    )


def peer_change(changes: Sequence[Change]) -> Change | None:
    """Return the median change of the other cameras; None where there are none."""
    if not changes:
        return None
    return Change(
        sharpness=float(np.median([one.sharpness for one in changes])),
        lost_share=float(np.median([one.lost_share for one in changes])),
    )


def advance(
    state: CameraState,
    stamp_ns: int,
    facts: PictureFacts,
    own: Change,
    peers: Change | None,
    settings: CameraSettings,
) -> CameraState:
    """Return the state after one more picture.

    Args:
        state: before it.
        stamp_ns: of the picture, later than those before.
        facts: of the picture.
        own: its change against `state`.
        peers: what the other cameras went through (`peer_change`).
        settings: limits.
    """
    signs = _signs(state, facts, own, peers or Change(), settings)
    streaks = state.streaks.after(stamp_ns, signs)
    past = state.past if signs else _remember(state.past, stamp_ns, facts, settings)
    if peers is None and streaks.age_ns(stamp_ns, (COVERED, BLURRED)) > settings.relearn_ns:
        past = None
    return CameraState(
        digest=facts.digest,
        past=past,
        streaks=streaks,
        faults=MappingProxyType(streaks.lasting(stamp_ns, settings.patience)),
    )


def _signs(
    state: CameraState, facts: PictureFacts, own: Change, peers: Change, settings: CameraSettings
) -> list[str]:
    is_black = facts.bright <= settings.black_level
    is_bright = facts.limit_share >= settings.limit_share
    is_covered = own.lost_share >= max(
        settings.lost_share, peers.lost_share + settings.peer_lost_share
    )
    is_blurred = own.sharpness <= settings.blur_ratio * min(1.0, peers.sharpness)
    signs = {
        FROZEN: facts.digest == state.digest,
        BLACK: is_black,
        OVEREXPOSED: is_bright,
        COVERED: is_covered and not (is_black or is_bright),
        BLURRED: is_blurred and not (is_black or is_bright or is_covered),
    }
    return [fault for fault, is_seen in signs.items() if is_seen]


def _remember(
    past: Past | None, stamp_ns: int, facts: PictureFacts, settings: CameraSettings
) -> Past:
    if past is not None and stamp_ns - past.newest_ns < settings.past_period_ns:
        return past
    keep = settings.past_pictures - 1
    sharpness = (*(past.sharpness[-keep:] if past else ()), facts.sharpness)
    details = (*(past.details[-keep:] if past else ()), facts.detail)
    return Past(
        newest_ns=stamp_ns,
        sharpness=sharpness,
        details=details,
        usual_sharpness=float(np.median(sharpness)),
        usual_detail=np.median(np.stack(details), axis=0).astype(np.float32),
    )
