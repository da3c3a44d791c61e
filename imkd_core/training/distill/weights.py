# SPDX-License-Identifier: Apache-2.0
"""How much each term of the distillation weighs at a step (method.md 5.7)."""

import math
from types import MappingProxyType

from imkd_core.recipe import Config

#: Loss term -> the field of `DistillConfig` that holds its weight. The response has two parts.
WEIGHT_OF_TERM = MappingProxyType(
    {
        "lidar_to_radar": "lidar_to_radar",
        "lidar_to_fused": "lidar_to_fused",
        "label_to_fused": "label_to_fused",
        "response_class": "response",
        "response_box": "response",
        "gate": "gate",
        "doppler": "doppler",
    }
)

#: Terms that fall late, so that the student can leave the LiDAR teacher behind.
DECAYING = frozenset({"lidar_to_radar", "lidar_to_fused"})


def base_weights(config: Config) -> dict[str, float]:
    """Return the full weight of every term that is switched on."""
    weights = {
        term: float(getattr(config.distill, field)) for term, field in WEIGHT_OF_TERM.items()
    }
    weights["response_box"] *= config.train.weight_box
    return {term: weight for term, weight in weights.items() if weight > 0}


def scheduled_weights(config: Config, step: int) -> dict[str, float]:
    """Return the weights at a step: a linear warm-up, and a late cosine decay of two terms.

    Args:
        config: `distill` and `train.steps`.
        step: optimiser steps done before.
    """
    warmup = warmup_factor(step, config.distill.warmup_steps)
    decay = decay_factor(
        step / config.train.steps, config.distill.decay_from, config.distill.decay_to
    )
    return {
        term: weight * warmup * (decay if term in DECAYING else 1.0)
        for term, weight in base_weights(config).items()
    }


def warmup_factor(step: int, warmup_steps: int) -> float:
    """Return a factor that grows linearly to 1 over the first steps."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def decay_factor(progress: float, decay_from: float, decay_to: float) -> float:
    """Return a factor that falls along a cosine from 1 at `decay_from` to `decay_to` at the end.

    Args:
        progress: fraction of the steps done.
        decay_from: fraction of the steps from which it falls; 1 never.
        decay_to: the last value.
    """
    if progress <= decay_from or decay_from >= 1:
        return 1.0
    fallen = min(1.0, (progress - decay_from) / (1 - decay_from))
    return decay_to + (1 - decay_to) * 0.5 * (1 + math.cos(math.pi * fallen))
