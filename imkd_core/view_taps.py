# SPDX-License-Identifier: Apache-2.0
"""One camera's part of the view transform's table: which of its rows feed which BEV cell.

Nothing in here knows of the other cameras but their number of rows; `view_lut` puts the cameras
together and says what the table is for.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.geometry import Float64

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

#: Height above the ego origin's plane (the ground) at which BEV cells are projected.
REFERENCE_HEIGHT_M = 0.75

#: Sub-samples of a cell in each direction; the second where two of the first are more than one
#: feature column apart, which happens near the car.
SUBSAMPLES = 2
SUBSAMPLES_NEAR = 4

_LOW_BITS = np.int64(0x7FFFFFFF)


class CameraTaps(NamedTuple):
    """Taps of the P cells that one camera sees, heaviest first.

    Attributes:
        cell: (P,) cells, flattened as [Y, X].
        row: (P, K) rows into P flattened as [N, Wf, D].
        weight: (P, K) float32; 0 where there is no tap.
    """

    cell: NDArray[np.int64]
    row: Int32
    weight: Float32


def camera_taps(number: int, pixel_from_ego: Float64, spec: InputSpec) -> CameraTaps:
    """Return the taps of one camera.

    Args:
        number: of the camera in the network's input.
        pixel_from_ego: (3, 4) projection of the ego frame into its network image.
        spec: what the network expects.
    """
    cell = _candidates(pixel_from_ego, spec)
    column, depth_bin = _project_cells(pixel_from_ego, cell, SUBSAMPLES, spec)
    is_far = np.ptp(column, axis=0) <= 1
    far = _window_taps(column[:, is_far], depth_bin[:, is_far], spec)
    near_cell = cell[~is_far]
    near = _window_taps(*_project_cells(pixel_from_ego, near_cell, SUBSAMPLES_NEAR, spec), spec)
    cell = np.concatenate([cell[is_far], near_cell])
    index, weight = (np.concatenate(pair) for pair in zip(far, near, strict=True))
    is_seen = weight[:, 0] > 0
    index[weight > 0] += np.int32(number * spec.feature_shape[1] * spec.depth.count)
    return CameraTaps(cell=cell[is_seen], row=index[is_seen], weight=weight[is_seen])


def _ground_projection(pixel_from_ego: Float64) -> Float64:
    """Return the (3, 3) map of (x, y, 1) at the reference height to depth * (u, v, 1)."""
    matrix = pixel_from_ego[:, [0, 1, 3]].copy()
    matrix[:, 2] += pixel_from_ego[:, 2] * REFERENCE_HEIGHT_M
    return matrix


def _candidates(pixel_from_ego: Float64, spec: InputSpec) -> NDArray[np.int64]:
    """Return the cells of which some part may lie in the field of view.

    The borders of the field of view are lines in the plane of the grid, so a cell is tested by
    its centre and its half width alone.
    """
    bev = spec.bev
    u_depth, _, depth = _ground_projection(pixel_from_ego)
    nearest, farthest = np.zeros(3), np.zeros(3)
    nearest[2], farthest[2] = spec.depth.min_m, spec.depth.max_m
    borders = (
        u_depth + 0.5 * depth,
        (spec.image_width_px - 0.5) * depth - u_depth,
        depth - nearest,
        farthest - depth,
    )
    x = bev.x_min_m + (np.arange(bev.columns) + 0.5) * bev.cell_m
    y = bev.y_min_m + (np.arange(bev.rows) + 0.5) * bev.cell_m
    inside = np.ones(bev.shape, dtype=np.bool_)
    for along_x, along_y, constant in borders:
        reach = bev.cell_m / 2 * (abs(along_x) + abs(along_y)) + 1e-6
        inside &= (along_x * x)[None, :] >= -(along_y * y + constant + reach)[:, None]
    return np.flatnonzero(inside)


def _project_cells(
    pixel_from_ego: Float64, cells: NDArray[np.int64], subsamples: int, spec: InputSpec
) -> tuple[Float64, Float64]:
    """Project S = subsamples**2 samples of each of P cells into one camera.

    Returns:
        (S, P) feature column and depth bin, fractional: whole numbers are the centres of
        feature cells and bins. Points nearer than the first bin give some bin below -0.5.
    """
    bev = spec.bev
    step = (np.arange(subsamples) + 0.5) / subsamples * bev.cell_m
    x = bev.x_min_m + cells % bev.columns * bev.cell_m + np.tile(step, subsamples)[:, None]
    y = bev.y_min_m + cells // bev.columns * bev.cell_m + np.repeat(step, subsamples)[:, None]
    matrix = _ground_projection(pixel_from_ego)
    u_depth = matrix[0, 0] * x + (matrix[0, 1] * y + matrix[0, 2])
    depth_m = matrix[2, 0] * x + (matrix[2, 1] * y + matrix[2, 2])
    u = u_depth / np.maximum(depth_m, 1e-3)
    column = (u + 0.5) / spec.feature_stride_px - 0.5
    return column, (depth_m - spec.depth.min_m) / spec.depth.step_m - 0.5


def _window_taps(column: Float64, depth_bin: Float64, spec: InputSpec) -> tuple[Int32, Float32]:
    """Return the K heaviest bilinear taps (index, weight), each (P, K), of P cells' S samples.

    The samples of a cell lie close together, so equal taps are merged by adding them up in a
    small dense window of columns and bins per cell, which needs no sorting.

    Args:
        column: (S, P) fractional feature columns; samples out of range weigh nothing.
        depth_bin: (S, P) fractional depth bins.
        spec: what the network expects.
    """
    width, bins = spec.feature_shape[1], spec.depth.count
    cells = column.shape[1]
    if cells == 0:
        return np.zeros((0, spec.lut_taps), np.int32), np.zeros((0, spec.lut_taps), np.float32)
    visible = (column >= -0.5) & (column < width - 0.5)
    visible &= (depth_bin >= -0.5) & (depth_bin < bins - 0.5)
    first_w, low_w, share_w = _window_axis(column, visible)
    first_d, low_d, share_d = _window_axis(depth_bin, visible)
    size_w, size_d = int(low_w.max()) + 2, int(low_d.max()) + 2
    corner = (low_w * size_d + low_d) + np.arange(cells) * (size_w * size_d)
    slots, shares = np.empty((2, 2, *column.shape), np.int64), np.empty((2, 2, *column.shape))
    for step_w, along_w in enumerate((visible - share_w, share_w)):
        for step_d, along_d in enumerate((1 - share_d, share_d)):
            np.add(corner, step_w * size_d + step_d, out=slots[step_w, step_d])
            np.multiply(along_w, along_d, out=shares[step_w, step_d])
    summed = np.bincount(slots.ravel(), shares.ravel(), cells * size_w * size_d)
    window: Float64 = summed.astype(np.float64, copy=False).reshape(cells, size_w, size_d)
    w = first_w[:, None] + np.arange(size_w)
    d = first_d[:, None] + np.arange(size_d)
    window *= ((w >= 0) & (w < width))[:, :, None] & ((d >= 0) & (d < bins))[:, None, :]
    index: NDArray[np.int64] = (w * bins)[:, :, None] + d[:, None, :]
    return _heaviest(index.reshape(cells, -1), window.reshape(cells, -1), spec.lut_taps)


def _window_axis(
    value: Float64, visible: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64]:
    """Place samples on one axis of their cell's window; invisible ones at 0.

    Returns:
        (P,) the whole number at which each window starts; (S, P) each sample's lower neighbour,
        counted from there; (S, P) the share of its upper neighbour.
    """
    first = np.floor(np.where(visible, value, np.inf).min(axis=0))
    first = np.where(np.isfinite(first), first, 0)
    local = np.where(visible, value - first, 0)
    low = local.astype(np.int64)
    return first.astype(np.int64), low, local - low


def _heaviest(
    index: NDArray[np.int64], weight: NDArray[np.float64], taps: int
) -> tuple[Int32, Float32]:
    """Return the `taps` heaviest columns of each row, heaviest first, padded with weight 0.

    Weight and index are packed into one integer (positive floats order like their bits), because
    sorting integers is several times faster than sorting indices; equal weights come by index.
    """
    bits = weight.astype(np.float32).view(np.int32).astype(np.int64)
    packed = np.where(bits > 0, (bits << 32) | (_LOW_BITS - index), _LOW_BITS)
    packed.sort(axis=1)
    packed = packed[:, : -taps - 1 : -1]
    heaviest = np.zeros((len(weight), taps), np.float32)
    rows = np.zeros((len(weight), taps), np.int32)
    heaviest[:, : packed.shape[1]] = (packed >> 32).astype(np.int32).view(np.float32)
    rows[:, : packed.shape[1]] = _LOW_BITS - (packed & _LOW_BITS)
    return rows, heaviest
