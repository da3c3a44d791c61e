# SPDX-License-Identifier: Apache-2.0
"""Whether a radar sits where the calibration says: what it sees standing tells how it moves.

A return of something that stands comes nearer exactly as fast as the radar drives towards it:
its radial speed is `-v . u`, with the radar's own velocity v and the line of sight u (Kellner et
al., "Instantaneous ego-motion estimation using Doppler radar", 2013). Calibration and odometry
foretell v scan by scan; that which the returns show is turned against it by the error of the
radar's yaw, and longer by the error of the scale of its speeds. Both errors stay the same while v
changes, so that many scans are fitted as one: what moves as one with or beside the vehicle for a
while, in a queue, is outvoted by what stands.

Sound for radial speeds as the radar measured them. Where a driver took the own motion out, it used
a calibration of its own, and the speeds tell about that one: no error of ours is found, and none is
made up.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.health.faults import TURNED, WRONG_SPEEDS


@dataclass(frozen=True, kw_only=True)
class RadarSettings:
    """Limits of the fit and of the verdict.

    Attributes:
        least_speed_mps: a radar that moves slower tells nothing.
        tolerance_mps: returns within belong to what stands.
        tolerance_share: or within this share of the speeds, where that is more.
        least_standing: returns that must belong to it, and least_share: of all returns.
        least_share: see `least_standing`.
        rival_share: where the foretold motion is that of so large a part of those who agree with
            another one, it is not known which of them stands.
        returns_tried: returns, spread over all scans, whose pairs are tried.
        least_scans: that a verdict needs.
        known_rad: a yaw that is fitted less surely (standard deviation) is not judged, and
            known_share: a scale.
        known_share: see `known_rad`.
        yaw_rad: a larger error of the yaw is told.
        scale: speeds wrong by a larger share are told.
        least_range_m, most_range_m: between them lies the median range of the returns of any
            automotive radar.
    """

    least_speed_mps: float = 3.0
    tolerance_mps: float = 0.4
    tolerance_share: float = 0.04
    least_standing: int = 60
    least_share: float = 0.3
    rival_share: float = 0.2
    returns_tried: int = 24
    least_scans: int = 20
    known_rad: float = float(np.radians(0.4))
    known_share: float = 0.02
    yaw_rad: float = float(np.radians(1.8))
    scale: float = 0.1
    least_range_m: float = 0.8
    most_range_m: float = 350.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Echoes:
    """The returns of one scan, against the motion that was foretold.

    Attributes:
        foretold_mps: (N, 2) radial speeds of standing returns, were all as calibrated; and those
            were the radar to drive to the left of where it does.
        radial_mps: (N,) measured, own motion still in them, positive away.
    """

    foretold_mps: Float64
    radial_mps: Float64


@dataclass(frozen=True, kw_only=True)
class MotionError:
    """The radar's motion as its scans show it, against what was foretold.

    Attributes:
        yaw_rad: of the radar, counter-clockwise: it is turned so much further than calibrated.
        scale: its speeds are so many times the true ones.
        yaw_spread_rad, scale_spread: standard deviations of both.
        share: of the returns that agree.
    """

    yaw_rad: float
    scale: float
    yaw_spread_rad: float
    scale_spread: float
    share: float


def echoes_of(
    azimuth_rad: Float64, radial_mps: Float64, expected_mps: Float64, settings: RadarSettings
) -> Echoes | None:
    """Return what a scan tells; None where the radar is too slow or the scan empty.

    Args:
        azimuth_rad: (N,) of the returns, counter-clockwise from the radar's x axis.
        radial_mps: (N,) speeds as measured, positive away, own motion still in them.
        expected_mps: (2,) velocity of the radar over ground by odometry and calibration, in the
            axes of the radar's frame.
        settings: limits.
    """
    if float(np.hypot(*expected_mps)) < settings.least_speed_mps or not len(azimuth_rad):
        return None
    sight = np.column_stack([np.cos(azimuth_rad), np.sin(azimuth_rad)])
    to_left = np.array([-expected_mps[1], expected_mps[0]])
    foretold = np.column_stack([-sight @ expected_mps, -sight @ to_left])
    return Echoes(foretold_mps=foretold, radial_mps=np.asarray(radial_mps, dtype=np.float64))


def motion_error(scans: Collection[Echoes], settings: RadarSettings) -> MotionError | None:
    """Return the error that all scans together show; None where they tell nothing.

    Args:
        scans: of one radar.
        settings: limits.
    """
    if len(scans) < settings.least_scans:
        return None
    foretold = np.concatenate([scan.foretold_mps for scan in scans])
    radial = np.concatenate([scan.radial_mps for scan in scans])
    tolerance = max(
        settings.tolerance_mps,
        settings.tolerance_share * float(np.percentile(np.abs(radial), 75)),
    )
    motion = _most_agreed(foretold, radial, tolerance, settings)
    if _is_doubtful(foretold, radial, motion, tolerance, settings):
        return None
    for _ in range(3):
        standing = np.abs(foretold @ motion - radial) <= tolerance
        if np.count_nonzero(standing) < settings.least_standing:
            return None
        normal = foretold[standing].T @ foretold[standing]
        if np.linalg.cond(normal) > 1e6:
            return None
        motion = np.linalg.solve(normal, foretold[standing].T @ radial[standing])
    share = float(standing.mean())
    if share < settings.least_share:
        return None
    left_over = foretold[standing] @ motion - radial[standing]
    spread = float(np.std(left_over)) * np.sqrt(np.diag(np.linalg.inv(normal)))
    scale = float(np.hypot(*motion))
    return MotionError(
        # A radar that is turned counter-clockwise sees its motion turned clockwise.
        yaw_rad=-float(np.arctan2(motion[1], motion[0])),
        scale=scale,
        yaw_spread_rad=float(spread[1]) / max(scale, 1e-3),
        scale_spread=float(spread[0]),
        share=share,
    )


def radar_verdict(error: MotionError | None, settings: RadarSettings) -> Verdict | None:
    """Return what cannot be of a radar's calibration; None where it cannot be judged.

    Args:
        error: of many scans.
        settings: limits.
    """
    if error is None or error.scale_spread > settings.known_share * max(1.0, error.scale):
        return None
    if abs(error.scale) < 0.3:
        detail = "what stands seems to move as fast as the vehicle: own motion is taken out twice"
        return Verdict(fault=WRONG_SPEEDS, detail=detail)
    if error.yaw_spread_rad > settings.known_rad:
        return None
    degrees = float(np.degrees(error.yaw_rad))
    if abs(error.scale - 1) > settings.scale:
        detail = f"they are {error.scale:.2f} times those of the odometry"
        if abs(error.scale - 2) < settings.scale:
            detail += ": own motion, which should have been taken out, may still be in them"
        return Verdict(fault=WRONG_SPEEDS, detail=detail)
    if abs(error.yaw_rad) > settings.yaw_rad:
        detail = (
            f"its yaw is off by {degrees:+.1f} degrees, as its returns from standing things show"
        )
        if abs(degrees) > 150:
            detail += " (or the sign of its speeds is wrong)"
        return Verdict(fault=TURNED, detail=detail)
    return Verdict()


def range_fault(ranges_m: Float64, settings: RadarSettings) -> str:
    """Return in words why the ranges of many returns cannot be metres; "" where they can.

    Args:
        ranges_m: (N,) of all returns of many scans.
        settings: limits.
    """
    if len(ranges_m) < settings.least_standing:
        return ""
    middle_m = float(np.median(ranges_m))
    if settings.least_range_m <= middle_m <= settings.most_range_m:
        return ""
    return f"half of its returns lie {'beyond' if middle_m > 1 else 'within'} {middle_m:.3g} m"


def _is_doubtful(
    foretold: Float64,
    radial_mps: Float64,
    motion: Float64,
    tolerance_mps: float,
    settings: RadarSettings,
) -> bool:
    """Return whether a motion far from the foretold one has that as a serious rival."""
    if float(np.hypot(motion[0] - 1, motion[1])) < 0.35:
        return False
    for_it = np.abs(foretold @ motion - radial_mps) <= tolerance_mps
    for_foretold = np.abs(foretold[:, 0] - radial_mps) <= tolerance_mps
    return bool(np.mean(for_foretold) > settings.rival_share * np.mean(for_it))


def _most_agreed(
    foretold: Float64, radial_mps: Float64, tolerance_mps: float, settings: RadarSettings
) -> NDArray[np.float64]:
    """Return the (2,) motion, in units of the foretold one, that most returns agree with.

    That which was foretold is tried first: it wins where another is not clearly better.
    """
    order = np.argsort(foretold[:, 1] / np.maximum(np.abs(foretold).sum(axis=1), 1e-6))
    count = min(settings.returns_tried, len(order))
    chosen = order[np.linspace(0, len(order) - 1, count).round().astype(np.int64)]
    pairs = np.array(list(combinations(chosen.tolist(), 2)), dtype=np.int64).reshape(-1, 2)
    left, right = foretold[pairs[:, 0]], foretold[pairs[:, 1]]
    determinant = left[:, 0] * right[:, 1] - left[:, 1] * right[:, 0]
    is_apart = np.abs(determinant) > 0.1 * np.linalg.norm(left, axis=1) * np.linalg.norm(
        right, axis=1
    )
    left, right, determinant = left[is_apart], right[is_apart], determinant[is_apart]
    one, two = radial_mps[pairs[is_apart, 0]], radial_mps[pairs[is_apart, 1]]
    found = np.column_stack(
        [
            (one * right[:, 1] - two * left[:, 1]) / determinant,
            (two * left[:, 0] - one * right[:, 0]) / determinant,
        ]
    )
    motions = np.concatenate([[[1.0, 0.0]], found])
    agrees = np.abs(motions @ foretold.T - radial_mps) <= tolerance_mps
    return np.asarray(motions[int(agrees.sum(axis=1).argmax())])
