# SPDX-License-Identifier: Apache-2.0
"""Lift-splat as it was published, to compare our look-up table with: every point into its cell.

The same arguments and outputs as `imkd_core.model.view_transform.ViewTransform`; the cell of every
point of the frustum comes from the calibration, in float64. Three ways to add the points up: all
of them by `index_add`, only those that lie on the grid (kept points), and by `scatter_add`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from imkd_core.config import InputSpec
from imkd_core.geometry import Float64
from imkd_core.imaging import fit_window
from imkd_core.types import CameraModel

#: How points are added up; the names are for tables.
INDEX_ADD, KEPT, SCATTER = "index_add", "index_add, kept points", "scatter_add"
WAYS = (INDEX_ADD, KEPT, SCATTER)


def point_cells(cameras: Sequence[tuple[CameraModel, Float64]], spec: InputSpec) -> Tensor:
    """Return (N, D, Hf, Wf) int64 cells, flattened as [Y, X]; `spec.bev.cells` = off the grid.

    Args:
        cameras: (calibration, effective `ego_from_cam`) in the order of the network's input.
        spec: what the network expects.
    """
    height, width = spec.feature_shape
    stride, depth = spec.feature_stride_px, spec.depth
    d = depth.min_m + (np.arange(depth.count) + 0.5) * depth.step_m
    v, u = ((np.arange(size) + 0.5) * stride - 0.5 for size in (height, width))
    bins, rows, columns = np.meshgrid(d, v, u, indexing="ij")
    found = []
    for camera, ego_from_cam in cameras:
        k = fit_window(camera, spec).pixel_from_cam
        pixels = np.stack([columns, rows, np.ones_like(bins)], axis=-1)
        points_cam = (pixels @ np.linalg.inv(k).T) * bins[..., None]
        points = points_cam @ ego_from_cam[:3, :3].T + ego_from_cam[:3, 3]
        cells, inside = spec.bev.cell_index(points[..., :2])
        inside &= (points[..., 2] >= spec.z_min_m) & (points[..., 2] < spec.z_max_m)
        flat = cells[..., 0] * spec.bev.columns + cells[..., 1]
        found.append(np.where(inside, flat, spec.bev.cells))
    return torch.from_numpy(np.stack(found).astype(np.int64))


class ExactLss(nn.Module):
    """Splat context by depth onto the BEV grid, point by point.

    Args:
        spec: what the network expects.
        cells: of `point_cells`; part of the graph, as a calibration that never changes.
        way: one of `WAYS`.
        is_mean: divide each cell by the number of image columns and bins that reach it, as the
            look-up table's weights sum to 1; sums as published otherwise.
    """

    order: Tensor
    cells: Tensor
    share: Tensor

    def __init__(
        self, spec: InputSpec, cells: Tensor, way: str = INDEX_ADD, is_mean: bool = False
    ) -> None:
        super().__init__()
        self.bev_shape, self.way, self.count = spec.bev.shape, way, spec.bev.cells
        flat = cells.reshape(-1)
        order = torch.nonzero(flat < self.count)[:, 0] if way == KEPT else torch.arange(0)
        self.register_buffer("order", order)
        self.register_buffer("cells", flat[order] if way == KEPT else flat)
        self.register_buffer("share", _share(cells, self.count, is_mean))

    def forward(
        self,
        depth_logits: Tensor,
        context: Tensor,
        camera_mask: Tensor,
        frustum_mask: Tensor,
        lut_index: Tensor,
        lut_weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return F_cam and e_cam of a batch of one; arguments as `ViewTransform.forward`."""
        del frustum_mask, lut_index, lut_weight  # heights are judged point by point here
        distribution = depth_logits.softmax(dim=2)
        confidence = distribution.amax(dim=2, keepdim=True)
        weight = (distribution * camera_mask[:, :, None, None, None])[0]
        values = torch.cat([context, confidence], dim=2)[0].permute(0, 2, 3, 1)
        points = (weight[..., None] * values[:, None]).reshape(-1, values.shape[-1])
        bev = self._add_up(points)[: self.count] * self.share[:, None]
        maps = bev.transpose(0, 1).reshape(1, -1, *self.bev_shape)
        return maps[:, :-1], maps[:, -1:]

    def _add_up(self, points: Tensor) -> Tensor:
        empty = points.new_zeros(self.count + 1, points.shape[1])
        if self.way == SCATTER:
            return empty.scatter_add(0, self.cells[:, None].expand_as(points), points)
        if self.way == KEPT:
            points = points.index_select(0, self.order)
        return empty.index_add(0, self.cells, points)


def _share(cells: Tensor, count: int, is_mean: bool) -> Tensor:
    """Return what each cell's sum is multiplied with."""
    if not is_mean:
        return torch.ones(count)
    cameras, bins, _, width = cells.shape
    rays = torch.arange(cameras * bins * width).reshape(cameras, bins, 1, width)
    pairs = torch.stack([cells.reshape(-1), rays.expand_as(cells).reshape(-1)])
    reached = torch.unique(pairs, dim=1)[0]
    hits = torch.bincount(reached, minlength=count + 1)[:count]
    return 1 / hits.clamp(min=1).float()
