# SPDX-License-Identifier: Apache-2.0
"""Whether a radar sits where the calibration says: what it sees standing tells how it moves.

A return of something that stands comes nearer exactly as fast as the radar drives towards it:
its radial speed is `-v . u`, with the radar's own velocity v and the line of sight u. Most returns
stand, so v can be fitted to one scan (Kellner et al., "Instantaneous ego-motion estimation using
Doppler radar", 2013). Its direction against that which calibration and odometry foretell is the
error of the radar's yaw; its length is the error of the scale of its speeds.

Sound only for radial speeds as the radar measured them. Where a driver took the own motion out,
it used a calibration of its own, and the speeds tell about that one.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64


@dataclass(frozen=True, kw_only=True)
class DopplerSettings:
    """Limits of the fit and of the verdict.

    Attributes:
        least_speed_mps: a radar that moves slower tells nothing.
        tolerance_mps: returns within belong to what stands.
        tolerance_share: or within this share of the scan's speeds, where that is more.
        least_standing: returns, and least_share: of all returns, that must belong to it.
        least_share: see `least_standing`.
        pairs_of: returns, spread over the scan, whose pairs are tried.
        least_scans: fits that a verdict needs.
        spread_rad: the middle half of the fits must agree so well in yaw, and spread_share: in
            scale; traffic that moves as one beside the vehicle is taken for what stands else.
        spread_share: see `spread_rad`.
        yaw_rad: a larger error of the yaw is told.
        scale: speeds wrong by a larger share are told.
    """

    least_speed_mps: float = 3.0
    tolerance_mps: float = 0.4
    tolerance_share: float = 0.04
    least_standing: int = 8
    least_share: float = 0.4
    pairs_of: int = 20
    least_scans: int = 15
    spread_rad: float = float(np.radians(4.0))
    spread_share: float = 0.15
    yaw_rad: float = float(np.radians(2.0))
    scale: float = 0.1


@dataclass(frozen=True, kw_only=True)
class MotionError:
    """The radar's motion as one scan shows it, against what was foretold.

    Attributes:
        yaw_rad: of the radar, counter-clockwise: it is turned so much further than calibrated.
        scale: its speeds are so many times the true ones.
    """

    yaw_rad: float
    scale: float


def own_velocity(
    azimuth_rad: Float64, radial_mps: Float64, settings: DopplerSettings
) -> NDArray[np.float64] | None:
    """Return the (2,) velocity of a radar in its own frame, from one scan; None where unsure.

    Args:
        azimuth_rad: (N,) of the returns, counter-clockwise from the radar's x axis.
        radial_mps: (N,) speeds as measured, positive away, own motion still in them.
        settings: limits.
    """
    if len(azimuth_rad) < max(settings.least_standing, 2):
        return None
    sight = -np.column_stack([np.cos(azimuth_rad), np.sin(azimuth_rad)])
    standing = _standing(sight, np.argsort(azimuth_rad, kind="stable"), radial_mps, settings)
    least = max(settings.least_standing, settings.least_share * len(azimuth_rad))
    if np.count_nonzero(standing) < least:
        return None
    velocity, _, rank, _ = np.linalg.lstsq(sight[standing], radial_mps[standing], rcond=1e-3)
    return np.asarray(velocity, dtype=np.float64) if rank == 2 else None


def motion_error(
    azimuth_rad: Float64, radial_mps: Float64, expected_mps: Float64, settings: DopplerSettings
) -> MotionError | None:
    """Return the error of one scan; None where it tells nothing.

    Args:
        azimuth_rad: (N,) of the returns in the radar's frame.
        radial_mps: (N,) speeds as measured, positive away.
        expected_mps: (2,) velocity of the radar over ground by odometry and calibration, in the
            axes of the radar's frame.
        settings: limits.
    """
    speed_mps = float(np.hypot(*expected_mps))
    if speed_mps < settings.least_speed_mps:
        return None
    found = own_velocity(azimuth_rad, radial_mps, settings)
    if found is None:
        return None
    # A radar that is turned counter-clockwise sees its motion turned clockwise.
    turned = np.arctan2(expected_mps[1], expected_mps[0]) - np.arctan2(found[1], found[0])
    return MotionError(
        yaw_rad=float(np.arctan2(np.sin(turned), np.cos(turned))),
        scale=float(np.hypot(*found)) / speed_mps,
    )


def verdict(errors: list[MotionError], settings: DopplerSettings) -> tuple[str, ...]:
    """Return what cannot be of a radar's calibration, in words; nothing while it is well.

    Args:
        errors: of many scans.
        settings: limits.
    """
    if len(errors) < settings.least_scans:
        return ()
    directions = np.exp(1j * np.array([error.yaw_rad for error in errors]))
    middle = float(np.angle(np.median(directions.real) + 1j * np.median(directions.imag)))
    around = np.angle(directions * np.exp(-1j * middle))
    yaw_rad = float(np.angle(np.exp(1j * (middle + np.median(around)))))
    low, scale, high = np.percentile([error.scale for error in errors], (25, 50, 75)).tolist()
    spread_rad = float(np.subtract(*np.percentile(around, (75, 25))))
    if spread_rad > settings.spread_rad or high - low > settings.spread_share * scale:
        return ()
    texts = []
    if abs(yaw_rad) > settings.yaw_rad:
        texts.append(
            f"its yaw is off by {np.degrees(yaw_rad):.1f} degrees, as its returns from standing "
            "things show; correct the transform to its frame, look whether two radars are swapped, "
            "and by 180 degrees whether the sign of its speeds is wrong"
        )
    if abs(scale - 1) > settings.scale:
        texts.append(
            f"its speeds are {scale:.2f} times those of the odometry; correct velocity_scale of "
            "the radar, or the odometry"
        )
    return tuple(texts)


def _standing(
    sight: Float64, order: NDArray[np.int64], radial_mps: Float64, settings: DopplerSettings
) -> NDArray[np.bool_]:
    """Return (N,) which returns agree with the velocity that most of them agree with."""
    count = min(settings.pairs_of, len(order))
    chosen = order[np.linspace(0, len(order) - 1, count).round().astype(np.int64)]
    pairs = np.array(list(combinations(chosen.tolist(), 2)))
    first, second = sight[pairs[:, 0]], sight[pairs[:, 1]]
    determinant = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    is_apart = np.abs(determinant) > 0.1
    if not is_apart.any():
        return np.zeros(len(order), dtype=np.bool_)
    first, second, determinant = first[is_apart], second[is_apart], determinant[is_apart]
    one, two = radial_mps[pairs[is_apart, 0]], radial_mps[pairs[is_apart, 1]]
    velocity = np.column_stack(
        [
            (one * second[:, 1] - two * first[:, 1]) / determinant,
            (two * first[:, 0] - one * second[:, 0]) / determinant,
        ]
    )
    fast_mps = float(np.percentile(np.abs(radial_mps), 75))
    tolerance_mps = max(settings.tolerance_mps, settings.tolerance_share * fast_mps)
    agrees = np.abs(velocity @ sight.T - radial_mps) <= tolerance_mps
    return np.asarray(agrees[int(agrees.sum(axis=1).argmax())])
