# SPDX-License-Identifier: Apache-2.0
"""Whether a radar is turned, told by where it sees things that stand: they stay in their place.

Laid over each other by calibration and odometry, the scans of some seconds make a map. Where the
yaw of the radar is wrong, things wander as the vehicle passes and the map blurs; the yaw that makes
it sharpest is the true one. No speeds are needed but to leave out what moves, so this also tells of
radars whose driver has taken the own motion out by a calibration of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imkd_core.geometry import Float64
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.health.faults import TURNED
from imkd_core.types import RadarCloud


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """Limits.

    Attributes:
        scans: that a map is made of, the newest, and least_scans: that a verdict needs.
        least_scans: see `scans`.
        new_scans: after so many a map is made again.
        span_m: and the vehicle must have come so far; most_side_m: but not farther, as it seems to
            where the odometry begins anew.
        most_side_m: see `span_m`.
        still_mps: what is faster over ground, along the line of sight, is left out.
        near_m, far_m: ranges of the returns that count.
        returns: that a map is made of, at most, and least_returns: at least.
        least_returns: see `returns`.
        cell_m: of the map, and blur_cells: standard deviation of its blur.
        blur_cells: see `cell_m`.
        most_rad: rotations up to here are tried, in steps of step_rad.
        step_rad: see `most_rad`.
        sharper: the best map is by this share sharper than the worst, or tells nothing.
        maps: whose yaws are averaged, the newest, and least_maps: that a verdict needs.
        least_maps: see `maps`.
        yaw_rad: a larger error of the yaw is told.
    """

    scans: int = 90
    least_scans: int = 70
    new_scans: int = 70
    span_m: float = 15.0
    most_side_m: float = 800.0
    still_mps: float = 0.5
    near_m: float = 1.0
    far_m: float = 40.0
    returns: int = 2500
    least_returns: int = 300
    cell_m: float = 0.35
    blur_cells: float = 1.2
    most_rad: float = float(np.radians(8.0))
    step_rad: float = float(np.radians(1.0))
    sharper: float = 0.2
    maps: int = 3
    least_maps: int = 2
    yaw_rad: float = float(np.radians(2.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class StillScan:
    """What stands in one scan.

    Attributes:
        places_m: (N, 2) in the radar's frame.
        odom_from_radar: (4, 4) by odometry and calibration.
    """

    places_m: Float64
    odom_from_radar: Float64


def still_scan(scan: RadarCloud, odom_from_radar: Float64, settings: MapSettings) -> StillScan:
    """Return what stands in a scan.

    Args:
        scan: with speeds over ground.
        odom_from_radar: (4, 4) by odometry and calibration.
        settings: limits.
    """
    points = np.asarray(scan.points, dtype=np.float64)
    range_m = np.hypot(points[:, 0], points[:, 1])
    speed_mps = np.hypot(points[:, 4], points[:, 5])
    is_near = (range_m > settings.near_m) & (range_m < settings.far_m)
    chosen = points[is_near & (speed_mps < settings.still_mps), :2]
    return StillScan(places_m=chosen, odom_from_radar=odom_from_radar)


def map_yaw(scans: Sequence[StillScan], settings: MapSettings) -> float | None:
    """Return by how much a radar is turned against its calibration, radians; None if not known.

    Args:
        scans: of one radar, in the order of time.
        settings: limits.

    Returns:
        Counter-clockwise: it is turned so much further than calibrated.
    """
    return sharpest_yaw(scans, lambda laid_m: _sharpness(laid_m, settings), settings)


def sharpest_yaw(
    scans: Sequence[StillScan], sharpness: Callable[[Float64], float], settings: MapSettings
) -> float | None:
    """Return the yaw by which a radar's returns are to be turned to fit best, radians.

    Args:
        scans: of one radar, in the order of time.
        sharpness: how well (N, 2) returns fit, laid out in the odometry's frame, metres.
        settings: limits.

    Returns:
        Counter-clockwise; None where there is too little, or nothing fits clearly better.
    """
    if len(scans) < settings.least_scans or _span_m(scans) < settings.span_m:
        return None
    if _side_m(scans) > settings.most_side_m:
        return None
    places, poses = _returns(scans)
    if len(places) < settings.least_returns:
        return None
    if len(places) > settings.returns:
        chosen = np.linspace(0, len(places) - 1, settings.returns).round().astype(np.int64)
        places, poses = places[chosen], poses[chosen]
    half = round(settings.most_rad / settings.step_rad)
    tried_rad = np.arange(-half, half + 1) * settings.step_rad
    fits = np.array([sharpness(_laid(places, poses, yaw)) for yaw in tried_rad])
    best = int(fits.argmax())
    is_clear = fits[best] > (1 + settings.sharper) * fits.min()
    if not is_clear or best in (0, len(tried_rad) - 1):
        return None
    left, middle, right = fits[best - 1 : best + 2]
    return float(tried_rad[best] + settings.step_rad * _vertex(left, middle, right))


def laid_out(scans: Sequence[StillScan], yaw_rad: float) -> Float64:
    """Return (N, 2) returns in the odometry's frame, were the radar turned so much further.

    Args:
        scans: of one radar.
        yaw_rad: counter-clockwise.
    """
    return _laid(*_returns(scans), yaw_rad)


def map_verdict(yaws_rad: Sequence[float], settings: MapSettings) -> Verdict | None:
    """Return whether a radar is turned; None where that is not known.

    Args:
        yaws_rad: `map_yaw` of one radar's maps, each of other scans.
        settings: limits.
    """
    shown = ", as things show that stand and do not stay in their place"
    return yaw_verdict(yaws_rad, settings, shown)


def yaw_verdict(yaws_rad: Sequence[float], settings: MapSettings, shown: str) -> Verdict | None:
    """Return what the errors of a radar's yaw mean; None where too few are known.

    One stretch of road is off by about a degree of its own: what stands there, and where.

    Args:
        yaws_rad: counter-clockwise, each of other scans.
        settings: limits.
        shown: by what, behind "its yaw is off by ... degrees".
    """
    if len(yaws_rad) < settings.least_maps:
        return None
    yaw_rad = float(np.mean(yaws_rad))
    if abs(yaw_rad) <= settings.yaw_rad:
        return Verdict()
    detail = f"its yaw is off by {np.degrees(yaw_rad):+.1f} degrees{shown}"
    return Verdict(fault=TURNED, detail=detail)


def _span_m(scans: Sequence[StillScan]) -> float:
    away = scans[-1].odom_from_radar[:3, 3] - scans[0].odom_from_radar[:3, 3]
    return float(np.linalg.norm(away))


def _side_m(scans: Sequence[StillScan]) -> float:
    """Return the longer side of what the vehicle drove through."""
    places = np.array([scan.odom_from_radar[:2, 3] for scan in scans])
    return float(np.ptp(places, axis=0).max())


def _returns(scans: Sequence[StillScan]) -> tuple[Float64, Float64]:
    """Return (N, 2) places in the radar's frame, and (N, 4, 4) poses, of all returns."""
    counts = [len(scan.places_m) for scan in scans]
    places = np.concatenate([scan.places_m for scan in scans])
    return places, np.repeat([scan.odom_from_radar for scan in scans], counts, axis=0)


def _laid(places_m: Float64, poses: Float64, yaw_rad: float) -> Float64:
    """Return (N, 2) places in the odometry's frame, were the radar turned so much further."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    turned = places_m @ np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray(np.einsum("nij,nj->ni", poses[:, :2, :2], turned) + poses[:, :2, 3])


def _sharpness(laid_m: Float64, settings: MapSettings) -> float:
    """Return how well returns fall onto each other."""
    cell = np.rint((laid_m - laid_m.min(axis=0)) / settings.cell_m).astype(np.int64) + 3
    height, width = (cell.max(axis=0) + 4).tolist()
    counted = np.bincount(cell[:, 0] * width + cell[:, 1], minlength=height * width)
    heard = counted.reshape(height, width).astype(np.float32)
    blurred = cv2.GaussianBlur(heard, (0, 0), settings.blur_cells)
    return float((blurred * heard).sum())


def _vertex(left: float, middle: float, right: float) -> float:
    """Return where a parabola through three values has its top: -0.5 to 0.5 of a step."""
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0
