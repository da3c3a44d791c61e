# SPDX-License-Identifier: Apache-2.0
"""Rotation, scale and flips of the whole scene in the bird's eye view (method.md 6).

One `BevChange` acts on everything that has a place in the ego frame: boxes and velocities, radar
returns, LiDAR points, camera poses and cached teacher maps. The changed frame is called
`changed`; a change that mirrors makes a left-handed copy of the scene, which no network can tell
from a right-handed one by its BEV maps.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.geometry import Float64
from imkd_core.recipe import AugmentConfig
from imkd_core.types import Detections

Float32 = NDArray[np.float32]

#: OpenCV warps at most this many channels at once.
_CHANNELS_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class BevChange:
    """First a rotation about z, then a scale about the ego origin, then flips.

    Attributes:
        yaw_rad: rotation of the scene, counter-clockwise.
        scale: factor on all lengths, heights and speeds too.
        flip_x: whether x changes its sign.
        flip_y: whether y changes its sign.
    """

    yaw_rad: float = 0.0
    scale: float = 1.0
    flip_x: bool = False
    flip_y: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self == BevChange()

    @property
    def changed_from_ego(self) -> Float64:
        """(4, 4) transform of homogeneous points; a similarity, mirrored where one flip is on."""
        cos, sin = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        matrix = np.eye(4)
        matrix[:2, :2] = [[cos, -sin], [sin, cos]]
        matrix[:3] *= self.scale
        matrix[0] *= -1.0 if self.flip_x else 1.0
        matrix[1] *= -1.0 if self.flip_y else 1.0
        return matrix

    def apply_to_boxes(self, boxes: Detections) -> Detections:
        """Return boxes of the ego frame in the changed frame.

        Centres, sizes, headings and velocities follow; an unknown velocity stays NaN. The maps in
        `reliability` are left as they are: `warp_map` changes maps.
        """
        if self.is_identity:
            return boxes
        matrix = self.changed_from_ego
        heading = np.stack([np.cos(boxes.yaw_rad), np.sin(boxes.yaw_rad)], axis=-1)
        turned = heading.astype(np.float64) @ matrix[:2, :2].T
        return replace(
            boxes,
            center_m=(boxes.center_m @ matrix[:3, :3].T).astype(np.float32),
            size_m=boxes.size_m * np.float32(self.scale),
            yaw_rad=np.arctan2(turned[:, 1], turned[:, 0]).astype(np.float32),
            velocity_mps=(boxes.velocity_mps @ matrix[:2, :2].T).astype(np.float32),
        )

    def apply_to_points(self, points_ego: NDArray[np.floating]) -> Float32:
        """Return (P, >= 3) points x, y, z, ... in the changed frame; other columns stay."""
        changed = np.array(points_ego, dtype=np.float32)
        if not self.is_identity:
            matrix = self.changed_from_ego[:3, :3].T.astype(points_ego.dtype)
            changed[:, :3] = points_ego[:, :3] @ matrix
        return changed

    def apply_to_radar(self, points_ego: NDArray[np.floating]) -> Float32:
        """Return (P, 7) radar returns (`RADAR_FIELDS`) in the changed frame, velocities too."""
        changed = self.apply_to_points(points_ego)
        if not self.is_identity:
            matrix = self.changed_from_ego[:2, :2].T.astype(points_ego.dtype)
            changed[:, 4:6] = points_ego[:, 4:6] @ matrix
        return changed

    def apply_to_pose(self, ego_from_sensor: Float64) -> Float64:
        """Return (4, 4) `changed_from_sensor`; no rigid transform where lengths are scaled."""
        return ego_from_sensor if self.is_identity else self.changed_from_ego @ ego_from_sensor

    def apply_to_motion(self, past_from_ego: Float64) -> Float64:
        """Return the (2, 3) SE(2) between two frames that are both changed: A T A^-1, metres."""
        if self.is_identity:
            return past_from_ego
        matrix = self.changed_from_ego[:2, :2]
        turned = matrix @ past_from_ego[:, :2] @ np.linalg.inv(matrix)
        return np.column_stack([turned, matrix @ past_from_ego[:, 2]])


def sample_bev_change(rng: np.random.Generator, augment: AugmentConfig) -> BevChange:
    """Draw a change; nothing is drawn from `rng` for what `augment` leaves at 0."""
    yaw_limit = np.deg2rad(augment.bev_yaw_deg)
    return BevChange(
        yaw_rad=float(rng.uniform(-yaw_limit, yaw_limit)) if yaw_limit else 0.0,
        scale=float(1 + augment.bev_scale * rng.uniform(-1, 1)) if augment.bev_scale else 1.0,
        flip_x=bool(augment.flip_x and rng.random() < augment.flip_x),
        flip_y=bool(augment.flip_y and rng.random() < augment.flip_y),
    )


def warp_map(
    values: NDArray[np.floating], grid: BevGrid, change: BevChange, fill: float = 0.0
) -> Float32:
    """Return a BEV map of the ego frame as it stands in the changed frame.

    Bilinear between cell centres; a cell whose origin lies more than half a cell outside the map
    is `fill`, up to there the border repeats. Half turns and flips of a grid that is symmetric
    about the ego origin are exact, and no change returns the same numbers.

    Args:
        values: (C, Y, X) or (Y, X).
        grid: of the map, before and after.
        change: what happened to the scene.
        fill: of cells that show nothing of the map.
    """
    source = np.asarray(values, dtype=np.float32)
    if change.is_identity:
        return source.copy()
    row, column = _source_cells(grid, change)
    flat = np.ascontiguousarray(source.reshape(-1, *grid.shape))
    outside = (row < -0.5) | (row > grid.rows - 0.5)
    outside |= (column < -0.5) | (column > grid.columns - 0.5)
    warped = _warped(flat, row, column)
    warped[:, outside] = fill
    return warped.reshape(source.shape)


@lru_cache(maxsize=8)
def _source_cells(grid: BevGrid, change: BevChange) -> tuple[Float32, Float32]:
    """Return (Y, X) fractional (row, column) of the ego-frame map under each changed cell."""
    ego_from_changed = np.linalg.inv(change.changed_from_ego[:2, :2])
    index = grid.fractional_index(grid.centers() @ ego_from_changed.T)
    nearest = np.rint(index)
    exact = np.where(np.abs(index - nearest) < 1e-6, nearest, index)  # cos(pi / 2) is not 0
    return exact[..., 0].astype(np.float32), exact[..., 1].astype(np.float32)


def _warped(flat: Float32, row: Float32, column: Float32) -> Float32:
    """Return (C, Y, X) maps read at fractional cells; beyond the border the border repeats."""
    warped = np.empty_like(flat)
    for first in range(0, len(flat), _CHANNELS_AT_ONCE):
        chunk = flat[first : first + _CHANNELS_AT_ONCE]
        image = np.ascontiguousarray(chunk.transpose(1, 2, 0))
        read = cv2.remap(image, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        read = np.asarray(read, dtype=np.float32).reshape(*image.shape)
        warped[first : first + _CHANNELS_AT_ONCE] = read.transpose(2, 0, 1)
    return warped
