# SPDX-License-Identifier: Apache-2.0
"""Keeps the distillation from drowning the detection: a watch over gradient norms (method.md 5.7).

Every few hundred steps the gradient of each term on the fused map is compared with that of the
detection. A term that is too strong several times in a row is scaled down, for good.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.teaching import DistillConfig
from imkd_core.training.distributed import sum_over_processes


class GradientGuard(nn.Module):
    """Factors on the terms of the distillation; they are state, and checkpoints hold them.

    Args:
        terms: names of the guarded terms. One that does not reach the watched map has no gradient
            on it, and is never scaled: the radar's guidance stays in the radar encoder.
        config: ratio, patience and how often to look; a ratio of 0 never looks.
    """

    scale: Tensor
    failures: Tensor
    ratio: Tensor

    def __init__(self, terms: tuple[str, ...], config: DistillConfig) -> None:
        super().__init__()
        self.terms = terms
        self._limit = config.guard_ratio
        self._every_steps = config.guard_every_steps
        self._patience = config.guard_patience
        self.register_buffer("scale", torch.ones(len(terms), dtype=torch.float64))
        self.register_buffer("failures", torch.zeros(len(terms), dtype=torch.int64))
        self.register_buffer("ratio", torch.zeros(len(terms), dtype=torch.float64))

    def is_due(self, step: int) -> bool:
        """Return whether the norms are taken at a step."""
        return self._limit > 0 and step % self._every_steps == 0 and torch.is_grad_enabled()

    def factors(self) -> dict[str, float]:
        """Return the factor on each term's weight."""
        return dict(zip(self.terms, self.scale.tolist(), strict=True))

    def check(
        self,
        weighted_terms: Mapping[str, Tensor],
        detection: Float[Tensor, ""],
        watched: Float[Tensor, "B C Y X"],
    ) -> None:
        """Compare gradients and scale down what has been too strong for too long.

        Args:
            weighted_terms: the guarded terms as they enter the total; their graph is kept.
            detection: the detection's terms as they enter the total.
            watched: the map on which gradients are compared.
        """
        wanted = gradient_norm(detection, watched)
        norms = torch.stack([gradient_norm(weighted_terms[term], watched) for term in self.terms])
        self.ratio.copy_(torch.where(wanted > 0, norms / wanted, torch.zeros_like(norms)))
        too_strong = self.ratio > self._limit
        self.failures.copy_(torch.where(too_strong, self.failures + 1, 0))
        is_over = self.failures >= self._patience
        self.scale.mul_(torch.where(is_over, self._limit / self.ratio.clamp(min=1e-12), 1.0))
        self.failures.masked_fill_(is_over, 0)


def gradient_norm(loss: Float[Tensor, ""], watched: Float[Tensor, "B C Y X"]) -> Float[Tensor, ""]:
    """Return the float64 norm of a loss's gradient on a map, over the maps of all processes.

    0 where the loss does not depend on the map; the graph is kept.
    """
    if not loss.requires_grad:
        return torch.zeros((), dtype=torch.float64, device=watched.device)
    (gradient,) = torch.autograd.grad(loss, watched, retain_graph=True, allow_unused=True)
    squared = torch.zeros((), dtype=torch.float64, device=watched.device)
    if gradient is not None:
        squared = gradient.double().square().sum()
    total: Tensor = sum_over_processes(squared).sqrt()
    return total
