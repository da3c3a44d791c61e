# SPDX-License-Identifier: Apache-2.0
"""Detection and depth losses (method.md 5.1 and 5.2), in fp32 whatever the model runs in.

Letters: B batch, N cameras, K classes, Y X cells, M objects, T task groups, D depth bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from imkd_core.config import BOX_CODE
from imkd_core.recipe import TrainConfig
from imkd_core.training.distributed import shared_count

#: Exponents of CornerNet's focal loss: on the error, and on the distance from an object.
FOCAL_ALPHA = 2.0
FOCAL_GAMMA = 4.0

#: Least probability whose logarithm is taken. Numbers that are not finite pass, and are reported
#: by the engine; torch's own cross entropy would end a process on a GPU.
SMALLEST = 1e-38


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """The terms of one step.

    Attributes:
        values: term -> scalar, unweighted.
        weights: term -> weight in the total, for the same terms.
    """

    values: Mapping[str, Tensor]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse a term without weight, and a weight without term."""
        if self.values.keys() != self.weights.keys():
            raise ValueError(f"terms {sorted(self.values)} have weights {sorted(self.weights)}")

    def total(self) -> Tensor:
        """Return the weighted sum."""
        return torch.stack([self.weights[k] * v.float() for k, v in self.values.items()]).sum()

    def joined(self, others: "LossTerms") -> "LossTerms":
        """Return these terms and others, whose names must differ."""
        if twice := self.values.keys() & others.values.keys():
            raise ValueError(f"loss terms {sorted(twice)} are there twice")
        return LossTerms(
            values={**self.values, **others.values}, weights={**self.weights, **others.weights}
        )

    def as_floats(self) -> dict[str, float]:
        """Return the unweighted terms as numbers, for logs."""
        return {name: float(value.detach()) for name, value in self.values.items()}


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
    return -torch.where(is_object, hit, miss).sum() / shared_count(is_object.sum())


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
    objects = shared_count((code_weight.sum(-1) > 0).sum())
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
    right = torch.where(one_hot == 1, probability, 1 - probability)
    return -right.clamp(min=SMALLEST).log().sum() / shared_count(valid.sum())


def detection_terms(
    heatmap_logits: Float[Tensor, "B K Y X"],
    codes: Float[Tensor, "B TC Y X"],
    targets: Mapping[str, Tensor],
    train: TrainConfig,
) -> LossTerms:
    """Return heat map and box term of a head's outputs; `targets` are collated ones."""
    weight = targets["code_weight"].clone()
    weight[..., BOX_CODE.index("vx") :] *= train.velocity_weight
    box = box_loss(codes, targets["cell"], targets["task"], targets["code"], weight)
    return LossTerms(
        values={"heatmap": heatmap_loss(heatmap_logits, targets["heatmap"]), "box": box},
        weights={"heatmap": train.weight_heatmap, "box": train.weight_box},
    )


def depth_terms(
    depth_logits: Float[Tensor, "B N D H W"], targets: Mapping[str, Tensor], train: TrainConfig
) -> LossTerms:
    """Return the depth term of a student's outputs; `targets` are collated ones."""
    return LossTerms(
        values={"depth": depth_loss(depth_logits, targets["depth_bin"])},
        weights={"depth": train.weight_depth},
    )


def perspective_loss(
    logits: Float[Tensor, "B N K H W"], image_class: Int[Tensor, "B N H W"]
) -> Float[Tensor, ""]:
    """Return the focal loss of the classes that image cells show, divided by cells with one.

    A class of -1 does not count; K, the number of classes, is none of them.
    """
    known = image_class >= 0
    per_cell = logits.permute(0, 1, 3, 4, 2)[known]
    classes = logits.shape[2]
    target = functional.one_hot(image_class[known], classes + 1)[:, :classes].float()
    return heatmap_loss(per_cell[..., None, None], target[..., None, None])


def consistency_loss(
    kept: Float[Tensor, "B C Y X"],
    recalled: Float[Tensor, "B C Y X"],
    weight: Float[Tensor, "B Y X"],
) -> Float[Tensor, ""]:
    """Return the mean distance of two remembered maps of one place (method.md 12.2 c).

    Args:
        kept: the map to keep of this frame.
        recalled: the one kept before, on the present grid.
        weight: of each cell, 0 where the two need not agree.
    """
    distance = (kept.float() - recalled.float()).abs().mean(dim=1)
    return (distance * weight).sum() / shared_count(weight.sum())


def perspective_terms(
    logits: Float[Tensor, "B N K H W"], targets: Mapping[str, Tensor], train: TrainConfig
) -> LossTerms:
    """Return the term of the classes in the images; `targets` are collated ones."""
    return LossTerms(
        values={"perspective": perspective_loss(logits, targets["image_class"])},
        weights={"perspective": train.weight_perspective},
    )
