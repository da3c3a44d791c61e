# SPDX-License-Identifier: Apache-2.0
"""Training targets: CenterPoint heat maps and box codes, and depth bins from LiDAR.

Sources: method.md 3.6 (targets), 5.1 (detection loss) and 5.2 (depth loss).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, HeadSpec, InputSpec
from imkd_core.errors import DataError
from imkd_core.geometry import Float64, invert_transform, project_points, transform_points
from imkd_core.types import Detections

#: Rows of the object list; more boxes in one frame are refused (CenterPoint keeps 500).
MAX_OBJECTS = 500

#: Overlap that a box drawn at the border of its Gaussian must keep, and the smallest radius.
MIN_OVERLAP = 0.1
MIN_RADIUS_CELLS = 2

#: LiDAR returns nearer than this to the image plane are on the own vehicle.
MIN_DEPTH_M = 1.0

#: Points that project farther than this from the origin of pixels come into no changed image.
MAX_PIXEL = 4096


@dataclass(frozen=True, kw_only=True)
class DetectionTargets:
    """What the head should say about one frame.

    Attributes:
        heatmap: (classes, Y, X) float32, 1 at object cells, Gaussian around them.
        cell: (MAX_OBJECTS,) int64 flat cell of each object.
        task: (MAX_OBJECTS,) int64 task group of each object.
        code: (MAX_OBJECTS, 10) float32 regression code, `config.BOX_CODE`.
        code_weight: (MAX_OBJECTS, 10) float32, 0 for padding and for unknown velocities.
        doppler: (MAX_OBJECTS, 4) float32 ux, uy, radial speed, weight; see `data.learning.doppler`.
    """

    heatmap: NDArray[np.float32]
    cell: NDArray[np.int64]
    task: NDArray[np.int64]
    code: NDArray[np.float32]
    code_weight: NDArray[np.float32]
    doppler: NDArray[np.float32]


def make_targets(
    truth: Detections,
    grid: BevGrid,
    head: HeadSpec,
    doppler: NDArray[np.float32] | None = None,
) -> DetectionTargets:
    """Return the detection targets of the true boxes that lie on the grid.

    Args:
        truth: true boxes.
        grid: of the heat maps.
        head: its classes and task groups.
        doppler: (N, 4) what radars say about each of `truth`; None for nothing.

    Raises:
        DataError: the classes are not the head's, or there are more than `MAX_OBJECTS` boxes.
    """
    if truth.class_names != head.class_names:
        raise DataError(f"truth has classes {truth.class_names}, the head {head.class_names}")
    kept, cells = objects_on(truth, grid)
    if kept.size > MAX_OBJECTS:
        raise DataError(f"a frame holds {kept.size} boxes, more than {MAX_OBJECTS}")
    heatmap = np.zeros((len(head.class_names), *grid.shape), np.float32)
    targets = DetectionTargets(
        heatmap=heatmap,
        cell=np.zeros(MAX_OBJECTS, np.int64),
        task=np.zeros(MAX_OBJECTS, np.int64),
        code=np.zeros((MAX_OBJECTS, len(BOX_CODE)), np.float32),
        code_weight=np.zeros((MAX_OBJECTS, len(BOX_CODE)), np.float32),
        doppler=np.zeros((MAX_OBJECTS, 4), np.float32),
    )
    radii = gaussian_radius(truth.size_m[kept, :2] / grid.cell_m)
    for slot, (index, radius) in enumerate(zip(kept, radii, strict=True)):
        row, column = cells[slot]
        draw_gaussian(heatmap[truth.labels[index]], row, column, int(radius))
        targets.cell[slot] = row * grid.columns + column
    targets.task[: kept.size] = np.array(head.task_of_class, np.int64)[truth.labels[kept]]
    code = encode_boxes(truth.select(kept), grid)
    targets.code[: kept.size] = np.nan_to_num(code)
    targets.code_weight[: kept.size] = np.isfinite(code)
    if doppler is not None:
        targets.doppler[: kept.size] = doppler[kept]
    return targets


def objects_on(truth: Detections, grid: BevGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which boxes lie on the grid, in the order of the object list, and their cells.

    Returns:
        (n,) indices into `truth`; (n, 2) cells as (row, column).
    """
    cells, inside = grid.cell_index(truth.center_m[:, :2])
    kept = np.flatnonzero(inside)
    return kept, cells[kept]


def encode_boxes(
    boxes: Detections, grid: BevGrid, cells: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Return the (N, 10) code of boxes; NaN where velocity is unknown.

    Args:
        boxes: in the frame of the grid.
        grid: of the head.
        cells: (N, 2) row and column at which each box is coded; its own when None.
    """
    if cells is None:
        cells, _ = grid.cell_index(boxes.center_m[:, :2])
    offset_cells = grid.fractional_index(boxes.center_m[:, :2]) - cells
    offset_m = offset_cells[:, ::-1] * grid.cell_m
    return np.concatenate(
        [
            offset_m,
            boxes.center_m[:, 2:],
            np.log(boxes.size_m),
            np.sin(boxes.yaw_rad)[:, None],
            np.cos(boxes.yaw_rad)[:, None],
            boxes.velocity_mps,
        ],
        axis=1,
    ).astype(np.float32)


def gaussian_radius(footprint_cells: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the radius in cells of each object's Gaussian.

    The radius is the largest shift of both corners that still leaves `MIN_OVERLAP` between the
    shifted and the true footprint, the smallest over CornerNet's three cases (both corners out,
    both in, one each), as CenterPoint uses it.

    Args:
        footprint_cells: (N, 2) length and width in cells.
    """
    length, width = np.asarray(footprint_cells, np.float64).T
    total, area = length + width, length * width
    one_each = _smaller_root(1.0, total, area * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP))
    both_in = _smaller_root(4.0, 2 * total, (1 - MIN_OVERLAP) * area)
    a, b, c = 4 * MIN_OVERLAP, -2 * MIN_OVERLAP * total, (MIN_OVERLAP - 1) * area
    both_out = (b + np.sqrt(b * b - 4 * a * c)) / (2 * a)
    radius = np.minimum(np.minimum(one_each, both_in), np.abs(both_out))
    return np.maximum(np.floor(radius), MIN_RADIUS_CELLS).astype(np.int64)


def _smaller_root(a: float, b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smaller positive root r of a r^2 - b r + c = 0."""
    return (b - np.sqrt(np.maximum(b * b - 4 * a * c, 0))) / (2 * a)


def draw_gaussian(heatmap: NDArray[np.float32], row: int, column: int, radius: int) -> None:
    """Raise a (Y, X) heat map, in place, to a Gaussian of sigma = diameter / 6 around a cell."""
    steps = np.arange(-radius, radius + 1, dtype=np.float64)
    profile = np.exp(-0.5 * (steps / ((2 * radius + 1) / 6)) ** 2)
    top, left = max(0, radius - row), max(0, radius - column)
    bottom = min(2 * radius + 1, heatmap.shape[0] - row + radius)
    right = min(2 * radius + 1, heatmap.shape[1] - column + radius)
    patch = heatmap[
        row - radius + top : row - radius + bottom, column - radius + left : column - radius + right
    ]
    bump = np.outer(profile[top:bottom], profile[left:right]).astype(np.float32)
    np.maximum(patch, bump, out=patch)


def camera_points(
    points_ego: Float64, pixel_from_cam: Float64, ego_from_cam: Float64
) -> NDArray[np.float32]:
    """Return (P, 3) u, v (pixels) and depth (metres) of the points before a camera.

    They may lie outside its image, because a change may move them inside.
    """
    points_cam = transform_points(invert_transform(ego_from_cam), points_ego)
    pixels, depth_m = project_points(pixel_from_cam, points_cam)
    seen = (depth_m > MIN_DEPTH_M) & (np.abs(pixels) < MAX_PIXEL).all(axis=1)
    return np.concatenate([pixels[seen], depth_m[seen, None]], axis=1).astype(np.float32)


def bins_of_points(
    points: NDArray[np.float32], changed_from_network: Float64, spec: InputSpec
) -> NDArray[np.int64]:
    """Return the (Hf, Wf) depth bins of one camera, as `depth_bins` gives them.

    Args:
        points: (P, 3) u, v in pixels of the unchanged network image, depth in metres.
        changed_from_network: (3, 3) affine map to pixels of the changed network image.
        spec: sizes and bins.
    """
    pixels = points[:, :2] @ changed_from_network[:2, :2].T + changed_from_network[:2, 2]
    return _bins(_nearest_depth(pixels, points[:, 2].astype(np.float64), spec), spec)


def depth_bins(
    points_ego: Float64,
    cameras: Sequence[tuple[Float64, Float64]],
    spec: InputSpec,
) -> NDArray[np.int64]:
    """Return the depth bin of the nearest LiDAR return in each image-feature cell.

    Args:
        points_ego: (P, 3) LiDAR returns in the reference ego frame.
        cameras: for each camera the (3, 3) `pixel_from_cam` of the network image and the (4, 4)
            effective `ego_from_cam`.
        spec: sizes and bins.

    Returns:
        (N, Hf, Wf) int64 bins; -1 where there is no return within the bins' range.
    """
    bins = np.full((len(cameras), *spec.feature_shape), -1, np.int64)
    for camera, (pixel_from_cam, ego_from_cam) in enumerate(cameras):
        points_cam = transform_points(invert_transform(ego_from_cam), points_ego)
        pixels, depth_m = project_points(pixel_from_cam, points_cam)
        bins[camera] = _bins(_nearest_depth(pixels, depth_m, spec), spec)
    return bins


def _bins(nearest_m: NDArray[np.float64], spec: InputSpec) -> NDArray[np.int64]:
    index = np.floor((nearest_m - spec.depth.min_m) / spec.depth.step_m)
    in_range = (index >= 0) & (index < spec.depth.count)
    return np.where(in_range, index, -1).astype(np.int64)


def _nearest_depth(
    pixels: NDArray[np.float64], depth_m: NDArray[np.float64], spec: InputSpec
) -> NDArray[np.float64]:
    """Return the (Hf, Wf) smallest depth per feature cell, infinity where there is none."""
    rows, columns = spec.feature_shape
    in_front = depth_m > MIN_DEPTH_M
    cell = np.floor((pixels[in_front] + 0.5) / spec.feature_stride_px).astype(np.int64)
    inside = ((cell >= 0) & (cell < (columns, rows))).all(axis=1)
    flat = np.full(rows * columns, np.inf)
    target = cell[inside, 1] * columns + cell[inside, 0]
    np.minimum.at(flat, target, depth_m[in_front][inside])
    return flat.reshape(rows, columns)
