# SPDX-License-Identifier: Apache-2.0
"""Speeds from Doppler: what radars measure at a cell is offered to its box as it is.

A box's velocity is regressed with L1 loss, and most boxes stand: the median, 0, is where a network
rests that must find the radial speed of the few in deep features. So the strongest measured speed
around each cell is carried past the network, and the network says, per task group, how much of it
is this object's own. What radars cannot measure, the tangential part, stays with the codes
(method.md 12.4, Doppler velocity).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imkd_core.config import BOX_CODE, RADAR_GRID_CHANNELS
from imkd_core.model.center_head import VELOCITY_UNIT_MPS
from imkd_core.radar_grid import SPEED_SCALE_MPS

#: Cells across the neighbourhoods searched: returns lie on near faces, not at centres, and a bus
#: is longer than a car.
_REACHES_CELLS = (3, 7)

#: Channels of the field: (vx, vy) in each neighbourhood.
FIELD_CHANNELS = 2 * len(_REACHES_CELLS)

_SPEED_CHANNELS = [RADAR_GRID_CHANNELS.index(name) for name in ("vx_mean", "vy_mean")]

_GATE_CHANNELS = 16


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
    first, last = _SPEED_CHANNELS[0], _SPEED_CHANNELS[-1] + 1
    velocity = radar_grid[:, first:last] * (SPEED_SCALE_MPS / VELOCITY_UNIT_MPS)
    both_signs = torch.cat([velocity.relu(), (-velocity).relu()], dim=1)
    highest = functional.max_pool2d(both_signs, refinement)
    around = [functional.max_pool2d(highest, r, stride=1, padding=r // 2) for r in _REACHES_CELLS]
    return torch.cat([pooled[:, :2] - pooled[:, 2:] for pooled in around], dim=1)


class DopplerVelocity(nn.Module):
    """How much of the measured velocity belongs to an object of each task group at each cell.

    Args:
        in_channels: of the BEV map, the field included.
        tasks: number of task groups.
    """

    def __init__(self, in_channels: int, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks
        self.hidden = nn.Conv2d(in_channels, _GATE_CHANNELS, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.share = nn.Conv2d(_GATE_CHANNELS, tasks * len(_REACHES_CELLS), 1)

    def reset_outputs(self) -> None:
        """Start with half of what is measured close by, and little of what is farther."""
        nn.init.normal_(self.share.weight, std=0.01)
        near_first = torch.tensor([0.0] + [-2.0] * (len(_REACHES_CELLS) - 1))
        with torch.no_grad():
            self.share.bias.copy_(near_first.repeat(self.tasks))  # type: ignore[union-attr]

    def forward(
        self,
        codes: Float[Tensor, "B codes Y X"],
        bev: Float[Tensor, "B C Y X"],
        field: Float[Tensor, "B 4 Y X"],
    ) -> Float[Tensor, "B codes Y X"]:
        """Return the codes with the objects' share of the measured velocity added."""
        shares = self.share(self.relu(self.hidden(bev))).sigmoid()
        batch, _, rows, columns = codes.shape
        shares = shares.reshape(batch, self.tasks, len(_REACHES_CELLS), 1, rows, columns)
        measured = field.reshape(batch, 1, len(_REACHES_CELLS), 2, rows, columns)
        velocity = (shares * measured).sum(dim=2) * VELOCITY_UNIT_MPS
        at_velocity = (0, 0, 0, 0, len(BOX_CODE) - 2, 0)
        per_task = codes.reshape(batch, self.tasks, len(BOX_CODE), rows, columns)
        return (per_task + functional.pad(velocity, at_velocity)).reshape(codes.shape)
