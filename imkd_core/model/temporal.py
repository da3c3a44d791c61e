# SPDX-License-Identifier: Apache-2.0
"""Maps of earlier frames, moved by own motion and merged with the present one (method.md 3.5).

The recipe's plain form, F_fus = ReLU(BN(conv3x3(concat_t warp(F_mrg[t])))), has to be trained from
the start: behind a fitted student its random weights would hand the trunk a map that it has never
seen. Here the same convolution makes a residual,

    F_fus = ReLU(F_mrg + BN(conv3x3([F_mrg, warped maps, validity planes, age planes])))

whose norm starts with gamma 0, so that a single-frame student is continued from where it is, and
what is missing from the memory costs nothing but what the memory gave. Cost and inputs of the
convolution are the same but for two planes a map.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.model.layers import init_weights


class HistoryAlignment(nn.Module):
    """Read remembered maps where the present cells lie in them: bilinear, zero outside.

    One implementation for training and vehicle, in float32 whatever the network runs in: the
    places are offsets from the cells' own, so that a vehicle at rest reads its maps unchanged.

    Args:
        bev: grid of the maps.
    """

    columns: Tensor
    rows: Tensor

    def __init__(self, bev: BevGrid) -> None:
        super().__init__()
        self.bev = bev
        # Whole numbers: a conversion to float16 would round centres in metres.
        for name, count in (("columns", bev.columns), ("rows", bev.rows)):
            self.register_buffer(name, torch.arange(count, dtype=torch.int32), persistent=False)

    def forward(
        self,
        history: Float[Tensor, "B K C Y X"],
        history_transform: Float[Tensor, "B K 2 3"],
        history_mask: Float[Tensor, "B K"],
    ) -> Float[Tensor, "B K C1 Y X"]:
        """Return each map on the present grid, and its validity plane as a last channel.

        Args:
            history: remembered maps in their own ego frames.
            history_transform: SE(2) in metres that takes a point of the present ego frame to the
                ego frame of the map; under a change A of the scene, A T A^-1.
            history_mask: 1 where a map exists; others give zeros.
        """
        mask = history_mask.float()[:, :, None, None, None]
        planes = torch.cat([history.float() * mask, mask.expand(-1, -1, 1, *self.bev.shape)], 2)
        grid = self._places(history_transform.float()).flatten(0, 1)
        read = functional.grid_sample(
            planes.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return read.reshape(planes.shape)

    def _places(self, transform: Float[Tensor, "B K 2 3"]) -> Float[Tensor, "B K Y X 2"]:
        """Return where each cell lies in each map, as `grid_sample` counts: -1..1 edge to edge."""
        bev, (columns, rows) = self.bev, (self.columns.float(), self.rows.float()[:, None])
        x_m = bev.x_min_m + (columns + 0.5) * bev.cell_m
        y_m = bev.y_min_m + (rows + 0.5) * bev.cell_m
        part = transform[..., None, None]  # [B, K, 2, 3, 1, 1]
        moved_x_m = (part[:, :, 0, 0] - 1) * x_m + part[:, :, 0, 1] * y_m + part[:, :, 0, 2]
        moved_y_m = part[:, :, 1, 0] * x_m + (part[:, :, 1, 1] - 1) * y_m + part[:, :, 1, 2]
        column = columns + moved_x_m / bev.cell_m
        row = rows + moved_y_m / bev.cell_m
        return torch.stack(
            [(2 * column + 1) / bev.columns - 1, (2 * row + 1) / bev.rows - 1], dim=-1
        )


class TemporalFusion(nn.Module):
    """The present merged map and K remembered ones to one fused map; at first the present one.

    Args:
        memory: how many maps of how many channels.
        bev: grid of the maps.
    """

    def __init__(self, memory: MemorySpec, bev: BevGrid) -> None:
        super().__init__()
        channels = memory.channels
        self.align = HistoryAlignment(bev)
        self.reduce = nn.Conv2d(
            channels + memory.frames * (channels + 2), channels, 3, padding=1, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)
        init_weights(self)
        nn.init.zeros_(self.norm.weight)

    def forward(
        self,
        merged_bev: Float[Tensor, "B C Y X"],
        history: Float[Tensor, "B K C Y X"],
        history_transform: Float[Tensor, "B K 2 3"],
        history_age_s: Float[Tensor, "B K"],
        history_mask: Float[Tensor, "B K"],
    ) -> Float[Tensor, "B C Y X"]:
        """Return F_fus; arguments as `HistoryAlignment`, and the age of each map in seconds."""
        aligned: Tensor = self.align(history, history_transform, history_mask)
        age = aligned[:, :, -1:] * history_age_s.float()[:, :, None, None, None]
        remembered = torch.cat([aligned, age], dim=2).flatten(1, 2).to(merged_bev.dtype)
        change: Tensor = self.norm(self.reduce(torch.cat([merged_bev, remembered], dim=1)))
        return functional.relu(merged_bev + change)
