# SPDX-License-Identifier: Apache-2.0
"""A running mean of the weights, which is delivered in place of the last ones (method.md 6)."""

import torch
from torch import Tensor, nn

#: The mean starts short, (1 + step) / (RAMP + step), so that random first weights are forgotten.
#: BEVDepth's code presets the step and so has no ramp; its students start from ImageNet weights.
RAMP = 10


class WeightAverage:
    """Exponential running mean of a module's state, running statistics included.

    Args:
        module: whose state is followed.
        decay: of the mean, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self._state = {key: value.clone() for key, value in module.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the mean, by the names of the module's state."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a mean that was written before; keys and shapes must be the module's."""
        for key, value in self._state.items():
            value.copy_(state[key])

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the mean towards the module; `step` is the number of steps done, this included."""
        weight = 1 - min(self._decay, (1 + step) / (RAMP + step))
        for key, value in self._module.state_dict().items():
            mean = self._state[key]
            if mean.is_floating_point():
                mean.lerp_(value, weight)
            else:
                mean.copy_(value)
