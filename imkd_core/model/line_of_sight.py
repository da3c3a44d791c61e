# SPDX-License-Identifier: Apache-2.0
"""What sensors know along the line of sight: radial speed by Doppler, heading by appearance.

A box's velocity and heading are regressed with L1 loss in the ego frame, where neither sensor
measures them. Most boxes stand, so 0 is where a network rests that has to find the radial speed
of the few in deep features; and an object's picture tells its heading against the ray to it, not
its yaw. Two short ways help (method.md 12.4, "Doppler velocity" and its line-of-sight vectors):

- the strongest measured velocity around each cell passes the network by, and the network says
  how much of it belongs to an object there;
- sine and cosine of the heading, and the velocity, have a second regression in the frame of the
  ray, which a fixed map of rotations turns into the ego frame.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, RADAR_GRID_CHANNELS
from imkd_core.model.center_head import VELOCITY_UNIT_MPS, take_cells
from imkd_core.model.layers import ConvBnRelu
from imkd_core.radar_grid import SPEED_SCALE_MPS

#: Cells across the neighbourhoods searched: returns lie on near faces, not at centres, and a bus
#: is longer than a car.
_REACHES_CELLS = (3, 7)

#: Channels of the field: (vx, vy) in each neighbourhood.
FIELD_CHANNELS = 2 * len(_REACHES_CELLS)

#: First biases of the shares: half of what is measured near, little of what is far.
_SHARE_BIAS = (0.0, -2.0)

_VX, _VY = RADAR_GRID_CHANNELS.index("vx_mean"), RADAR_GRID_CHANNELS.index("vy_mean")

_TOWER_CHANNELS = 16


def doppler_field(
    radar_grid: Float[Tensor, "B 12 rY rX"], refinement: int
) -> Float[Tensor, "B 4 Y X"]:
    """Return the strongest measured velocity around each cell, in units of `VELOCITY_UNIT_MPS`.

    Each component is the largest positive plus the largest negative one in a neighbourhood: the
    measured vector itself where one object moves, and 0 where nothing does.

    Args:
        radar_grid: statistics of returns; all 0 without radar.
        refinement: radar cells per BEV cell and direction.
    """
    velocity = torch.cat([radar_grid[:, _VX : _VX + 1], radar_grid[:, _VY : _VY + 1]], dim=1)
    velocity = velocity * (SPEED_SCALE_MPS / VELOCITY_UNIT_MPS)
    both_signs = torch.cat([velocity.relu(), (-velocity).relu()], dim=1)
    highest = functional.max_pool2d(both_signs, refinement)
    around = [functional.max_pool2d(highest, r, stride=1, padding=r // 2) for r in _REACHES_CELLS]
    return torch.cat([pooled[:, :2] - pooled[:, 2:] for pooled in around], dim=1)


class LineOfSightCodes(nn.Module):
    """The part of the codes that is known along the line of sight.

    Args:
        in_channels: of the BEV map, the field included.
        tasks: number of task groups.
        grid: of the BEV map.
    """

    ray: Tensor

    def __init__(self, in_channels: int, tasks: int, grid: BevGrid) -> None:
        super().__init__()
        self.tasks = tasks
        self.tower = ConvBnRelu(in_channels, _TOWER_CHANNELS)
        self.share = nn.Conv2d(_TOWER_CHANNELS, len(_REACHES_CELLS) * tasks, 1)
        self.vectors = nn.Conv2d(_TOWER_CHANNELS, 4 * tasks, 1)
        centers = grid.centers()
        azimuth = np.arctan2(centers[..., 1], centers[..., 0])
        ray = torch.from_numpy(np.stack([np.cos(azimuth), np.sin(azimuth)])).float()
        self.register_buffer("ray", ray, persistent=False)

    def reset_outputs(self) -> None:
        """Start with half of what is measured near, and small vectors."""
        for last in (self.share, self.vectors):
            nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(self.vectors.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            start = torch.tensor(_SHARE_BIAS).repeat_interleave(self.tasks)
            self.share.bias.copy_(start)  # type: ignore[union-attr]

    def forward(
        self, bev: Float[Tensor, "B C Y X"], field: Float[Tensor, "B 4 Y X"]
    ) -> Float[Tensor, "B codes Y X"]:
        """Return what is added to the codes; only headings and velocities differ from 0."""
        return self._codes(self.tower(bev), field, self.ray[None])

    def at_cells(
        self,
        bev: Float[Tensor, "B C Y X"],
        field: Float[Tensor, "B 4 Y X"],
        cell: Int64[Tensor, "B M"],
    ) -> Float[Tensor, "B codes M 1"]:
        """Return what `forward` does, at chosen cells alone (flattened as [Y, X])."""
        ray = self.ray[None].expand(cell.shape[0], -1, -1, -1)
        taken = (take_cells(value, cell) for value in (self.tower(bev), field, ray))
        return self._codes(*taken)

    def _codes(self, tower: Tensor, field: Tensor, ray: Tensor) -> Tensor:
        """Return the codes; ray is [B or 1, 2, ..] as the map of the others is."""
        near, wide = self.share(tower).sigmoid().chunk(2, dim=1)
        heading_along, heading_across, along, across = self.vectors(tower).chunk(4, dim=1)
        cos_yaw, sin_yaw = _in_ego_frame(ray, heading_along, heading_across)
        vx, vy = _in_ego_frame(ray, along, across)
        vx = vx + near * field[:, 0:1] + wide * field[:, 2:3]
        vy = vy + near * field[:, 1:2] + wide * field[:, 3:4]
        speeds = [vx * VELOCITY_UNIT_MPS, vy * VELOCITY_UNIT_MPS]
        vectors = torch.stack([sin_yaw, cos_yaw, *speeds], dim=2)
        codes = functional.pad(vectors, (0, 0, 0, 0, BOX_CODE.index("sin_yaw"), 0))
        return codes.flatten(1, 2)


def _in_ego_frame(ray: Tensor, along: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y of (B, tasks, Y, X) vectors along the ray and to the left of it."""
    cos, sin = ray.chunk(2, dim=1)
    return along * cos - across * sin, along * sin + across * cos
