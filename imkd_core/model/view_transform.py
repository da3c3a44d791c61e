# SPDX-License-Identifier: Apache-2.0
"""Image cells to the bird's-eye view: column collapse, then a gather of K taps per BEV cell.

Lift-splat without a scatter (method.md 3.1): within one image column and depth bin the height
is summed by a matrix product, which leaves one row per camera, column and bin; each BEV cell then
gathers K of these rows with the weights of `imkd_core.view_lut`. All calibration is data.
"""

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn


def collapse_columns(
    depth: Float[Tensor, "B N D Hf Wf"], context: Float[Tensor, "B N C Hf Wf"]
) -> Float[Tensor, "B P C"]:
    """Return sum over h of depth * context, as P = N * Wf * D rows ordered camera, column, bin."""
    batch, cameras, bins, height, width = depth.shape
    channels = context.shape[2]
    depth_rows = depth.permute(0, 1, 4, 2, 3).reshape(-1, bins, height)
    # In two steps, rows of channels first: runtimes are several times slower at it in one.
    cells = context.flatten(3).transpose(2, 3).reshape(batch, cameras, height, width, channels)
    context_rows = cells.transpose(2, 3).reshape(-1, height, channels)
    rows = torch.bmm(depth_rows, context_rows)
    return rows.reshape(batch, cameras * width * bins, channels)


def gather_cells(
    rows: Float[Tensor, "P C"],
    lut_index: Int32[Tensor, "cells K"],
    lut_weight: Float[Tensor, "cells K"],
) -> Float[Tensor, "cells C"]:
    """Return the weighted sum of each cell's K rows."""
    cells, taps = lut_index.shape
    taken = rows.index_select(0, lut_index.reshape(-1)).reshape(cells, taps, -1)
    return torch.bmm(lut_weight[:, None, :], taken)[:, 0]


class ViewTransform(nn.Module):
    """Splat context by depth onto the BEV grid, with the confidence of the depth as a last channel.

    Args:
        bev_shape: (Y, X).
    """

    def __init__(self, bev_shape: tuple[int, int]) -> None:
        super().__init__()
        self.bev_shape = bev_shape

    def forward(
        self,
        depth_logits: Float[Tensor, "B N D Hf Wf"],
        context: Float[Tensor, "B N C Hf Wf"],
        camera_mask: Float[Tensor, "B N"],
        frustum_mask: Float[Tensor, "B N D Hf Wf"],
        lut_index: Int32[Tensor, "B cells K"],
        lut_weight: Float[Tensor, "B cells K"],
    ) -> tuple[Float[Tensor, "B C Y X"], Float[Tensor, "B 1 Y X"]]:
        """Return F_cam and e_cam, the splatted peak of the depth distribution.

        The softmax stays in float32; a masked camera contributes exactly nothing.
        """
        distribution = depth_logits.float().softmax(dim=2).to(context.dtype)
        confidence = distribution.amax(dim=2, keepdim=True)
        live = frustum_mask * camera_mask[:, :, None, None, None]
        rows = collapse_columns(distribution * live, torch.cat([context, confidence], dim=2))
        cells = torch.stack(
            [gather_cells(rows[b], lut_index[b], lut_weight[b]) for b in range(lut_index.shape[0])]
        )
        bev = cells.transpose(1, 2).reshape(cells.shape[0], -1, *self.bev_shape)
        return bev[:, :-1], bev[:, -1:]
