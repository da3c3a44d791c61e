# SPDX-License-Identifier: Apache-2.0
"""The view transform's look-up table: which image column and depth feeds which BEV cell.

The network collapses every image column over its height into rows `P[camera, w, d]` and gathers
`BEV[cell] = sum_k weight[cell, k] * P[index[cell, k]]` (runtime.md 2). This module computes index
and weight from the calibration alone, so a recalibration never touches the network.

It pulls: sub-samples of each BEV cell are projected into each camera and read the rows around
them bilinearly, where column w stands for the centre of the feature cell and d for the centre of
the depth bin (method.md 12.6). Collapsing over height needs one height at which a BEV position is
projected. `REFERENCE_HEIGHT_M` is the middle of cars and people; with a camera tilted by one
degree a point 1 m above or below it is off by under 2 cm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.geometry import Float64, invert_transform
from imkd_core.imaging import fit_window
from imkd_core.types import CameraModel

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

#: Height above the ego origin's plane (the ground) at which BEV cells are projected.
REFERENCE_HEIGHT_M = 0.75

#: Sub-samples of a cell in each direction; the second where two of the first are more than one
#: feature column apart, which happens near the car.
SUBSAMPLES = 2
SUBSAMPLES_NEAR = 4


@dataclass(frozen=True, kw_only=True)
class ViewGeometry:
    """Everything in the network's input that depends on the calibration alone.

    Attributes:
        lut_index: (Y*X, K) int32 rows into P flattened as [N, Wf, D]; 0 where the weight is 0.
        lut_weight: (Y*X, K) float32; sums to 1 over a cell that some camera sees, else 0.
        tap_camera: (Y*X, K) int32 camera of each tap.
        frustum_mask: (N, D, Hf, Wf) float32; 1 where the bin's centre lies at a height that counts.
        camera_params: (N, 16) float32; fx/W, fy/H, cx/W, cy/H, `ego_from_cam[:3, :4]` by rows.
        cameras: calibration and effective pose `ego_from_cam` it was built for.
    """

    lut_index: Int32
    lut_weight: Float32
    tap_camera: Int32
    frustum_mask: Float32
    camera_params: Float32
    cameras: tuple[tuple[CameraModel, Float64], ...]

    def masked(self, camera_mask: Float32) -> tuple[Int32, Float32]:
        """Return (index, weight) with the weights renormalised over the live cameras.

        Args:
            camera_mask: (N,) 1 for a live camera, 0 for a missing one.
        """
        mask = np.asarray(camera_mask, dtype=np.float32)
        if mask.all():
            return self.lut_index, self.lut_weight
        weight = self.lut_weight * mask[self.tap_camera]
        total = weight.sum(axis=1, keepdims=True)
        weight /= np.where(total > 0, total, 1)
        return np.where(weight > 0, self.lut_index, 0).astype(np.int32), weight


class _Taps(NamedTuple):
    """Taps of the P cells that one camera sees, heaviest first."""

    cell: NDArray[np.int64]  # (P,)
    index: Int32  # (P, K)
    weight: Float32  # (P, K)


def build_view_geometry(
    cameras: Sequence[tuple[CameraModel, Float64]], spec: InputSpec
) -> ViewGeometry:
    """Build the look-up table of a set of cameras.

    Args:
        cameras: (calibration, effective `ego_from_cam`) in the order of the network's input; the
            pose includes own motion between the exposure and the reference time, and is used
            instead of the calibration's.
        spec: what the network expects.
    """
    taps = [
        _camera_taps(number, _pixel_from_ego(camera, pose, spec), spec)
        for number, (camera, pose) in enumerate(cameras)
    ]
    index, weight = _combine(taps, spec)
    height, width = spec.feature_shape
    frustum = [_frustum_mask(camera, pose, spec) for camera, pose in cameras]
    params = [_camera_params(camera, pose, spec) for camera, pose in cameras]
    return ViewGeometry(
        lut_index=index,
        lut_weight=weight,
        tap_camera=index // np.int32(width * spec.depth.count),
        frustum_mask=np.array(frustum, np.float32).reshape(-1, spec.depth.count, height, width),
        camera_params=np.array(params, np.float32).reshape(-1, 16),
        cameras=tuple(cameras),
    )


def _pixel_from_ego(camera: CameraModel, ego_from_cam: Float64, spec: InputSpec) -> Float64:
    """Return the (3, 4) projection into the network image; its third row gives depth."""
    return fit_window(camera, spec).pixel_from_cam @ invert_transform(ego_from_cam)[:3]


def _camera_params(camera: CameraModel, ego_from_cam: Float64, spec: InputSpec) -> Float64:
    k = fit_window(camera, spec).pixel_from_cam
    width, height = spec.image_width_px, spec.image_height_px
    lens = (k[0, 0] / width, k[1, 1] / height, k[0, 2] / width, k[1, 2] / height)
    return np.concatenate([lens, np.asarray(ego_from_cam)[:3].ravel()])


def _frustum_mask(camera: CameraModel, ego_from_cam: Float64, spec: InputSpec) -> Float32:
    """Return (D, Hf, Wf): whether the centre of bin and feature cell has a height that counts."""
    stride = spec.feature_stride_px
    v, u = (stride * (np.arange(n) + 0.5) - 0.5 for n in spec.feature_shape)
    up_from_pixel = ego_from_cam[2, :3] @ np.linalg.inv(fit_window(camera, spec).pixel_from_cam)
    rise = up_from_pixel[0] * u[None, :] + up_from_pixel[1] * v[:, None] + up_from_pixel[2]
    depth_m = spec.depth.min_m + spec.depth.step_m * (np.arange(spec.depth.count) + 0.5)
    z_ego = depth_m[:, None, None] * rise + ego_from_cam[2, 3]
    return ((z_ego >= spec.z_min_m) & (z_ego <= spec.z_max_m)).astype(np.float32)


def _camera_taps(number: int, pixel_from_ego: Float64, spec: InputSpec) -> _Taps:
    """Return the taps of one camera."""
    column, depth_bin = _project_grid(pixel_from_ego, spec.bev, SUBSAMPLES, spec)
    cell = np.flatnonzero(_visible(column, depth_bin, spec).any(axis=1))
    column, depth_bin = column[cell], depth_bin[cell]
    is_near = np.ptp(column, axis=1) > 1
    far = _window_taps(column[~is_near], depth_bin[~is_near], spec)
    near_cell = cell[is_near]
    column, depth_bin = _project_grid(
        pixel_from_ego, spec.bev, SUBSAMPLES_NEAR, spec, cells=near_cell
    )
    near = _window_taps(column, depth_bin, spec)
    first_row = number * spec.feature_shape[1] * spec.depth.count
    return _Taps(
        cell=np.concatenate([cell[~is_near], near_cell]),
        index=np.concatenate([far[0], near[0]]) + np.int32(first_row),
        weight=np.concatenate([far[1], near[1]]),
    )


def _project_grid(
    pixel_from_ego: Float64,
    bev: BevGrid,
    subsamples: int,
    spec: InputSpec,
    cells: NDArray[np.int64] | None = None,
) -> tuple[Float32, Float32]:
    """Project the sub-samples of BEV cells (all, or some) into one camera.

    Returns:
        (cells, S) feature column and depth bin, fractional: whole numbers are the centres of
        feature cells and bins. Points nearer than the first bin give some bin below -0.5.
    """
    fine = bev.refined(subsamples)
    x = (fine.x_min_m + (np.arange(fine.columns) + 0.5) * fine.cell_m).reshape(-1, subsamples)
    y = (fine.y_min_m + (np.arange(fine.rows) + 0.5) * fine.cell_m).reshape(-1, subsamples)
    if cells is None:
        x, y = x[None, :, None, :], y[:, None, :, None]
    else:
        x, y = x[cells % bev.columns][:, None, :], y[cells // bev.columns][:, :, None]
    matrix = pixel_from_ego[:, [0, 1, 3]].copy()
    matrix[:, 2] += pixel_from_ego[:, 2] * REFERENCE_HEIGHT_M
    x, y = x.astype(np.float32), y.astype(np.float32)
    rows = matrix.astype(np.float32)
    depth_m = rows[2, 0] * x + (rows[2, 1] * y + rows[2, 2])
    u = (rows[0, 0] * x + (rows[0, 1] * y + rows[0, 2])) / np.maximum(depth_m, np.float32(1e-3))
    column = (u + np.float32(0.5)) / np.float32(spec.feature_stride_px) - np.float32(0.5)
    depth_bin = (depth_m - np.float32(spec.depth.min_m)) / np.float32(spec.depth.step_m)
    shape = (-1, subsamples * subsamples)
    return column.reshape(shape), (depth_bin - np.float32(0.5)).reshape(shape)


def _visible(column: Float32, depth_bin: Float32, spec: InputSpec) -> NDArray[np.bool_]:
    """Return which samples lie in the image's width and in the range of depth."""
    width, bins = spec.feature_shape[1], spec.depth.count
    in_width = (column >= -0.5) & (column < width - 0.5)
    return in_width & (depth_bin >= -0.5) & (depth_bin < bins - 0.5)


def _window_taps(column: Float32, depth_bin: Float32, spec: InputSpec) -> tuple[Int32, Float32]:
    """Return the K heaviest bilinear taps (index, weight), each (P, K), of P cells' samples.

    The samples of a cell lie close together, so equal taps are merged by adding them up in a
    small dense window of columns and bins per cell, which needs no sorting.
    """
    width, bins, taps = spec.feature_shape[1], spec.depth.count, spec.lut_taps
    cells = len(column)
    if cells == 0:
        return np.zeros((0, taps), np.int32), np.zeros((0, taps), np.float32)
    visible = _visible(column, depth_bin, spec)
    column, depth_bin = np.where(visible, column, np.nan), np.where(visible, depth_bin, np.nan)
    first = [np.floor(np.nanmin(value, axis=1)) for value in (column, depth_bin)]
    local = [column - first[0][:, None], depth_bin - first[1][:, None]]
    local = [np.where(visible, value, 0) for value in local]
    low = [np.floor(value).astype(np.int32) for value in local]
    high_share = [value - floor for value, floor in zip(local, low, strict=True)]
    size = [int(value.max()) + 2 for value in low]
    start = np.arange(cells, dtype=np.int32)[:, None] * (size[0] * size[1])
    window = np.zeros(cells * size[0] * size[1])
    for step_w, share_w in ((0, 1 - high_share[0]), (1, high_share[0])):
        for step_d, share_d in ((0, 1 - high_share[1]), (1, high_share[1])):
            slot = start + (low[0] + step_w) * size[1] + (low[1] + step_d)
            share = share_w * share_d * visible
            window += np.bincount(slot.ravel(), share.ravel(), minlength=window.size)
    w = first[0].astype(np.int32)[:, None, None] + np.arange(size[0], dtype=np.int32)[:, None]
    d = first[1].astype(np.int32)[:, None, None] + np.arange(size[1], dtype=np.int32)
    inside = (w >= 0) & (w < width) & (d >= 0) & (d < bins)
    weight = (window.reshape(inside.shape) * inside).astype(np.float32).reshape(cells, -1)
    return _heaviest(np.where(inside, w * bins + d, 0).reshape(cells, -1), weight, taps)


def _heaviest(index: Int32, weight: Float32, taps: int) -> tuple[Int32, Float32]:
    """Return the `taps` heaviest columns of each row, heaviest first, padded with weight 0."""
    missing = max(0, taps - weight.shape[1])
    if missing:
        index = np.pad(index, ((0, 0), (0, missing)))
        weight = np.pad(weight, ((0, 0), (0, missing)))
    order = np.argsort(-weight, axis=1, kind="stable")[:, :taps]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(weight, order, axis=1)


def _combine(cameras: list[_Taps], spec: InputSpec) -> tuple[Int32, Float32]:
    """Return (index, weight), each (Y*X, K), of all cameras together.

    Where n cameras see a cell each gets K // n of its taps, so that a cell stays seen as long as
    one of its cameras lives.
    """
    taps = spec.lut_taps
    index = np.zeros((spec.bev.cells, taps), np.int32)
    weight = np.zeros((spec.bev.cells, taps), np.float32)
    count = np.zeros(spec.bev.cells, np.int64)
    for camera in cameras:
        count[camera.cell] += 1
    quota = np.maximum(1, taps // np.maximum(count, 1))
    rank = np.zeros(spec.bev.cells, np.int64)
    for camera in cameras:
        own = quota[camera.cell][:, None]
        slot = rank[camera.cell][:, None] * own + np.arange(taps)
        kept = (np.arange(taps) < own) & (slot < taps) & (camera.weight > 0)
        cell = np.broadcast_to(camera.cell[:, None], slot.shape)
        index[cell[kept], slot[kept]] = camera.index[kept]
        weight[cell[kept], slot[kept]] = camera.weight[kept]
        rank[camera.cell] += 1
    total = weight.sum(axis=1, keepdims=True)
    weight /= np.where(total > 0, total, 1)
    return index, weight
