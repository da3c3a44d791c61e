# SPDX-License-Identifier: Apache-2.0
"""What image features say they show; training only, like the adaptors: export knows nothing of it.

Perspective supervision (BEVFormer v2, arXiv 2211.10439).
"""

from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.model.center_head import HEATMAP_BIAS
from imkd_core.recipe import Config


class PerspectiveHead(nn.Module):
    """A 1 x 1 convolution from the context of each image cell to the classes."""

    def __init__(self, context_channels: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Conv2d(context_channels, classes, 1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.constant_(self.classes.bias, HEATMAP_BIAS)  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: Config) -> "PerspectiveHead":
        """Return the head of a student's configuration, with random weights."""
        return cls(config.model.context_channels, len(config.head.class_names))

    def forward(self, context: Float[Tensor, "B N C Hf Wf"]) -> Float[Tensor, "B N classes Hf Wf"]:
        """Return the logits of each cell."""
        logits: Tensor = self.classes(context.flatten(0, 1))
        return logits.reshape(*context.shape[:2], *logits.shape[1:])
