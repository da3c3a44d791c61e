# SPDX-License-Identifier: Apache-2.0
"""Radar returns as a dense grid of statistics (method.md 3.2): no scatter inside the network."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import RADAR_GRID_CHANNELS
from imkd_core.geometry import Float64, rotate_vectors, transform_points
from imkd_core.types import RADAR_FIELDS, RadarCloud

#: Mean and standard deviation of rcs (dBsm), and the scale of speeds (m/s): statistics of the
#: nuScenes training set as the open CRN code uses them (method.md 3.2).
RCS_MEAN_DBSM = 4.783
RCS_STD_DBSM = 7.576
SPEED_SCALE_MPS = 1.976


class Motion(Protocol):
    """The part of a `Frame` that merging a radar's scans needs."""

    @property
    def stamp_ns(self) -> int:
        """Reference time."""

    def motion_at(self, stamp_ns: int) -> Float64:
        """Return (4, 4) `reference_from_ego` of a stamp."""


def merge_scans(
    clouds: tuple[RadarCloud, ...], ego_from_radar: Float64, frame: Motion
) -> NDArray[np.float32]:
    """Merge scans of one radar in the ego frame of the frame's reference time.

    Positions and velocity vectors are turned into that frame (own motion between the scan and
    the reference included); ages grow by reference stamp - cloud stamp, so that a return that is
    newer than the reference has a negative age.

    Returns:
        (P, 7) float32 with columns `RADAR_FIELDS`; P may be 0.
    """
    merged = [np.zeros((0, len(RADAR_FIELDS)), dtype=np.float32)]
    for cloud in clouds:
        reference_from_radar = frame.motion_at(cloud.stamp_ns) @ ego_from_radar
        points = np.array(cloud.points, dtype=np.float64)
        points[:, :3] = transform_points(reference_from_radar, points[:, :3])
        points[:, 4:6] = rotate_vectors(reference_from_radar, points[:, 4:6])
        points[:, 6] += (frame.stamp_ns - cloud.stamp_ns) * 1e-9
        merged.append(points.astype(np.float32))
    return np.concatenate(merged)


class RadarFrame(Motion, Protocol):
    """The part of a `Frame` that merging all radars needs."""

    @property
    def radars(self) -> Mapping[str, tuple[RadarCloud, ...]]:
        """Name -> scans, newest first."""


def merge_radars(
    frame: RadarFrame, ego_from_radars: Mapping[str, Float64], sweeps: int
) -> NDArray[np.float32]:
    """Return (P, 7) returns of the newest scans of all radars in the reference ego frame."""
    merged = [np.zeros((0, len(RADAR_FIELDS)), dtype=np.float32)]
    for name, clouds in frame.radars.items():
        merged.append(merge_scans(clouds[:sweeps], ego_from_radars[name], frame))
    return np.concatenate(merged)


def radar_statistics(points_ego: NDArray[np.float32], grid: BevGrid) -> NDArray[np.float32]:
    """Return the (12, rows, columns) float32 statistics of the returns in each cell.

    Channels are `config.RADAR_GRID_CHANNELS`: log(1 + count); mean and maximum of the
    normalised rcs; mean vx and vy, largest speed and standard deviation of the radial speed, in
    units of `SPEED_SCALE_MPS`; mean and least age in seconds; mean offset from the cell's centre
    in metres; occupancy. Empty cells are 0. Radial speed is the component of (vx, vy) along the
    horizontal ray from the ego origin to the return. Returns outside the grid are dropped; the
    order of returns does not matter.

    Args:
        points_ego: (P, 7) columns `RADAR_FIELDS` in the ego frame.
        grid: of the statistics, `InputSpec.radar_grid`.
    """
    statistics = np.zeros((len(RADAR_GRID_CHANNELS), grid.cells), dtype=np.float32)
    points = np.asarray(points_ego, dtype=np.float64)
    cells, inside = grid.cell_index(points[:, :2])
    flat = cells[inside, 0] * grid.columns + cells[inside, 1]
    if flat.size == 0:
        return statistics.reshape(-1, *grid.shape)
    order = np.argsort(flat, kind="stable")
    flat, points = flat[order], points[inside][order]
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    occupied = flat[starts]
    center_x = grid.x_min_m + (flat % grid.columns + 0.5) * grid.cell_m
    center_y = grid.y_min_m + (flat // grid.columns + 0.5) * grid.cell_m
    values = _cell_statistics(points, starts, np.stack([center_x, center_y], axis=1))
    for channel, name in enumerate(RADAR_GRID_CHANNELS):
        statistics[channel, occupied] = values[name]
    return statistics.reshape(-1, *grid.shape)


def _cell_statistics(
    points: Float64, starts: NDArray[np.int64], center_xy: Float64
) -> dict[str, Float64]:
    """Return channel -> (cells,) of points sorted by cell; `starts` are the cells' first rows."""
    count = np.diff(starts, append=len(points))

    def mean(value: Float64) -> Float64:
        return np.add.reduceat(value, starts) / count

    rcs = (points[:, 3] - RCS_MEAN_DBSM) / RCS_STD_DBSM
    velocity = points[:, 4:6] / SPEED_SCALE_MPS
    range_m = np.hypot(points[:, 0], points[:, 1])
    ray = points[:, :2] / np.maximum(range_m, 1e-9)[:, None]
    radial = (velocity * ray).sum(axis=1)
    deviation = radial - np.repeat(mean(radial), count)
    offset = points[:, :2] - center_xy
    return {
        "log_count": np.log1p(count),
        "rcs_mean": mean(rcs),
        "rcs_max": np.maximum.reduceat(rcs, starts),
        "vx_mean": mean(velocity[:, 0]),
        "vy_mean": mean(velocity[:, 1]),
        "speed_max": np.maximum.reduceat(np.hypot(velocity[:, 0], velocity[:, 1]), starts),
        "radial_speed_std": np.sqrt(mean(deviation**2)),
        "age_mean": mean(points[:, 6]),
        "age_min": np.minimum.reduceat(points[:, 6], starts),
        "x_offset_mean": mean(offset[:, 0]),
        "y_offset_mean": mean(offset[:, 1]),
        "occupancy": np.ones(len(starts)),
    }
