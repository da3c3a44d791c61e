# SPDX-License-Identifier: Apache-2.0
"""How far a camera is turned against its calibration, by how its pictures move.

A point that stands, seen from two places, lies in one plane with both (the epipolar constraint);
calibration and odometry foretell the plane, and on which side of it the point moves away. Many
points of many pairs of pictures give the small rotation that brings the planes together, and how
well it is known: about the direction of travel it cannot be known while the vehicle drives
straight on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64, invert_transform
from imkd_core.health.calibration_tracks import rays
from imkd_core.health.calibration_upright import UprightSettings
from imkd_core.types import CameraModel

#: A direction is known if so much of it lies in what was fitted.
_KNOWN = 0.9


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """Limits of the fit and of the verdict.

    Attributes:
        least_m, most_m: how far the vehicle moves between the two pictures of a pair.
        least_pairs: that are enough to tell two cameras apart, and turned_pairs: to tell that one
            is turned, or is not.
        turned_pairs: see `least_pairs`.
        least_moving: points that must move, and moving_rad: by more than this.
        moving_rad: see `least_moving`.
        noise_rad: of a ray; smaller residuals are not believed.
        steps: of the fit.
        known_rad: a direction whose rotation is fitted less surely is not judged.
        tried_rad: and one that could not even be fitted so surely, were it not for outliers, is
            not fitted.
        turned_rad: a larger rotation is told, if it fits so much better than none (gain, of the
            mean logarithm of the residuals).
        gain: see `turned_rad`.
        swapped_by: another camera's calibration fits so much better (difference of mean
            logarithms of the residuals), and swapped_share: so many of the moving points.
        swapped_share: see `swapped_by`.
        slight_rad: a rotation up to this is believed where it fits better than another camera.
        sound_share: where more of the moving points move as foretold, no other camera is tried.
        lost_share: where fewer of the moving points move as foretold, the camera looks elsewhere.
        along_share: where so many of the moving points keep to their planes, and so many of them,
            each_way, forth and back, others overtake the vehicle: that is no camera's fault.
        each_way: see `along_share`.
        upright: of the roll on straight roads.
    """

    least_m: float = 0.1
    most_m: float = 2.5
    least_pairs: int = 30
    turned_pairs: int = 60
    least_moving: int = 150
    moving_rad: float = 3.5e-3
    noise_rad: float = 4e-4
    steps: int = 20
    known_rad: float = float(np.radians(0.2))
    tried_rad: float = float(np.radians(0.5))
    turned_rad: float = float(np.radians(1.35))
    gain: float = 0.012
    swapped_by: float = 0.3
    swapped_share: float = 0.6
    slight_rad: float = float(np.radians(20.0))
    sound_share: float = 0.9
    lost_share: float = 0.4
    along_share: float = 0.8
    each_way: float = 0.1
    upright: UprightSettings = field(default_factory=UprightSettings)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Points of two pictures of one camera, and how the vehicle moved between them.

    Attributes:
        before, now: (N, 2) shares of width and height (`calibration_tracks.follow`).
        now_from_before: (4, 4) from the ego frame at the first to that at the second exposure.
        edges: (E, 4) of the second picture (`calibration_upright.upright_edges`); E is 0 in curves.
    """

    before: Float64
    now: Float64
    now_from_before: Float64
    edges: Float64 = field(default_factory=lambda: np.zeros((0, 4)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """The rotation that a camera's calibration lacks, as far as it is known.

    Attributes:
        rotation_rad: (3,) rotation vector in the ego frame: the camera is turned so much further
            than calibrated. Parts that are not known are 0.
        known: (K, 3) unit vectors of the directions that are known; K is 0 to 3.
        share: of the moving points that move as foretold by the calibration as it is.
        along: of them that move in the foretold planes, be it the other way.
        loss: mean logarithm of the residuals that are left after the rotation.
        gain: by so much the part of the rotation that is known makes it smaller.
        moving: number of the moving points.
    """

    rotation_rad: Float64
    known: Float64
    share: float
    along: float
    loss: float
    gain: float
    moving: int

    def knows(self, axis: Float64) -> bool:
        """Return whether a rotation about a (3,) axis of the vehicle is known."""
        return bool(np.linalg.norm(self.known @ axis) >= _KNOWN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sights:
    """M points of all pairs: rays (M, 3) in the camera, and its motion between them."""

    before: Float64
    now: Float64
    turn: Float64
    course: Float64

    def residuals(self, turned: Float64) -> tuple[Float64, Float64]:
        """Return (M,) angles off the planes and (M, 3) what a rotation changes in them."""
        first, second = self.before @ turned.T, self.now @ turned.T
        carried = np.einsum("mij,mj->mi", self.turn, first)
        normal = np.cross(self.course, carried)
        length = np.maximum(np.linalg.norm(normal, axis=1), 0.05)
        returned = np.einsum("mji,mj->mi", self.turn, np.cross(second, self.course))
        slope = np.cross(second, normal) + np.cross(first, returned)
        return (second * normal).sum(axis=1) / length, slope / length[:, None]

    def flow(self) -> tuple[Float64, NDArray[np.bool_]]:
        """Return (M,) how far the points moved, and whether away from where they must come from."""
        carried = np.einsum("mij,mj->mi", self.turn, self.before)
        moved = self.now - carried
        ahead = (self.course * carried).sum(axis=1, keepdims=True) * carried
        is_right = (moved * (self.course - ahead)).sum(axis=1) > 0
        return np.linalg.norm(moved, axis=1), is_right


def turn_of(camera: CameraModel, pairs: Sequence[Pair], settings: CameraSettings) -> Turn | None:
    """Return how much further a camera is turned than calibrated; None where too little moves.

    Args:
        camera: calibration.
        pairs: of its pictures.
        settings: limits.
    """
    sights = sights_of(camera, pairs)
    if sights is None or len(pairs) < settings.least_pairs:
        return None
    share, along, loss, moving = agreement(sights, np.eye(3), settings)
    if moving < settings.least_moving:
        return None
    turned, spread_rad, directions = _fitted(sights, settings)
    known = directions[:, spread_rad < settings.known_rad]
    rotation = known @ known.T @ cv2.Rodrigues(turned)[0].ravel()
    ego_from_cam = camera.ego_from_cam[:3, :3]
    return Turn(
        rotation_rad=ego_from_cam @ rotation,
        known=(ego_from_cam @ known).T,
        share=share,
        along=along,
        loss=agreement(sights, turned, settings)[2],
        gain=loss - agreement(sights, cv2.Rodrigues(rotation)[0], settings)[2],
        moving=moving,
    )


def sights_of(camera: CameraModel, pairs: Sequence[Pair]) -> Sights | None:
    """Return the points of all pairs as rays; None where there are none."""
    counts = [len(pair.before) for pair in pairs]
    if not sum(counts):
        return None
    cam_from_ego = invert_transform(camera.ego_from_cam)
    motions = [cam_from_ego @ pair.now_from_before @ camera.ego_from_cam for pair in pairs]
    courses = [m[:3, 3] / max(float(np.linalg.norm(m[:3, 3])), 1e-9) for m in motions]
    return Sights(
        before=rays(camera, np.concatenate([pair.before for pair in pairs])),
        now=rays(camera, np.concatenate([pair.now for pair in pairs])),
        turn=np.repeat([motion[:3, :3] for motion in motions], counts, axis=0),
        course=np.repeat(courses, counts, axis=0),
    )


def agreement(
    sights: Sights, turned: Float64, settings: CameraSettings
) -> tuple[float, float, float, int]:
    """Return shares of the moving points, the loss, and their number.

    The shares are of those that move as foretold, and that move in their planes either way.
    """
    sights = replace(sights, before=sights.before @ turned.T, now=sights.now @ turned.T)
    moved_rad, is_right = sights.flow()
    moves = moved_rad > settings.moving_rad
    count = int(np.count_nonzero(moves))
    if not count:
        return 0.0, 0.0, np.inf, 0
    off_rad = np.abs(sights.residuals(np.eye(3))[0][moves])
    moved_rad, is_right = moved_rad[moves], is_right[moves]
    keeps = off_rad < 0.1 * moved_rad + settings.noise_rad
    off_rad = np.where(is_right, off_rad, moved_rad + off_rad)
    loss = float(np.log1p((off_rad / (2 * settings.noise_rad)) ** 2).mean())
    return float((keeps & is_right).mean()), float(keeps.mean()), loss, count


def _fitted(sights: Sights, settings: CameraSettings) -> tuple[Float64, Float64, Float64]:
    """Return the (3, 3) rotation, and the (3,) spreads of the columns of (3, 3) directions."""
    turned = np.eye(3)
    for _ in range(settings.steps):
        off_rad, slope = sights.residuals(turned)
        scale = max(1.4826 * float(np.median(np.abs(off_rad))), settings.noise_rad)
        weight = 1 / (1 + (off_rad / (2 * scale)) ** 2) ** 2
        weighted = slope * weight[:, None]
        values, directions = np.linalg.eigh(weighted.T @ slope)
        spread_rad = scale / np.sqrt(np.maximum(values, 1e-12))
        along = directions.T @ (weighted.T @ off_rad) / np.maximum(values, 1e-12)
        # While far off, residuals are large: whether a direction can be told is asked of the noise.
        can_tell = spread_rad * (settings.noise_rad / scale) < settings.tried_rad
        step = -directions @ np.where(can_tell, along, 0.0)
        turned = cv2.Rodrigues(step)[0] @ turned
        if float(np.linalg.norm(step)) < 1e-5:
            break
    return np.asarray(turned, dtype=np.float64), spread_rad, directions
