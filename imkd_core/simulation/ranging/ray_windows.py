# SPDX-License-Identifier: Apache-2.0
"""Between which beams and azimuths of a full turn a body's box lies (see `ray_casting`)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Snapshot

Indices = NDArray[np.int64]


def body_windows(
    snapshot: Snapshot, global_from_sensor: Float64, elevation_rad: Float64, azimuths: int
) -> Iterator[tuple[int, float, Indices]]:
    """Give (placed, least range, rays) of the window in which each body's box lies, near first."""
    if not snapshot.placed:
        return
    corners = _box_corners(snapshot, global_from_sensor)  # (B, 8, 3)
    near_m, far_m, around = _horizontal_reach(corners)
    low, high = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
    lowest = np.arctan2(low, np.where(low > 0, far_m, near_m)) - 1e-4
    highest = np.arctan2(high, np.where(high > 0, near_m, far_m)) + 1e-4
    first_beam = np.searchsorted(elevation_rad, lowest)
    end_beam = np.searchsorted(elevation_rad, highest, side="right")
    middle = np.arctan2(corners[..., 1].mean(axis=1), corners[..., 0].mean(axis=1))
    angle = np.arctan2(corners[..., 1], corners[..., 0]) - middle[:, None]
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    step = 2 * np.pi / azimuths
    first = np.floor((middle + angle.min(axis=1)) / step).astype(np.int64)
    end = np.ceil((middle + angle.max(axis=1)) / step).astype(np.int64) + 1
    first, end = np.where(around, 0, first), np.where(around, azimuths, end)
    for index in np.argsort(near_m, kind="stable"):
        beams = np.arange(first_beam[index], end_beam[index])
        columns = np.arange(first[index], min(end[index], first[index] + azimuths)) % azimuths
        if len(beams):
            yield int(index), float(near_m[index]), (beams[:, None] * azimuths + columns).ravel()


def _box_corners(snapshot: Snapshot, global_from_sensor: Float64) -> Float64:
    """Return (B, 8, 3) corners of all boxes in the sensor frame; the first four are the floor."""
    signs = np.array([[x, y, z] for z in (-1, 1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    sizes = np.array([placed.body.shape.size_m for placed in snapshot.placed])
    poses = np.array([placed.global_from_body for placed in snapshot.placed])
    corners = np.einsum("bij,bcj->bci", poses[:, :3, :3], signs * sizes[:, None, :] / 2)
    corners += poses[:, None, :3, 3] - global_from_sensor[:3, 3]
    return corners @ global_from_sensor[:3, :3]


def _horizontal_reach(corners: Float64) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    """Return (B,) least and largest distance from the axis, and whether a box goes around it."""
    pairs = np.array([(i, j) for i in range(8) for j in range(i + 1, 8)])
    a, b = corners[:, pairs[:, 0], :2], corners[:, pairs[:, 1], :2]
    along = b - a
    length = np.maximum((along**2).sum(axis=-1), 1e-12)
    share = np.clip(-(a * along).sum(axis=-1) / length, 0, 1)
    near_m = np.linalg.norm(a + share[..., None] * along, axis=-1).min(axis=1)
    far_m = np.linalg.norm(corners[..., :2], axis=-1).max(axis=1)
    angle = np.sort(np.arctan2(corners[..., 1], corners[..., 0]), axis=1)
    gap = np.diff(angle, axis=1, append=angle[:, :1] + 2 * np.pi).max(axis=1)
    around = gap <= np.pi
    return np.where(around, 1e-3, np.maximum(near_m, 1e-3)), far_m, around
