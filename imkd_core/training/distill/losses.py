# SPDX-License-Identifier: Apache-2.0
"""The terms of the distillation as functions (method.md 5.3 to 5.6, 12, 13), in fp32 always.

Every feature term is the mean over the samples of a batch of one weighted mean over cells, so a
batch costs what its samples alone cost on average, and one that is not taught (weight 0) adds
nothing. Teachers are detached: they never get a gradient.

Letters: B batch, Kp taught channels, K classes, Y X cells, M objects, T task groups.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from imkd_core.config import BOX_CODE
from imkd_core.training.distributed import shared_count
from imkd_core.training.losses import FOCAL_ALPHA, FOCAL_GAMMA

#: Weight of cells where neither LiDAR, radar nor a label has anything: clutter is discouraged.
EMPTY_SPACE_WEIGHT = 0.05

#: I_L above this multiple of its minimum means that LiDAR returned something there.
SEEN_FACTOR = 1.5

#: Largest target of LabelDistill's response term, and exponent of the quality focal loss.
LD_LARGEST_TARGET = 1 - 1e-4
QUALITY_BETA = 2.0

#: Gates are held this far from 0 and 1 before their logarithm; bf16 rounds 0.999 to 1.
GATE_EPSILON = 1e-4

_VELOCITY = BOX_CODE.index("vx")


def taught_intensity(
    i_lidar: Float[Tensor, "B Y X"],
    label_mask: Float[Tensor, "B Y X"],
    object_floor: float,
    minimum: float,
) -> Float[Tensor, "B Y X"]:
    """Return I_L, raised to a share of M inside boxes that LiDAR saw (method.md 13).

    A dark car returns little and would not be taught. An object without any return is left
    alone: there the teacher knows no more than the student, and labels weigh more.
    """
    raised = torch.maximum(i_lidar.float(), object_floor * label_mask.float())
    return torch.where(i_lidar > SEEN_FACTOR * minimum, raised, i_lidar.float()).detach()


def radar_guidance_weight(
    intensity: Float[Tensor, "B Y X"],
    radar_occupied: Float[Tensor, "B Y X"],
    label_mask: Float[Tensor, "B Y X"],
) -> Float[Tensor, "B Y X"]:
    """Return w of the masked form: where LiDAR knows something, and a little in empty space."""
    empty = (1 - intensity) * (1 - radar_occupied) * (1 - label_mask)
    return intensity + EMPTY_SPACE_WEIGHT * empty


def swapped_label_weight(
    label_mask: Float[Tensor, "B Y X"], i_lidar: Float[Tensor, "B Y X"]
) -> Float[Tensor, "B Y X"]:
    """Return M' = M (1 + (1 - I_L)): labels weigh more where LiDAR is weak (method.md 12.10)."""
    return label_mask * (2 - i_lidar)


def cell_distance(
    student: Float[Tensor, "B Kp Y X"],
    teacher: Float[Tensor, "B Kp Y X"],
    channels: int,
    huber: float,
) -> Float[Tensor, "B Y X"]:
    """Return the squared distance S of each cell, divided by the root of the teacher's channels.

    A teacher's channel has a standard deviation of 1, so S grows with their number, and its
    gradient on the student's map, through an adaptor, with the root of it. Divided by that root
    a weight means the same for wide and narrow teachers (measured over the first 30 steps of a
    student, 64 channels, weight 0.3: L2F has 0.15 to 0.6 of the detection's gradient on the fused
    map, labels 0.3 to 1.4; the plain sum would give eight times as much, the mean an eighth).
    Principal components sum to what all channels would give, less what
    they leave out.

    Args:
        student: adapted map.
        teacher: taught map.
        channels: of F_L, before it was projected.
        huber: deviations a channel from which S grows linearly; 0 never. It depends on the length
            of the difference alone, so it means the same on every basis.
    """
    student = student.to(torch.float32, memory_format=torch.contiguous_format)
    difference = student - teacher.detach().float()
    squared = difference.square().sum(dim=1) / channels
    if huber > 0:
        is_near = squared <= huber**2
        far = torch.where(is_near, torch.full_like(squared, huber**2), squared)
        squared = torch.where(is_near, squared, 2 * huber * far.sqrt() - huber**2)
    return squared * math.sqrt(channels)


def weighted_mean(
    distance: Float[Tensor, "B Y X"],
    weight: Float[Tensor, "B Y X"],
    weight_sum: Float[Tensor, " B"],
    sample_weight: Float[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Return the mean over samples of sum(weight * distance) / weight_sum * sample_weight."""
    weight = weight.detach().float()
    per_sample = (weight * distance).sum(dim=(1, 2)) / weight_sum.detach()
    return (per_sample * sample_weight.detach().float()).mean()


def total_weight(weight: Float[Tensor, "B Y X"], least: float = 1e-6) -> Float[Tensor, " B"]:
    """Return each sample's sum of weights, `least` at least."""
    return weight.detach().float().sum(dim=(1, 2)).clamp(min=least)


def response_class_loss(
    logits: Float[Tensor, "B K Y X"],
    heat_teacher: Float[Tensor, "B K Y X"],
    heatmap: Float[Tensor, "B K Y X"],
    objects: Tensor,
    sample_weight: Float[Tensor, " B"],
    form: str,
) -> Float[Tensor, ""]:
    """Return the class part of the response term, divided by the number of objects.

    The target is q = p_teacher * G, with G the Gaussians of the true objects.

    Args:
        logits: the student's.
        heat_teacher: the LiDAR teacher's probabilities.
        heatmap: G.
        objects: how many true objects the batch holds (0-dim).
        sample_weight: of each sample.
        form: "quality": |p - q|^2 BCE(p, q) (0 only where p = q, and pulls both ways);
            "ld_exact": LabelDistill's Gaussian focal loss of q, which has no positive part.
    """
    logits, soft = logits.float(), (heat_teacher * heatmap).detach().float()
    probability = logits.sigmoid()
    if form == "quality":
        entropy = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        # BCE is least at p = q, not 0: the factor before it makes the term 0 there
        costs = (probability - soft).abs() ** QUALITY_BETA * entropy
    else:
        far = (1 - soft.clamp(max=LD_LARGEST_TARGET)) ** FOCAL_GAMMA
        costs = -functional.logsigmoid(-logits) * probability**FOCAL_ALPHA * far
    per_sample = costs.sum(dim=(1, 2, 3)) * sample_weight.detach()
    return per_sample.sum() / shared_count(objects)


def response_box_loss(
    code: Float[Tensor, "B M C"],
    code_teacher: Float[Tensor, "B M C"],
    confidence: Float[Tensor, "B M"],
    sample_weight: Float[Tensor, " B"],
    velocity_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Return sum_k c_k |b_S - b_T|_1 / max(1, sum_k c_k) over the objects of the batch.

    Args:
        code: the student's at each object's cell, see `codes_at`.
        code_teacher: the teacher's code there.
        confidence: c_k; 0 for padding and where the teacher is not to be trusted.
        sample_weight: of each sample.
        velocity_weight: of vx and vy among the numbers of the code, as in the box loss.
    """
    confidence = confidence.detach().float()
    error = (code - code_teacher.detach().float()).abs()
    distance = error[..., :_VELOCITY].sum(-1) + velocity_weight * error[..., _VELOCITY:].sum(-1)
    weighted = distance * confidence * sample_weight.detach().float()[:, None]
    return weighted.sum() / shared_count(confidence.sum())


def doppler_loss(
    code: Float[Tensor, "B M C"], doppler: Float[Tensor, "B M 4"]
) -> Float[Tensor, ""]:
    """Return |v . u - v_r| at objects with radar returns, in metres a second (method.md 12.4).

    Args:
        code: the student's at each object's cell.
        doppler: unit line of sight (ux, uy), measured radial velocity over ground, and weight
            (0 without returns) of each object.
    """
    doppler = doppler.detach().float()
    velocity = code[..., _VELOCITY : _VELOCITY + 2]
    radial = (velocity * doppler[..., :2]).sum(-1)
    weight = doppler[..., 3]
    error = (radial - doppler[..., 2]).abs() * weight
    return error.sum() / shared_count(weight.sum())


def gate_loss(
    gate: Float[Tensor, "B 1 Y X"],
    trusted: Float[Tensor, "B Y X"],
    not_trusted: Float[Tensor, "B Y X"],
) -> Float[Tensor, ""]:
    """Return the cross entropy of an intensity gate; both kinds of cells weigh the same in sum.

    Args:
        gate: I_cam or I_rad.
        trusted: weight of cells where the gate should be open.
        not_trusted: weight of cells where it should be shut; cells in neither are left alone.
    """
    opening = gate[:, 0].float().clamp(GATE_EPSILON, 1 - GATE_EPSILON)
    open_cost = -(opening.log() * trusted.detach()).sum() / shared_count(trusted.sum())
    shut_cost = -((1 - opening).log() * not_trusted.detach()).sum()
    return 0.5 * (open_cost + shut_cost / shared_count(not_trusted.sum()))


def codes_at(
    codes: Float[Tensor, "B TC Y X"], cell: Int[Tensor, "B M"], task: Int[Tensor, "B M"]
) -> Float[Tensor, "B M C"]:
    """Return the code of each object's task group at its cell, in float32.

    Args:
        codes: the student's, ten of `config.BOX_CODE` for each task group.
        cell: flat cell of each object.
        task: its task group.
    """
    batch, channels = codes.shape[:2]
    per_task = codes.reshape(batch, channels // len(BOX_CODE), len(BOX_CODE), -1)
    rows = torch.arange(batch, device=codes.device)[:, None]
    return per_task[rows, task, :, cell].float()
