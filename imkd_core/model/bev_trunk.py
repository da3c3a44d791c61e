# SPDX-License-Identifier: Apache-2.0
"""The network behind the fusion: a residual trunk on the BEV grid and its neck (method.md 3.6)."""

from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.model.resnet import BasicBlock, residual_stage
from imkd_core.model.second import SecondNeck


class BevTrunk(nn.Module):
    """A 7 x 7 stem that halves the grid, three residual stages, and a neck back to full size.

    Attributes:
        out_channels: four levels of `neck_channels`: the input and the three stages.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        blocks: tuple[int, int, int],
        neck_channels: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        self.stage1 = residual_stage(BasicBlock, channels[0], channels[0], blocks[0], 1)
        self.stage2 = residual_stage(BasicBlock, channels[0], channels[1], blocks[1], 2)
        self.stage3 = residual_stage(BasicBlock, channels[1], channels[2], blocks[2], 2)
        self.neck = SecondNeck((in_channels, *channels), (1, 2, 4, 8), neck_channels, 1)
        self.out_channels = self.neck.channels

    def forward(self, fused_bev: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B C2 Y X"]:
        """Return the map for the head, on the same grid."""
        stage1: Tensor = self.stage1(self.stem(fused_bev))
        stage2: Tensor = self.stage2(stage1)
        stage3: Tensor = self.stage3(stage2)
        return self.neck([fused_bev, stage1, stage2, stage3])
