# SPDX-License-Identifier: Apache-2.0
"""Adaptors between the student's maps and the teachers' features (method.md 4.5); training only.

They belong to the distillation, not to the student: an exported student knows nothing of them.
"""

from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.mapping import require
from imkd_core.model.layers import init_weights
from imkd_core.recipe import Config


def taught_channels(config: Config) -> int:
    """Return the channels of the taught maps: principal components, or all of F_L.

    Raises:
        ConfigError: more components are asked for than the teacher has channels.
    """
    asked, given = config.distill.channels, config.teacher.channels
    require(
        asked <= given,
        f"distill.channels is {asked}, teacher.channels only {given}; lower it (0 keeps all)",
    )
    return asked or given


class Adaptor(nn.Module):
    """A 3 x 3 convolution with norm and ReLU, and a residual block behind it.

    Args:
        in_channels: of the student's map.
        out_channels: of the taught map.
        signed: the taught map has negative numbers (principal components), so nothing is cut off
            at the end; F_L itself is behind a ReLU, and so is then the adaptor's output.
    """

    def __init__(self, in_channels: int, out_channels: int, signed: bool) -> None:
        super().__init__()
        self.enter = _conv_norm(in_channels, out_channels)
        self.first = _conv_norm(out_channels, out_channels)
        self.second = _conv_norm(out_channels, out_channels)
        self.relu = nn.ReLU()
        self.signed = signed
        init_weights(self)

    def forward(self, student_map: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B Kp Y X"]:
        """Return the student's map in the teacher's feature space, on the same grid."""
        entered = self.relu(self.enter(student_map))
        adapted: Tensor = entered + self.second(self.relu(self.first(entered)))
        return adapted if self.signed else self.relu(adapted)


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3 x 3 convolution that repeats the border, so that it sees no edge of the world."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False, padding_mode="replicate"),
        nn.BatchNorm2d(out_channels),
    )
