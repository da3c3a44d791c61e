# SPDX-License-Identifier: Apache-2.0
"""Whether a camera is rolled about the direction of travel: what is upright must look upright.

Driving straight on tells nothing of a rotation about the direction of travel. Walls, poles and door
frames do: the plane through the camera and an upright edge is upright too. Each edge so votes for
the rotation about the vehicle's x axis that would set its plane upright, and the votes of true
uprights agree. Edges below the horizon (lane markings, shadows) have no vote.

The vehicle itself leans: on the crown of a road by a degree, in curves by more. Small angles are
therefore not told, and pictures of curves are no matter of this module's callers. On a slope it
leans forward or back, which tilts the uprights that a camera sees at the side: by more, the nearer
to the vehicle's left or right they stand. All cameras lean with the vehicle: how far it leans is
asked of the others, and a roll that a slope explains as well is not told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imkd_core.geometry import Float64
from imkd_core.health.calibration_tracks import Grey, rays
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.health.faults import TURNED
from imkd_core.types import CameraModel

#: Half the length of an edge, pixels: how far its two places lie from where it was found.
_HALF_PX = 2.0


@dataclass(frozen=True, kw_only=True)
class UprightSettings:
    """Limits.

    Attributes:
        width_px: pictures are scaled down to this width.
        edges: kept of a picture, at most: the sharpest.
        contrast: least change of brightness, levels a pixel.
        horizon: edges whose line of sight rises less (sine of the angle) have no vote.
        lever: and neither have those whose plane a roll turns by a smaller share of itself.
        most_rad: rotations up to here are voted for.
        bin_rad: votes within are one, and blur_bins: standard deviation of their blur.
        blur_bins: see `bin_rad`.
        least_votes: fewer tell nothing.
        near_rad: of the best, votes agree with it: at least so large a share, or they tell nothing.
        least_share: see `near_rad`.
        rolled_rad: a larger rotation is told.
        slope_rad: if no slope up to this, in steps of slope_step_rad, explains the edges of all
            cameras without it: so that slope_share as many votes agree as with the best one.
        slope_step_rad, slope_share: see `slope_rad`.
        asked: edges of each camera, at most, for that.
        most_sideways_mps2: where the vehicle turns harder it leans, and pictures are not asked.
    """

    width_px: int = 352
    edges: int = 480
    contrast: float = 6.0
    horizon: float = -0.02
    lever: float = 0.25
    most_rad: float = float(np.radians(15.0))
    bin_rad: float = float(np.radians(0.2))
    blur_bins: float = 2.5
    least_votes: float = 300.0
    near_rad: float = float(np.radians(1.0))
    least_share: float = 0.17
    rolled_rad: float = float(np.radians(1.7))
    slope_rad: float = float(np.radians(9.0))
    slope_step_rad: float = float(np.radians(0.5))
    slope_share: float = 0.97
    asked: int = 3000
    most_sideways_mps2: float = 1.0


def is_level(now_from_before: Float64, gap_s: float, settings: UprightSettings) -> bool:
    """Return whether a vehicle drives so straight between two pictures that it does not lean.

    Args:
        now_from_before: (4, 4) its motion.
        gap_s: that it took.
        settings: limits.
    """
    if gap_s <= 0:
        return False
    cosine = (float(np.trace(now_from_before[:3, :3])) - 1) / 2
    turn_radps = float(np.arccos(np.clip(cosine, -1.0, 1.0))) / gap_s
    speed_mps = float(np.linalg.norm(now_from_before[:3, 3])) / gap_s
    return turn_radps * speed_mps <= settings.most_sideways_mps2


def upright_edges(grey: Grey, settings: UprightSettings) -> Float64:
    """Return (N, 4) edges of an (h, w) picture that may be upright.

    Returns:
        Two places on each edge, shares of width and height: x, y, x, y; N may be 0.
    """
    if min(grey.shape) < 8:
        return np.zeros((0, 4))
    smooth = cv2.GaussianBlur(_small(grey, settings.width_px), (0, 0), 1.0).astype(np.float32)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32
    along = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32
    steepness = np.hypot(across, along)
    is_edge = (steepness > settings.contrast) & (np.abs(across) > np.abs(along))
    middle = steepness[:, 1:-1]
    is_edge[:, 1:-1] &= (middle >= steepness[:, :-2]) & (middle > steepness[:, 2:])
    is_edge[:3], is_edge[-3:], is_edge[:, :3], is_edge[:, -3:] = False, False, False, False
    row, column = np.nonzero(is_edge)
    if len(row) > settings.edges:
        chosen = np.argpartition(-steepness[row, column], settings.edges)[: settings.edges]
        row, column = row[chosen], column[chosen]
    way = np.column_stack([-along[row, column], across[row, column]]).astype(np.float64)
    way *= _HALF_PX / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    place = np.column_stack([column, row]) + 0.5
    size = np.array(smooth.shape[::-1], dtype=np.float64)
    return np.column_stack([(place - way) / size, (place + way) / size])


def _small(grey: Grey, width_px: int) -> Grey:
    height, width = grey.shape
    if width <= width_px:
        return grey
    size = (width_px, max(1, round(height * width_px / width)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def roll_of(camera: CameraModel, edges: Float64, settings: UprightSettings) -> float | None:
    """Return how far a camera is rolled against its calibration, radians; None if it is not known.

    Args:
        camera: calibration.
        edges: (N, 4) of many of its pictures.
        settings: limits.

    Returns:
        About the vehicle's x axis, from its left to up: so much further than calibrated.
    """
    normal, lever = _planes(camera, edges, settings)
    found = _agreed(normal, lever, 0.0, settings)
    return None if found is None else found[0]


def _planes(
    camera: CameraModel, edges: Float64, settings: UprightSettings
) -> tuple[Float64, Float64]:
    """Return (M, 3) normals in the ego frame of the planes that vote, and (M,) their weights."""
    ego_from_cam = camera.ego_from_cam[:3, :3]
    low, high = (rays(camera, places) @ ego_from_cam.T for places in (edges[:, :2], edges[:, 2:]))
    normal = np.cross(low, high)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    lever = np.hypot(normal[:, 1], normal[:, 2])
    votes = (low[:, 2] > settings.horizon) & (lever > settings.lever)
    return normal[votes], lever[votes]


def _agreed(
    normal: Float64, lever: Float64, slope_rad: float, settings: UprightSettings
) -> tuple[float, float] | None:
    """Return the roll that most votes agree with on a slope, and their weight; None if few do."""
    upward = normal[:, 2] + np.tan(slope_rad) * normal[:, 0]
    # A normal and its opposite are the same plane: that which points to the left is taken.
    lean_rad = np.arctan(upward / np.where(normal[:, 1] == 0, 1e-12, normal[:, 1]))
    count = round(2 * settings.most_rad / settings.bin_rad)
    heard, limits = np.histogram(
        -lean_rad, count, (-settings.most_rad, settings.most_rad), weights=lever
    )
    if heard.sum() < settings.least_votes:
        return None
    reach = round(3 * settings.blur_bins)
    blur = np.exp(-0.5 * (np.arange(-reach, reach + 1) / settings.blur_bins) ** 2)
    smooth = np.convolve(heard, blur / blur.sum(), "same")
    best = int(smooth.argmax())
    half = round(settings.near_rad / settings.bin_rad)
    near = slice(max(best - half, 0), best + half + 1)
    if heard[near].sum() < settings.least_share * heard.sum():
        return None
    middle_rad = (limits[:-1] + limits[1:]) / 2
    roll_rad = float((heard[near] * middle_rad[near]).sum() / heard[near].sum())
    return roll_rad, float(smooth[best])


def _least_roll(
    own: tuple[CameraModel, Float64],
    others: Sequence[tuple[CameraModel, Float64]],
    settings: UprightSettings,
) -> float:
    """Return a camera's roll on that likely slope that explains most of how its edges lean.

    On each slope the edges of the other cameras say how far the vehicle leans to its side, and the
    edges that agree say how likely the slope is.
    """
    planes = [_some_planes(camera, edges, settings) for camera, edges in (own, *others)]
    rest = (
        np.concatenate([np.zeros((0, 3)), *(normal for normal, _ in planes[1:])]),
        np.concatenate([np.zeros(0), *(lever for _, lever in planes[1:])]),
    )
    steps = round(settings.slope_rad / settings.slope_step_rad)
    found = []
    for slope_rad in settings.slope_step_rad * np.arange(-steps, steps + 1):
        if (seen := _agreed(*planes[0], slope_rad, settings)) is not None:
            side_rad, agreed = _agreed(*rest, slope_rad, settings) or (0.0, 0.0)
            found.append((seen[0] - side_rad, seen[1] + agreed))
    least = settings.slope_share * max((agreed for _, agreed in found), default=0.0)
    return min((roll_rad for roll_rad, agreed in found if agreed >= least), key=abs, default=0.0)


def _some_planes(
    camera: CameraModel, edges: Float64, settings: UprightSettings
) -> tuple[Float64, Float64]:
    """Return planes as `_planes` does, of so few edges that many slopes can be tried."""
    every = max(1, -(-len(edges) // settings.asked))
    normal, lever = _planes(camera, edges[::every], settings)
    return normal, every * lever


def upright_verdict(
    camera: CameraModel,
    edges: Float64,
    settings: UprightSettings,
    others: Sequence[tuple[CameraModel, Float64]] = (),
) -> Verdict:
    """Return whether a camera is rolled; all is well where it is not known.

    Args:
        camera: calibration.
        edges: (N, 4) of many of its pictures.
        settings: limits.
        others: the vehicle's other cameras, with edges of the same stretch of road. Without them
            a camera that looks to the side is seldom told: a slope would look the same.
    """
    if roll_of(camera, edges, settings) is None:
        return Verdict()
    least_rad = _least_roll((camera, edges), others, settings)
    if abs(least_rad) <= settings.rolled_rad:
        return Verdict()
    return Verdict(
        fault=TURNED,
        detail="what is upright leans in its pictures: it is rolled by "
        f"{np.degrees(least_rad):+.1f} degrees (about the vehicle's x axis) against its transform",
    )
