# SPDX-License-Identifier: Apache-2.0
"""The neck of SECOND: maps of several strides are brought to one stride and concatenated."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def _resize(in_channels: int, out_channels: int, map_stride: int, out_stride: int) -> nn.Sequential:
    """Return a learned resize from one stride to another, with norm and ReLU."""
    conv: nn.Module
    if map_stride > out_stride:
        factor = map_stride // out_stride
        conv = nn.ConvTranspose2d(in_channels, out_channels, factor, factor, bias=False)
    else:
        factor = out_stride // map_stride
        conv = nn.Conv2d(in_channels, out_channels, factor, factor, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class SecondNeck(nn.Module):
    """One resize per level, then concatenation (SECONDFPN).

    Args:
        in_channels: of each level.
        strides: of each level, finest first.
        out_channels: of each level after the resize.
        out_stride: of the result.
    """

    def __init__(
        self, in_channels: Sequence[int], strides: Sequence[int], out_channels: int, out_stride: int
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _resize(channels, out_channels, stride, out_stride)
            for channels, stride in zip(in_channels, strides, strict=True)
        )
        self.channels = out_channels * len(in_channels)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "B C H W"]:
        """Return the levels at one stride, concatenated."""
        resized = [level(x) for level, x in zip(self.levels, maps, strict=True)]
        return torch.cat(resized, dim=1)
