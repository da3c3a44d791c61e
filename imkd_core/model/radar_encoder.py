# SPDX-License-Identifier: Apache-2.0
"""Radar statistics grid to a BEV map (method.md 3.3), and what the radar's gate looks at (3.4)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imkd_core.config import RADAR_GRID_CHANNELS
from imkd_core.model.layers import ConvBnRelu, conv_stack
from imkd_core.model.second import SecondNeck

#: Channels of the radar grid that the gate sees: is anything there, how strong, how many.
EVIDENCE_CHANNELS = ("occupancy", "rcs_max", "log_count")

#: Convolutions that do not stride, in each of the three stages.
_STAGE_REPEATS = (3, 5, 5)


class RadarEncoder(nn.Module):
    """Three stages, from fine cells to cells eight times coarser, joined at BEV size.

    Args:
        widths: channels of the three stages; the stem and the joined levels take the first.
        out_channels: of F_rad.
        refinement: radar cells per BEV cell and direction.
    """

    def __init__(self, widths: tuple[int, int, int], out_channels: int, refinement: int) -> None:
        super().__init__()
        first, second, third = widths
        self.refinement = refinement
        self.stem = ConvBnRelu(len(RADAR_GRID_CHANNELS), first)
        self.stage1 = conv_stack(first, first, _STAGE_REPEATS[0], refinement)
        self.stage2 = conv_stack(first, second, _STAGE_REPEATS[1], 2)
        self.stage3 = conv_stack(second, third, _STAGE_REPEATS[2], 2)
        self.neck = SecondNeck(widths, (1, 2, 4), first, 1)
        self.out = ConvBnRelu(self.neck.channels, out_channels)
        self._evidence = [RADAR_GRID_CHANNELS.index(name) for name in EVIDENCE_CHANNELS]

    def forward(
        self,
        radar_grid: Float[Tensor, "B 12 rY rX"],
        radar_mask: Float[Tensor, "B 1"],
    ) -> tuple[Float[Tensor, "B Cr Y X"], Float[Tensor, "B 3 Y X"]]:
        """Return F_rad and e_rad; both are 0, whatever the grid holds, where the mask is 0."""
        mask = radar_mask[:, :, None, None]
        grid = radar_grid * mask
        stage1 = self.stage1(self.stem(grid))
        stage2 = self.stage2(stage1)
        stage3 = self.stage3(stage2)
        joined: Tensor = self.out(self.neck([stage1, stage2, stage3]))
        return joined * mask, self._pool_evidence(grid)

    def _pool_evidence(self, grid: Tensor) -> Tensor:
        chosen = torch.cat([grid[:, i : i + 1] for i in self._evidence], dim=1)
        return functional.max_pool2d(chosen, self.refinement)
