# SPDX-License-Identifier: Apache-2.0
"""Whether a camera looks where its calibration says.

What stands moves through its pictures as calibration and odometry foretell (`calibration_turn`).
A rotation about the direction of travel, which straight driving does not show, is told by what is
upright (`calibration_upright`), and what is not known is not judged. Where the pictures of a camera
move as those of another one should, and those of the other one do not move as its own, the two are
swapped. Traffic that fills a picture moves otherwise too: what it may explain has to last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.health.calibration_tracks import Grey, TrackSettings, follow
from imkd_core.health.calibration_turn import (
    CameraSettings,
    Pair,
    Turn,
    agreement,
    sights_of,
    turn_of,
)
from imkd_core.health.calibration_upright import is_level, upright_edges, upright_verdict
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.health.faults import SWAPPED, TURNED
from imkd_core.types import CameraModel


def is_usable(now_from_before: Float64, settings: CameraSettings) -> bool:
    """Return whether the vehicle moved enough between two pictures, and not too much."""
    return settings.least_m <= float(np.linalg.norm(now_from_before[:3, 3])) <= settings.most_m


def pair_of(
    before: Grey,
    now: Grey,
    now_from_before: Float64,
    gap_s: float,
    tracks: TrackSettings,
    settings: CameraSettings,
) -> Pair | None:
    """Return what two pictures of a camera tell; None where that is nothing.

    Args:
        before: the first picture.
        now: the second one, of the same size.
        now_from_before: (4, 4) motion of the ego frame between them.
        gap_s: time between them.
        tracks: of the tracker.
        settings: limits.
    """
    if not is_usable(now_from_before, settings):
        return None
    first, second = follow(before, now, tracks)
    if not len(first):
        return None
    pair = Pair(before=first, now=second, now_from_before=now_from_before)
    if not is_level(now_from_before, gap_s, settings.upright):
        return pair
    return replace(pair, edges=upright_edges(now, settings.upright))


def camera_verdict(
    name: str,
    cameras: Mapping[str, CameraModel],
    pairs_of: Mapping[str, Sequence[Pair]],
    settings: CameraSettings,
) -> Verdict | None:
    """Return what is wrong with a camera's calibration; None where it cannot be judged.

    Args:
        name: of the camera.
        cameras: calibrations of all cameras.
        pairs_of: pairs of its pictures, and of the others' on the same stretch of road, as far as
            there are any: they tell how the vehicle leans, and which of them is no other one.
        settings: limits.
    """
    pairs = pairs_of[name]
    turn = turn_of(cameras[name], pairs, settings)
    if turn is None:
        return None
    angle_rad = float(np.linalg.norm(turn.rotation_rad))
    is_overtaken = _is_overtaken(turn, settings)
    is_unlike = turn.share < settings.sound_share or angle_rad > settings.turned_rad
    if is_unlike and not is_overtaken:
        other = _looks_like(name, cameras, pairs, turn, settings)
        if other and not _is_itself(other, cameras, pairs_of.get(other, ()), settings):
            detail = f"its pictures fit the calibration of '{other}'"
            return Verdict(fault=SWAPPED, detail=detail, is_certain=True)
    if len(pairs) < settings.turned_pairs:
        return None
    if (
        turn.share < settings.lost_share
        and not settings.turned_rad < angle_rad < settings.slight_rad
    ):
        detail = f"only {100 * turn.share:.0f} % of what moves in its pictures moves as foretold"
        lost = Verdict(fault=TURNED, detail=detail, is_certain=True, has_to_last=True)
        return None if is_overtaken else lost
    if angle_rad <= settings.turned_rad:
        return _roll_verdict(name, cameras, pairs_of, turn, settings)
    # A rotation that fits no better is what traffic makes of the fit.
    return Verdict(fault=TURNED, detail=_words(turn)) if turn.gain > settings.gain else None


def _roll_verdict(
    name: str,
    cameras: Mapping[str, CameraModel],
    pairs_of: Mapping[str, Sequence[Pair]],
    turn: Turn,
    settings: CameraSettings,
) -> Verdict:
    """Return what uprights tell of a roll that the motion of the pictures does not tell."""
    if turn.knows(np.eye(3)[0]):
        return Verdict()
    edges = {n: np.concatenate([p.edges for p in found]) for n, found in pairs_of.items() if found}
    others = [(cameras[other], seen) for other, seen in edges.items() if other != name]
    return upright_verdict(cameras[name], edges[name], settings.upright, others)


def _is_itself(
    name: str, cameras: Mapping[str, CameraModel], pairs: Sequence[Pair], settings: CameraSettings
) -> bool:
    """Return whether a camera's pictures fit its own calibration best: then no other is it."""
    losses = {}
    for other, camera in cameras.items():
        sights = sights_of(camera, pairs)
        if sights is None:
            return False
        losses[other] = agreement(sights, np.eye(3), settings)[2]
    return min(losses, key=losses.__getitem__) == name


def _is_overtaken(turn: Turn, settings: CameraSettings) -> bool:
    """Return whether points move to and fro in the foretold planes: traffic and what stands."""
    each_way = min(turn.share, turn.along - turn.share)
    return turn.along >= settings.along_share and each_way >= settings.each_way


def _looks_like(
    name: str,
    cameras: Mapping[str, CameraModel],
    pairs: Sequence[Pair],
    turn: Turn,
    settings: CameraSettings,
) -> str:
    """Return the camera whose calibration fits clearly better than that of `name`, or ""."""
    fits: dict[str, tuple[float, float]] = {}
    for other, camera in cameras.items():
        sights = sights_of(camera, pairs)
        if sights is not None:
            share, _, loss, _ = agreement(sights, np.eye(3), settings)
            fits[other] = (loss, share)
    best = min(fits, key=lambda other: fits[other])
    least = fits[name][0] - settings.swapped_by
    if float(np.linalg.norm(turn.rotation_rad)) < settings.slight_rad:
        least = min(least, turn.loss)
    return best if fits[best][0] < least and fits[best][1] >= settings.swapped_share else ""


def _words(turn: Turn) -> str:
    roll, pitch, yaw = np.degrees(turn.rotation_rad).tolist()
    angle = float(np.degrees(np.linalg.norm(turn.rotation_rad)))
    return (
        f"it is turned by {angle:.1f} degrees against its transform (in the vehicle's axes: roll "
        f"{roll:+.1f}, pitch {pitch:+.1f}, yaw {yaw:+.1f})"
    )
