# SPDX-License-Identifier: Apache-2.0
"""Detection and depth losses (method.md 5.1 and 5.2), in fp32 whatever the model runs in.

Letters: B batch, N cameras, K classes, Y X cells, M objects, T task groups, D depth bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from imkd_core.config import BOX_CODE
from imkd_core.recipe import TrainConfig

#: Exponents of CornerNet's focal loss: on the error, and on the distance from an object.
FOCAL_ALPHA = 2.0
FOCAL_GAMMA = 4.0


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """The terms of one step, unweighted."""

    heatmap: Tensor
    box: Tensor
    depth: Tensor

    def total(self, train: TrainConfig) -> Tensor:
        """Return the weighted sum."""
        return sum(
            (getattr(train, f"weight_{item.name}") * getattr(self, item.name))
            for item in fields(self)
        )

    def as_floats(self) -> dict[str, float]:
        """Return the terms as numbers, for logs."""
        return {item.name: float(getattr(self, item.name).detach()) for item in fields(self)}


def heatmap_loss(
    logits: Float[Tensor, "B K Y X"], target: Float[Tensor, "B K Y X"]
) -> Float[Tensor, ""]:
    """Return CenterPoint's Gaussian focal loss, divided by the number of objects.

    Cells where the target is 1 are objects; the others count less the nearer they are to one.
    Written with log-sigmoids, so that no probability is clipped.
    """
    logits, target = logits.float(), target.float()
    probability = logits.sigmoid()
    is_object = target == 1
    hit = functional.logsigmoid(logits) * (1 - probability) ** FOCAL_ALPHA
    miss = functional.logsigmoid(-logits) * probability**FOCAL_ALPHA * (1 - target) ** FOCAL_GAMMA
    return -torch.where(is_object, hit, miss).sum() / is_object.sum().clamp(min=1)


def box_loss(
    codes: Float[Tensor, "B TC Y X"],
    cell: Int[Tensor, "B M"],
    task: Int[Tensor, "B M"],
    code: Float[Tensor, "B M C"],
    code_weight: Float[Tensor, "B M C"],
) -> Float[Tensor, ""]:
    """Return the L1 distance of the box codes at object cells, summed over the code.

    Divided by the number of objects; unknown numbers (weight 0) do not count.
    """
    batch, channels = codes.shape[:2]
    per_task = codes.float().reshape(batch, channels // len(BOX_CODE), len(BOX_CODE), -1)
    rows = torch.arange(batch, device=codes.device)[:, None]
    predicted = per_task[rows, task, :, cell]
    objects = (code_weight.sum(-1) > 0).sum().clamp(min=1)
    return ((predicted - code).abs() * code_weight).sum() / objects


def depth_loss(
    logits: Float[Tensor, "B N D H W"], depth_bin: Int[Tensor, "B N H W"]
) -> Float[Tensor, ""]:
    """Return BEVDepth's loss: binary cross entropy of the depth distribution, over valid cells.

    The distribution is the softmax over bins; the target is one-hot at the nearest LiDAR return;
    a cell of -1 does not count.
    """
    valid = depth_bin >= 0
    per_cell = logits.float().permute(0, 1, 3, 4, 2)[valid]
    probability = per_cell.softmax(-1)
    one_hot = functional.one_hot(depth_bin[valid], logits.shape[2]).to(probability.dtype)
    cross_entropy = functional.binary_cross_entropy(probability, one_hot, reduction="sum")
    return cross_entropy / valid.sum().clamp(min=1)


def detection_losses(
    heatmap_logits: Float[Tensor, "B K Y X"],
    codes: Float[Tensor, "B TC Y X"],
    depth_logits: Float[Tensor, "B N D H W"],
    batch: Mapping[str, Tensor],
) -> LossTerms:
    """Return all terms of one step from the model's outputs and a collated batch."""
    return LossTerms(
        heatmap=heatmap_loss(heatmap_logits, batch["heatmap"]),
        box=box_loss(codes, batch["cell"], batch["task"], batch["code"], batch["code_weight"]),
        depth=depth_loss(depth_logits, batch["depth_bin"]),
    )
