# SPDX-License-Identifier: Apache-2.0
"""Whether a radar sees things where the pictures show them.

A point that stands and is followed through a camera's pictures has a place: that where its rays
meet, by calibration and odometry. What stands in a radar's scans lies at the same places, where
both are calibrated. The yaw that brings the returns onto the points is the error of the radar's,
for a camera that is turned is told by its own pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64, invert_transform, transform_points
from imkd_core.health.calibration_radar_map import (
    MapSettings,
    StillScan,
    laid_out,
    sharpest_yaw,
    yaw_verdict,
)
from imkd_core.health.calibration_tracks import rays
from imkd_core.health.calibration_turn import Pair
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.types import CameraModel


@dataclass(frozen=True, kw_only=True)
class ReprojectionSettings:
    """Limits.

    Attributes:
        near_m, far_m: from the camera, between which a place is known well enough.
        apart_rad2: least square of the sine of the angle between the two rays of a point.
        miss: the rays pass each other by no more than this share of the distance.
        low_m, high_m: heights over the base frame at which a radar sees.
        least_points: that a verdict needs.
        cell_m: of the map of points, with blur_cells the standard deviation of its blur.
        blur_cells: see `cell_m`.
        crowd: points in one cell that count, at most.
        common: share of the returns that lie in or beside a cell with points, or tell nothing.
        edge_m: of the map, beyond the outermost points.
        most_side_m: a map with a longer side is not made.
        last_ns: points that were seen so long before a scan do not count.
        map: of the scans, of the search, and of the verdict.
    """

    near_m: float = 2.0
    far_m: float = 35.0
    apart_rad2: float = 2e-6
    miss: float = 0.02
    low_m: float = 0.3
    high_m: float = 3.0
    least_points: int = 150
    cell_m: float = 0.5
    blur_cells: float = 1.2
    crowd: int = 5
    common: float = 0.33
    edge_m: float = 10.0
    most_side_m: float = 600.0
    last_ns: int = 8_000_000_000
    map: MapSettings = field(default_factory=lambda: MapSettings(sharper=0.3))


def places_of(camera: CameraModel, pair: Pair, settings: ReprojectionSettings) -> Float64:
    """Return (N, 3) places of what was followed, in the ego frame at the second picture.

    Args:
        camera: calibration.
        pair: of its pictures.
        settings: limits; what lies beyond them is left out.
    """
    ego_from_cam = camera.ego_from_cam
    motion = invert_transform(ego_from_cam) @ pair.now_from_before @ ego_from_cam
    first, second = rays(camera, pair.before) @ motion[:3, :3].T, rays(camera, pair.now)
    away = motion[:3, 3]
    along = (first * second).sum(axis=1)
    apart = 1 - along**2
    safe = np.maximum(apart, settings.apart_rad2)
    from_first = (second @ away * along - first @ away) / safe
    from_second = (second @ away - first @ away * along) / safe
    place = second * from_second[:, None]
    missed_m = np.linalg.norm(first * from_first[:, None] + away - place, axis=1)
    found = transform_points(ego_from_cam, place)
    is_good = (
        (apart > settings.apart_rad2)
        & (from_second > settings.near_m)
        & (from_second < settings.far_m)
    )
    is_good &= missed_m < settings.miss * from_second
    is_good &= (found[:, 2] > settings.low_m) & (found[:, 2] < settings.high_m)
    return np.asarray(found[is_good])


def reprojection_yaw(
    places_m: Float64, scans: Sequence[StillScan], settings: ReprojectionSettings
) -> float | None:
    """Return by how much a radar is turned against the pictures, radians; None if not known.

    Args:
        places_m: (N, 2) of points of the cameras, in the odometry's frame, of the scans' time.
        scans: of one radar, in the order of time.
        settings: limits.

    Returns:
        Counter-clockwise: it is turned so much further than calibrated.
    """
    if len(places_m) < settings.least_points:
        return None
    corner = places_m.min(axis=0) - settings.edge_m
    size = places_m.max(axis=0) + settings.edge_m - corner
    if size.max() > settings.most_side_m:
        return None
    height, width = (size / settings.cell_m).astype(np.int64) + 1
    cell = ((places_m - corner) / settings.cell_m).astype(np.int64)
    counted = np.bincount(cell[:, 0] * width + cell[:, 1], minlength=height * width)
    crowd = np.minimum(counted, settings.crowd).reshape(height, width).astype(np.float32)
    seen = cv2.GaussianBlur(crowd, (0, 0), settings.blur_cells)

    def hit(field: NDArray[Any], laid_m: Float64) -> NDArray[Any]:
        row, column = np.floor((laid_m - corner) / settings.cell_m).astype(np.int64).T
        is_inside = (row >= 0) & (column >= 0) & (row < height) & (column < width)
        return np.asarray(field[row[is_inside], column[is_inside]])

    yaw_rad = sharpest_yaw(scans, lambda laid_m: float(hit(seen, laid_m).sum()), settings.map)
    if yaw_rad is None:
        return None
    near = cv2.dilate((crowd > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    found = hit(near, laid_out(scans, yaw_rad))
    return yaw_rad if found.size and found.mean() >= settings.common else None


def reprojection_verdict(
    yaws_rad: Sequence[float], settings: ReprojectionSettings
) -> Verdict | None:
    """Return whether a radar is turned against the pictures; None where that is not known.

    Args:
        yaws_rad: `reprojection_yaw` of one radar, each of other scans.
        settings: limits.
    """
    shown = " against the pictures: it sees standing things beside where they show them"
    return yaw_verdict(yaws_rad, settings.map, shown)
