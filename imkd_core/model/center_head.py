# SPDX-License-Identifier: Apache-2.0
"""CenterPoint's head with merged towers, and the decoding of its maps inside the graph.

One tower gives the heat maps of all classes, one the regression codes of all task groups
(method.md 12.7); 36 separate branches would cost more than the whole rest behind the fusion.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn
from torch.nn import functional

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, HeadSpec
from imkd_core.model.layers import ConvBnRelu

#: Bias of the heat map's logits: every cell starts at a probability of 0.1.
HEATMAP_BIAS = -2.19

#: Spread of the heat map's last weights. At 0.01 rare classes can die when few frames are fitted.
HEATMAP_STD = 0.1

#: Log sizes are held to this range (5 cm to 55 m) before the exponential.
LOG_SIZE_RANGE = (-3.0, 4.0)


#: Speed that one unit of the last layer stands for. An optimiser moves all weights alike, and a
#: speed of ten is far from the start for weights that make half metres and logarithms.
VELOCITY_UNIT_MPS = 5.0


class CodeConv(nn.Conv2d):
    """The last layer of the codes: a 1 x 1 convolution whose rows have the units of `BOX_CODE`."""

    unit: Tensor

    def __init__(self, in_channels: int, tasks: int) -> None:
        super().__init__(in_channels, tasks * len(BOX_CODE), 1)
        unit = torch.tensor([VELOCITY_UNIT_MPS if n in ("vx", "vy") else 1.0 for n in BOX_CODE])
        self.register_buffer("unit", unit.repeat(tasks), persistent=False)

    def forward(self, input: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B codes Y X"]:  # noqa: A002
        """Return the codes; the units are part of the weights, so they cost nothing."""
        bias = None if self.bias is None else self.bias * self.unit
        return functional.conv2d(input, self.weight * self.unit[:, None, None, None], bias)


class CenterHead(nn.Module):
    """BEV map to heat-map logits and regression codes."""

    def __init__(self, in_channels: int, channels: int, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.shared = ConvBnRelu(in_channels, channels)
        self.heatmap = nn.Sequential(
            ConvBnRelu(channels, channels), nn.Conv2d(channels, len(spec.class_names), 1)
        )
        self.codes = nn.Sequential(
            ConvBnRelu(channels, channels), CodeConv(channels, len(spec.tasks))
        )

    def reset_outputs(self) -> None:
        """Set the last layers: rare objects in the heat map, small codes."""
        heatmap, codes = self.heatmap[-1], self.codes[-1]
        nn.init.normal_(heatmap.weight, std=HEATMAP_STD)  # type: ignore[arg-type]
        nn.init.constant_(heatmap.bias, HEATMAP_BIAS)  # type: ignore[arg-type]
        nn.init.normal_(codes.weight, std=0.01)  # type: ignore[arg-type]

    def forward(
        self, bev: Float[Tensor, "B C Y X"]
    ) -> tuple[Float[Tensor, "B classes Y X"], Float[Tensor, "B codes Y X"]]:
        """Return heat-map logits, and codes: for each task group the ten of `BOX_CODE`."""
        shared = self.shared(bev)
        return self.heatmap(shared), self.codes(shared)

    def at_peaks(
        self, bev: Float[Tensor, "B C Y X"], grid: BevGrid
    ) -> "tuple[Peaks, Float[Tensor, 'B codes M 1']]":
        """Return the best cells, and the codes at these alone: the same numbers for less work."""
        shared = self.shared(bev)
        peaks = find_peaks(self.heatmap(shared), self.spec, grid)
        tower, last = self.codes
        return peaks, last(take_cells(tower(shared), peaks.cell))


class Candidates(NamedTuple):
    """The best `HeadSpec.candidates` cells of every sample, best first.

    Attributes:
        scores: [B, M] probabilities, descending.
        labels: [B, M] int32 indices into `HeadSpec.class_names`.
        boxes: [B, M, 10] x, y, z, length, width, height (metres), sin and cos of the yaw (not of
            length 1), vx, vy (metres a second), in the ego frame.
    """

    scores: Float[Tensor, "B M"]
    labels: Int32[Tensor, "B M"]
    boxes: Float[Tensor, "B M 10"]


class Peaks(NamedTuple):
    """Where the best `HeadSpec.candidates` cells of every sample are, best first.

    Attributes:
        scores: [B, M] probabilities, descending.
        labels: [B, M] int64 indices into `HeadSpec.class_names`.
        cell: [B, M] int64 cells, flattened as [Y, X].
    """

    scores: Float[Tensor, "B M"]
    labels: Int64[Tensor, "B M"]
    cell: Int64[Tensor, "B M"]


def decode(
    heatmap_logits: Float[Tensor, "B classes Y X"],
    codes: Float[Tensor, "B codes Y X"],
    head: HeadSpec,
    grid: BevGrid,
) -> Candidates:
    """Take the top candidates over all classes and cells, in float32.

    A candidate is a cell of one class; with `head.peak_window` 3 only local maxima count.
    """
    peaks = find_peaks(heatmap_logits, head, grid)
    return boxes_of(peaks, take_cells(codes, peaks.cell), head, grid)


def find_peaks(
    heatmap_logits: Float[Tensor, "B classes Y X"], head: HeadSpec, grid: BevGrid
) -> Peaks:
    """Return the top cells over all classes, in float32."""
    logits = heatmap_logits.float()
    if head.peak_window == 1:  # the sigmoid keeps the order: that of the best is enough
        best, place = logits.flatten(1).topk(head.candidates, dim=1)
        scores = best.sigmoid()
    else:
        heat = _peaks(logits.sigmoid(), head.peak_window)
        scores, place = heat.flatten(1).topk(head.candidates, dim=1)
    labels = place.div(grid.cells, rounding_mode="trunc")
    return Peaks(scores, labels, place - labels * grid.cells)


def take_cells(
    bev: Float[Tensor, "B C Y X"], cell: Int64[Tensor, "B M"]
) -> Float[Tensor, "B C M 1"]:
    """Return the columns of a map at chosen cells, as a map of M rows and one column."""
    index = cell[:, None, :].expand(-1, bev.shape[1], -1)
    return bev.flatten(2).gather(2, index)[..., None]


def boxes_of(
    peaks: Peaks, codes: Float[Tensor, "B codes M 1"], head: HeadSpec, grid: BevGrid
) -> Candidates:
    """Return candidates from the codes at their cells, in float32."""
    tasks = torch.tensor(head.task_of_class, device=peaks.cell.device)
    task = tasks.index_select(0, peaks.labels.flatten()).reshape(peaks.labels.shape)
    code = _take_task(codes.float(), task)
    boxes = _boxes_of_codes(code, peaks.cell, grid)
    return Candidates(peaks.scores, peaks.labels.int(), boxes)


def _peaks(heat: Tensor, window: int) -> Tensor:
    highest = functional.max_pool2d(heat, window, stride=1, padding=window // 2)
    return heat * (heat == highest).to(heat.dtype)


def _take_task(codes: Tensor, task: Tensor) -> Tensor:
    """Return the [B, M, 10] codes of each candidate's task group."""
    numbers = len(BOX_CODE)
    by_task = codes.reshape(codes.shape[0], -1, numbers, task.shape[1])
    index = task[:, None, None, :].expand(-1, 1, numbers, -1)
    return by_task.gather(1, index)[:, 0].transpose(1, 2)


def _boxes_of_codes(code: Tensor, cell: Tensor, grid: BevGrid) -> Tensor:
    row = cell.div(grid.columns, rounding_mode="trunc")
    column = cell - row * grid.columns
    x = grid.x_min_m + (column.float() + 0.5) * grid.cell_m + code[..., 0]
    y = grid.y_min_m + (row.float() + 0.5) * grid.cell_m + code[..., 1]
    size = code[..., 3:6].clamp(*LOG_SIZE_RANGE).exp()
    center = torch.stack([x, y, code[..., 2]], dim=-1)
    return torch.cat([center, size, code[..., 6:]], dim=-1)
