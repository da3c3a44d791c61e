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

_LOW_BITS = np.int64(0x7FFFFFFF)


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

    @property
    def nbytes(self) -> int:
        """Size of all arrays in memory."""
        arrays = (self.lut_index, self.lut_weight, self.tap_camera, self.frustum_mask)
        return sum(array.nbytes for array in (*arrays, self.camera_params))

    def masked(self, camera_mask: Float32) -> tuple[Int32, Float32]:
        """Return (index, weight) with the weights renormalised over the live cameras.

        Args:
            camera_mask: (N,) 1 for a live camera, 0 for a missing one.
        """
        mask = np.asarray(camera_mask, dtype=np.float32)
        if mask.all():
            return self.lut_index, self.lut_weight
        weight = _normalised(self.lut_weight * mask[self.tap_camera])
        return np.where(weight > 0, self.lut_index, 0).astype(np.int32), weight


class _Taps(NamedTuple):
    """Taps of the P cells that one camera sees, heaviest first."""

    cell: NDArray[np.int64]  # (P,)
    row: Int32  # (P, K) into P flattened
    weight: Float32  # (P, K)


def build_view_geometry(
    cameras: Sequence[tuple[CameraModel, Float64]],
    spec: InputSpec,
    pixel_from_cams: Sequence[Float64] | None = None,
    changed_from_ego: Float64 | None = None,
) -> ViewGeometry:
    """Build the look-up table of a set of cameras.

    Within about 6 m a cell spans more columns and bins than K taps can hold; the lightest are
    left out, which thins the table there and leaves no cell unseen.

    The last two arguments are for training alone. A network image that is rotated by a few
    degrees bends the collapse: a column then stands for the plane through its crossing of the
    reference height, and what lies above or below it in the picture is off by the angle times its
    distance in pixels.

    Args:
        cameras: (calibration, effective `ego_from_cam`) in the order of the network's input; the
            pose includes own motion between the exposure and the reference time, and is used
            instead of the calibration's.
        spec: what the network expects.
        pixel_from_cams: (3, 3) projection into each network image where images were zoomed, turned
            or mirrored; that of `imaging.fit_window` when None.
        changed_from_ego: (4, 4) similarity, mirrored or not, of the whole scene; BEV cells then
            lie in the changed frame, and depth stays that of the real camera.
    """
    if pixel_from_cams is None:
        pixel_from_cams = [fit_window(camera, spec).pixel_from_cam for camera, _ in cameras]
    poses = [(k, pose) for k, (_, pose) in zip(pixel_from_cams, cameras, strict=True)]
    to_pixels = [k @ invert_transform(pose)[:3] for k, pose in poses]
    if changed_from_ego is not None:
        ego_from_changed = np.linalg.inv(changed_from_ego)
        to_pixels = [to_pixel @ ego_from_changed for to_pixel in to_pixels]
        poses = [(k, changed_from_ego @ pose) for k, pose in poses]
    taps = [_camera_taps(number, to_pixel, spec) for number, to_pixel in enumerate(to_pixels)]
    index, weight = _combine(taps, spec)
    height, width = spec.feature_shape
    frustum = [_frustum_mask(k, pose, spec) for k, pose in poses]
    params = [_camera_params(k, pose, spec) for k, pose in poses]
    return ViewGeometry(
        lut_index=index,
        lut_weight=weight,
        tap_camera=index // np.int32(width * spec.depth.count),
        frustum_mask=np.array(frustum, np.float32).reshape(-1, spec.depth.count, height, width),
        camera_params=np.array(params, np.float32).reshape(-1, 16),
        cameras=tuple(cameras),
    )


def _camera_params(pixel_from_cam: Float64, ego_from_cam: Float64, spec: InputSpec) -> Float64:
    """Return the (16,) parameters of a camera.

    A mirrored network image (fx < 0) is the same as a camera whose x axis points the other way,
    so the sign goes into the pose: the network never sees a negative focal length.
    """
    k, pose = pixel_from_cam, np.asarray(ego_from_cam)[:3]
    if k[0, 0] < 0:
        k, pose = k * (-1.0, 1.0, 1.0), pose * (-1.0, 1.0, 1.0, 1.0)
    width, height = spec.image_width_px, spec.image_height_px
    lens = (k[0, 0] / width, k[1, 1] / height, k[0, 2] / width, k[1, 2] / height)
    return np.concatenate([lens, pose.ravel()])


def _frustum_mask(pixel_from_cam: Float64, ego_from_cam: Float64, spec: InputSpec) -> Float32:
    """Return (D, Hf, Wf): whether the centre of bin and feature cell has a height that counts."""
    stride = spec.feature_stride_px
    v, u = (stride * (np.arange(n) + 0.5) - 0.5 for n in spec.feature_shape)
    up_from_pixel = ego_from_cam[2, :3] @ np.linalg.inv(pixel_from_cam)
    rise = up_from_pixel[0] * u[None, :] + up_from_pixel[1] * v[:, None] + up_from_pixel[2]
    depth_m = spec.depth.min_m + spec.depth.step_m * (np.arange(spec.depth.count) + 0.5)
    z_ego = depth_m[:, None, None] * rise + ego_from_cam[2, 3]
    return ((z_ego >= spec.z_min_m) & (z_ego <= spec.z_max_m)).astype(np.float32)


def _camera_taps(number: int, pixel_from_ego: Float64, spec: InputSpec) -> _Taps:
    """Return the taps of one camera."""
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
    return _Taps(cell=cell[is_seen], row=index[is_seen], weight=weight[is_seen])


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
    rank = np.zeros(spec.bev.cells, np.int64)
    for camera in cameras:
        is_alone = count[camera.cell] == 1
        index[camera.cell[is_alone]] = camera.row[is_alone]
        weight[camera.cell[is_alone]] = camera.weight[is_alone]
        shared = _Taps(*(value[~is_alone] for value in camera))
        quota = np.maximum(1, taps // count[shared.cell])[:, None]
        slot = rank[shared.cell][:, None] * quota + np.arange(taps)
        pair, tap = np.nonzero((np.arange(taps) < quota) & (slot < taps))
        index[shared.cell[pair], slot[pair, tap]] = shared.row[pair, tap]
        weight[shared.cell[pair], slot[pair, tap]] = shared.weight[pair, tap]
        rank[shared.cell] += 1
    return index, _normalised(weight)


def _normalised(weight: Float32) -> Float32:
    """Return weights (cells, K) that sum to 1 over each cell that has any."""
    total = np.einsum("ck->c", weight)[:, None]
    return np.asarray(weight / np.where(total > 0, total, np.float32(1)), dtype=np.float32)
