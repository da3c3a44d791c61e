# SPDX-License-Identifier: Apache-2.0
"""The label teacher: true boxes to F_lab, a map that the LiDAR teacher's trunk and head decode.

method.md 4.2, with whole footprints (`data.learning.label_maps`) and one GroupNorm group in place
of LabelDistill's LayerNorm over (C, H, W), whose 4 million weights are tied to places on the map.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.config import BOX_CODE, HeadSpec
from imkd_core.model.layers import init_weights
from imkd_core.model.resnet import BasicBlock
from imkd_core.recipe import Config

#: Divisors that bring the box code's numbers to about 1, in the order of `config.BOX_CODE`.
_CODE_SCALE = (0.8, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0)


class LabelEncoder(nn.Module):
    """Two perceptrons on every cell, for box and class, then convolutions.

    Args:
        head: its classes.
        channels: width of the layers.
        out_channels: of F_lab, those of F_L.
    """

    scale: Tensor

    def __init__(self, head: HeadSpec, channels: int, out_channels: int) -> None:
        super().__init__()
        classes = len(head.class_names)
        scale = 1 / torch.tensor(_CODE_SCALE)
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.box = _per_cell(len(BOX_CODE), channels)
        self.classes = _per_cell(classes, channels)
        self.both = nn.Sequential(_per_cell(channels, channels), nn.GroupNorm(1, channels))
        self.block = BasicBlock(channels, channels)
        self.out = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, 1, 1, bias=False),
            nn.GroupNorm(1, out_channels),
            nn.ReLU(inplace=True),
        )
        init_weights(self)

    @classmethod
    def from_config(cls, config: Config) -> "LabelEncoder":
        """Return the label encoder of a configuration file, with random weights."""
        return cls(config.head, config.labels.channels, config.teacher.channels)

    def forward(self, maps: Float[Tensor, "B Cl Y X"]) -> Float[Tensor, "B C Y X"]:
        """Return F_lab, which is not negative.

        Args:
            maps: `data.learning.label_maps.label_maps`: the box code, then one-hot classes.
        """
        code, one_hot = maps[:, : len(BOX_CODE)], maps[:, len(BOX_CODE) :]
        merged = self.box(code * self.scale) + self.classes(one_hot)
        return self.out(self.block(self.both(merged)))


def _per_cell(in_channels: int, channels: int) -> nn.Sequential:
    """Return a perceptron of two layers that sees one cell at a time."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
    )
