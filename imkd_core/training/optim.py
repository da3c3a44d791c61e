# SPDX-License-Identifier: Apache-2.0
"""Optimiser, learning-rate schedule (method.md 6)."""

import math

import torch
from torch import nn

from imkd_core.recipe import TrainConfig

#: The cosine ends at this fraction of the learning rate.
FINAL_RATE_FACTOR = 0.01


def make_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW; norms and biases do not decay.

    The image backbone and a memory's own weights have factors on their rates. Each group keeps its
    rate before the schedule as `initial_lr`.
    """
    factors = {"backbone": train.backbone_rate_factor, "temporal": train.memory_rate_factor}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next((part for part in factors if part in name.split(".")), "")
            groups.setdefault((part, parameter.ndim > 1), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": train.learning_rate * factors.get(part, 1.0),
                "weight_decay": train.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
        ]
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def rate_factor(step: int, train: TrainConfig) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine."""
    if step < train.warmup_steps:
        return (step + 1) / (train.warmup_steps + 1)
    progress = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return FINAL_RATE_FACTOR + (1 - FINAL_RATE_FACTOR) * cosine
