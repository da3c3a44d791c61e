# SPDX-License-Identifier: Apache-2.0
"""Points to a BEV map through pillars, with dense operators only (method.md 4.1, fallback)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from imkd_core.bev_grid import BevGrid
from imkd_core.model.layers import conv_stack
from imkd_core.model.resnet import BasicBlock
from imkd_core.teaching import LIDAR_POINT_COLUMNS, TeacherConfig

#: Divisors that bring a point's numbers to about 1: range, height, reflectance, age, log count.
_RANGE_M, _HEIGHT_M, _REFLECTANCE, _AGE_S, _LOG_COUNT = 50.0, 2.0, 100.0, 0.5, 4.0

#: Numbers of a point as the network sees them.
POINT_FEATURES = 8


class PillarEncoder(nn.Module):
    """A perceptron on every point, the maximum over each pillar, and convolutions to F_L.

    Attributes:
        pillars: grid of the pillars, `refinement` times finer than the BEV grid.
    """

    def __init__(self, bev: BevGrid, teacher: TeacherConfig) -> None:
        super().__init__()
        self.pillars = bev.refined(teacher.pillar_refinement)
        self.points = nn.Sequential(
            nn.Linear(POINT_FEATURES, teacher.pillar_channels),
            nn.ReLU(inplace=True),
            nn.Linear(teacher.pillar_channels, teacher.pillar_channels),
        )
        self.down = conv_stack(
            teacher.pillar_channels, teacher.channels, 0, teacher.pillar_refinement
        )
        self.block = BasicBlock(teacher.channels, teacher.channels)

    def forward(
        self, points: Float[Tensor, "B P 6"], mask: Bool[Tensor, "B P"]
    ) -> Float[Tensor, "B C Y X"]:
        """Return F_L, which is not negative, on the BEV grid."""
        place, offset = pillar_of(points, mask, self.pillars)
        encoded: Tensor = self.points(point_features(points[mask], offset))
        flat = encoded.new_zeros(len(points) * self.pillars.cells, encoded.shape[1])
        index = place[:, None].expand_as(encoded)
        highest = flat.scatter_reduce(0, index, encoded, "amax")  # 0 counts: a ReLU at once
        canvas = highest.reshape(len(points), *self.pillars.shape, -1).permute(0, 3, 1, 2)
        return self.block(self.down(canvas))


def pillar_of(
    points: Float[Tensor, "B P 6"], mask: Bool[Tensor, "B P"], pillars: BevGrid
) -> tuple[Int[Tensor, " Q"], Float[Tensor, "Q 2"]]:
    """Return, for the Q points of the mask, their flat (sample, row, column) pillar and offset.

    The offset (dx, dy) from the pillar's centre is in pillars, -0.5 to 0.5. A point off the grid
    counts to the nearest pillar.
    """
    kept = points[mask].float()
    column = (kept[:, 0] - pillars.x_min_m) / pillars.cell_m
    row = (kept[:, 1] - pillars.y_min_m) / pillars.cell_m
    x = column.floor().clamp(0, pillars.columns - 1)
    y = row.floor().clamp(0, pillars.rows - 1)
    sample = mask.nonzero()[:, 0]
    place = sample * pillars.cells + y.long() * pillars.columns + x.long()
    return place, torch.stack([column - x - 0.5, row - y - 0.5], dim=1)


def point_features(
    points: Float[Tensor, "Q 6"], offset: Float[Tensor, "Q 2"]
) -> Float[Tensor, "Q 8"]:
    """Return points as numbers of about 1: offset, position, height, reflectance, age, crowding."""
    column = {name: points[:, i] for i, name in enumerate(LIDAR_POINT_COLUMNS)}
    scaled = [
        column["x"] / _RANGE_M,
        column["y"] / _RANGE_M,
        column["z"] / _HEIGHT_M,
        column["intensity"] / _REFLECTANCE,
        column["age"] / _AGE_S,
        column["log_count"] / _LOG_COUNT,
    ]
    return torch.cat([offset, torch.stack(scaled, dim=1)], dim=1)
