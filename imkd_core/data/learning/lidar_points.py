# SPDX-License-Identifier: Apache-2.0
"""LiDAR points as the teacher takes them: merged sweeps in the ego frame, thinned and padded.

Sources: method.md 4.1 (sweeps), 6 (point drop), 13 (clutter of rain, snow and spray).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.geometry import Float64
from imkd_core.teaching import LIDAR_POINT_COLUMNS, TeacherConfig
from imkd_core.types import LidarCloud

Float32 = NDArray[np.float32]

#: Points with |x| and |y| both below this, in their own sweep, lie on the own vehicle.
OWN_VEHICLE_M = 1.0

#: Clutter: a return nearer than this, darker than this (of 255), with fewer neighbours than this
#: within a radius that grows with its range (method.md 13).
CLUTTER_RANGE_M = 20.0
CLUTTER_REFLECTANCE = 0.04 * 255
CLUTTER_NEIGHBOURS = 3

#: Ranges, and the side of the cube around a return in which its neighbours are counted.
_CLUTTER_BANDS = ((0.0, 5.0, 0.2), (5.0, 10.0, 0.4), (10.0, CLUTTER_RANGE_M, 0.8))

#: Bits of a sort key: cell, chance, index of the point.
_CHANCE_BITS, _INDEX_BITS = 16, 26


class LidarSample(Protocol):
    """What a sample must offer to be read here; `data.nuscenes.reader.SampleRecord` does."""

    def lidar(self, sweeps: int = 1, min_distance_m: float = 0.0) -> tuple[LidarCloud, Float64]:
        """Return merged sweeps in the LiDAR frame of the newest, and `ego_from_lidar`."""
        ...


def read_points(sample: LidarSample, sweeps: int) -> Float32:
    """Read a sample's sweeps, merged in the reference ego frame.

    Args:
        sample: a recorded sample.
        sweeps: the key frame's and those before it.

    Returns:
        (N, 5) x, y, z (metres), intensity 0..255, age (seconds); newest sweep first.

    Raises:
        DataError: a file is missing or malformed.
    """
    cloud, ego_from_lidar = sample.lidar(sweeps, OWN_VEHICLE_M)
    points = np.empty((len(cloud.points), 5), np.float32)
    rotation = ego_from_lidar[:3, :3].T.astype(np.float32)
    points[:, :3] = cloud.points[:, :3] @ rotation + ego_from_lidar[:3, 3].astype(np.float32)
    points[:, 3] = cloud.points[:, 3]
    points[:, 4] = cloud.points[:, 5]
    return points


def within(points: Float32, spec: InputSpec) -> Float32:
    """Return the points that lie on the BEV grid, between the heights of `spec`."""
    grid = spec.bev
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (x >= grid.x_min_m) & (x < grid.x_max_m) & (y >= grid.y_min_m) & (y < grid.y_max_m)
    return points[inside & (z >= spec.z_min_m) & (z <= spec.z_max_m)]


def without_share(points: Float32, largest_share: float, rng: np.random.Generator) -> Float32:
    """Return the points without a random share of them, drawn from 0 to `largest_share`."""
    if largest_share <= 0:
        return points
    share = largest_share * rng.random()
    return points[rng.random(len(points), dtype=np.float32) >= share]


def without_clutter(points: Float32) -> Float32:
    """Return the points without near, dark and lonely ones: drops, flakes, spray (method.md 13).

    Args:
        points: (N, >= 4) x, y, z (metres, ego frame), intensity 0..255.
    """
    range_m = np.hypot(points[:, 0], points[:, 1])
    suspect = (range_m < CLUTTER_RANGE_M) & (points[:, 3] < CLUTTER_REFLECTANCE)
    keep = np.ones(len(points), np.bool_)
    for low_m, high_m, side_m in _CLUTTER_BANDS:
        here = np.flatnonzero(suspect & (range_m >= low_m) & (range_m < high_m))
        if here.size:
            around = np.flatnonzero((range_m >= low_m - side_m) & (range_m < high_m + side_m))
            keep[here] = ~_is_lonely(points[around, :3], points[here, :3], side_m)
    return points[keep]


def _is_lonely(points: Float32, queries: Float32, side_m: float) -> NDArray[np.bool_]:
    """Return which queries share the 3 x 3 x 3 cells around them with too few other points."""
    steps = np.array([1, 1 << 20, 1 << 40], np.int64)
    keys = np.sort(_cells(points, side_m / 3) @ steps)
    query = _cells(queries, side_m / 3) @ steps
    offsets = np.stack(np.meshgrid(*[(0, -1, 1)] * 3), axis=-1).reshape(-1, 3) @ steps
    total = np.full(len(queries), -1, np.int64)  # itself does not count
    lonely = np.arange(len(queries))
    for offset in offsets.tolist():
        wanted = query[lonely] + offset
        total[lonely] += np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted)
        lonely = lonely[total[lonely] < CLUTTER_NEIGHBOURS]
    return total < CLUTTER_NEIGHBOURS


def _cells(points: Float32, cell_m: float) -> NDArray[np.int64]:
    return np.floor(points / cell_m).astype(np.int64) + (1 << 19)


def thinned(
    points: Float32, pillars: BevGrid, max_points: int, rng: np.random.Generator
) -> Float32:
    """Return at most `max_points` points, sorted by pillar, with the crowding of their pillar.

    Every pillar may keep the same number of points, the largest that fits; which ones is chance.
    So the crowded ground near the vehicle goes first, and a far pillar with one return keeps it.

    Args:
        points: (N, 5) points on the grid, see `read_points`.
        pillars: grid of the pillars.
        max_points: of the result.
        rng: chooses among the points of a crowded pillar.

    Returns:
        (M, 6) float32 with columns `LIDAR_POINT_COLUMNS`.
    """
    if len(points) == 0:
        return np.zeros((0, len(LIDAR_POINT_COLUMNS)), np.float32)
    order, pillar = _shuffled_by_pillar(points, pillars, rng)
    starts = np.flatnonzero(np.diff(pillar, prepend=-1))
    counts = np.diff(np.append(starts, len(pillar)))
    rank = np.arange(len(pillar)) - np.repeat(starts, counts)
    kept = np.flatnonzero(rank < _share_of_each(counts, max_points))
    if kept.size > max_points:
        kept = np.sort(rng.permutation(kept)[:max_points])
    log_count = np.repeat(np.log1p(counts), counts)[kept].astype(np.float32)
    return np.concatenate([points[order[kept]], log_count[:, None]], axis=1)


def _shuffled_by_pillar(
    points: Float32, pillars: BevGrid, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of the points, by pillar and by chance within it, and their pillars."""
    column = ((points[:, 0] - pillars.x_min_m) / pillars.cell_m).astype(np.int64)
    row = ((points[:, 1] - pillars.y_min_m) / pillars.cell_m).astype(np.int64)
    # On the grid's upper border float32 may round up into the next cell.
    cell = np.minimum(row, pillars.rows - 1) * pillars.columns
    cell += np.minimum(column, pillars.columns - 1)
    chance = rng.integers(1 << _CHANCE_BITS, size=len(points), dtype=np.int64)
    keys = (cell << (_CHANCE_BITS + _INDEX_BITS)) | (chance << _INDEX_BITS)
    keys = np.sort(keys | np.arange(len(points)))
    return keys & ((1 << _INDEX_BITS) - 1), keys >> (_CHANCE_BITS + _INDEX_BITS)


def _share_of_each(counts: NDArray[np.int64], max_points: int) -> int:
    """Return the largest k for which the sum of min(count, k) does not exceed `max_points`."""
    of_size = np.bincount(counts)
    pillars_above = len(counts) - np.cumsum(of_size)
    total = np.cumsum(np.concatenate([[len(counts)], pillars_above[1:]]))  # at k = 1, 2, ...
    return max(1, int(np.searchsorted(total, max_points, side="right")))


def padded(points: Float32, max_points: int) -> tuple[Float32, NDArray[np.bool_]]:
    """Return (max_points, F) points, zeros behind the last, and which rows are points."""
    result = np.zeros((max_points, points.shape[1]), np.float32)
    result[: len(points)] = points
    return result, np.arange(max_points) < len(points)


def prepare_points(
    points: Float32,
    spec: InputSpec,
    teacher: TeacherConfig,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.generic]]:
    """Return the teacher's inputs by name: `points` (P, F) and `mask` (P,), P = max_points.

    Args:
        points: (N, 5), see `read_points`; changed by a BEV change or not.
        spec: grid and heights.
        teacher: refinement and number of points.
        rng: chooses among the points of crowded pillars.
    """
    grid = spec.bev.refined(teacher.pillar_refinement)
    kept = thinned(within(points, spec), grid, teacher.max_points, rng)
    values, mask = padded(kept, teacher.max_points)
    return {"points": values, "mask": mask}
