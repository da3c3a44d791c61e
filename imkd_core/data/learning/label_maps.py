# SPDX-License-Identifier: Apache-2.0
"""True boxes as BEV maps: the label encoder's input and the soft mask M (method.md 4.2, 4.3).

A box fills every cell whose centre lies in its whole rotated footprint, and at least the cell of
its own centre. Where boxes overlap the smaller one lies on top, and centre cells on top of all.
"""

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE
from imkd_core.types import Detections

Float32 = NDArray[np.float32]

#: Least half extents of a box in the soft mask, and the value below which the mask is 0.
MASK_MIN_HALF_M = 0.8
MASK_FLOOR = 0.05


def label_channels(classes: int) -> int:
    """Return the number of channels of `label_maps`: the box code, then one per class."""
    return len(BOX_CODE) + classes


def label_maps(boxes: Detections, grid: BevGrid) -> Float32:
    """Return the label encoder's input.

    Args:
        boxes: true objects in the grid's frame; those whose centre lies off the grid are left out.
        grid: of the maps.

    Returns:
        (10 + classes, Y, X) float32: the box code `config.BOX_CODE` with (dx, dy) from each
        cell's own centre to the box's centre, 0 where a velocity is unknown; then one-hot
        classes. 0 where no box lies.
    """
    maps = np.zeros((label_channels(len(boxes.class_names)), *grid.shape), np.float32)
    centers = grid.centers().astype(np.float32)
    cells, inside = grid.cell_index(boxes.center_m[:, :2])
    largest_first = np.argsort(-boxes.size_m[:, 0] * boxes.size_m[:, 1], kind="stable")
    drawn = [int(index) for index in largest_first if inside[index]]
    for index in drawn:
        window = _window(boxes, index, grid, 0.5)
        along, across = _local(boxes, index, centers[window])
        half = boxes.size_m[index, :2] / 2
        rows, columns = np.nonzero((np.abs(along) <= half[0]) & (np.abs(across) <= half[1]))
        _fill(maps, boxes, index, centers, rows + window[0].start, columns + window[1].start)
    for index in drawn:
        _fill(maps, boxes, index, centers, cells[index, :1], cells[index, 1:])
    return maps


def soft_mask(boxes: Detections, grid: BevGrid) -> Float32:
    """Return the (Y, X) Gaussian mask M of true boxes, 0..1 (method.md 4.3).

    M(p) is the largest exp(-((x' / s_l)^2 + (y' / s_w)^2) / 2) over the boxes, where (x', y') is
    the cell's centre in the box's frame and s half the box's length and width, 0.8 m at least.
    """
    mask = np.zeros(grid.shape, np.float32)
    centers = grid.centers().astype(np.float32)
    reach = float(np.sqrt(-2 * np.log(MASK_FLOOR)))
    for index in range(len(boxes)):
        window = _window(boxes, index, grid, reach / 2)
        along, across = _local(boxes, index, centers[window])
        half = np.maximum(boxes.size_m[index, :2] / 2, MASK_MIN_HALF_M)
        bump = np.exp(-0.5 * ((along / half[0]) ** 2 + (across / half[1]) ** 2))
        np.maximum(mask[window], bump, out=mask[window])
    mask[mask < MASK_FLOOR] = 0
    return mask


def _window(boxes: Detections, index: int, grid: BevGrid, reach: float) -> tuple[slice, slice]:
    """Return rows and columns that hold everything within `reach` extents of a box's centre."""
    extent_m = np.maximum(boxes.size_m[index, :2], 2 * MASK_MIN_HALF_M)
    radius = int(np.ceil(reach * float(np.hypot(*extent_m)) / grid.cell_m)) + 1
    row, column = np.floor(grid.fractional_index(boxes.center_m[index, :2]) + 0.5).astype(int)
    return (
        slice(*np.clip((row - radius, row + radius + 1), 0, grid.rows).tolist()),
        slice(*np.clip((column - radius, column + radius + 1), 0, grid.columns).tolist()),
    )


def _local(boxes: Detections, index: int, centers: Float32) -> tuple[Float32, Float32]:
    """Return cell centres (..., 2) along and across a box's heading, from its centre, metres."""
    offset = centers - boxes.center_m[index, :2]
    cos, sin = np.cos(boxes.yaw_rad[index]), np.sin(boxes.yaw_rad[index])
    along = cos * offset[..., 0] + sin * offset[..., 1]
    return along, -sin * offset[..., 0] + cos * offset[..., 1]


def _fill(
    maps: Float32,
    boxes: Detections,
    index: int,
    centers: Float32,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> None:
    """Write one box into the cells (rows, columns) of all maps, in place."""
    code = np.concatenate(
        [
            boxes.center_m[index],
            np.log(boxes.size_m[index]),
            [np.sin(boxes.yaw_rad[index]), np.cos(boxes.yaw_rad[index])],
            np.nan_to_num(boxes.velocity_mps[index]),
        ]
    )
    maps[:, rows, columns] = 0
    maps[: len(BOX_CODE), rows, columns] = code[:, None]
    maps[:2, rows, columns] -= centers[rows, columns].T
    maps[len(BOX_CODE) + boxes.labels[index], rows, columns] = 1
