# SPDX-License-Identifier: Apache-2.0
"""Adaptors between the student's maps and the teachers' features (method.md 4.5); training only.

They belong to the distillation, not to the student: an exported student knows nothing of them.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

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
    """A 3 x 3 convolution with norm and ReLU, and residual blocks behind it.

    The map's border is repeated once, before the first convolution, so that none of them sees an
    edge of the world.

    Args:
        in_channels: of the student's map.
        out_channels: of the taught map.
        signed: the taught map has negative numbers (principal components), so nothing is cut off
            at the end; F_L itself is behind a ReLU, and so is then the adaptor's output.
        blocks: residual blocks; without one a 1 x 1 convolution ends the adaptor.
    """

    def __init__(self, in_channels: int, out_channels: int, signed: bool, blocks: int = 1) -> None:
        super().__init__()
        self.border = 1 + 2 * blocks
        self.enter = _conv_norm(in_channels, out_channels)
        self.blocks = nn.ModuleList(_Residual(out_channels) for _ in range(blocks))
        self.leave = nn.Identity() if blocks else nn.Conv2d(out_channels, out_channels, 1)
        self.signed = signed
        init_weights(self)

    def forward(self, student_map: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B Kp Y X"]:
        """Return the student's map in the teacher's feature space, on the same grid."""
        adapted = functional.pad(student_map, (self.border,) * 4, mode="replicate")
        adapted = functional.relu(self.enter(adapted))
        for index, block in enumerate(self.blocks):
            adapted = block(functional.relu(adapted) if index else adapted)
        adapted = self.leave(adapted)
        return adapted if self.signed else functional.relu(adapted)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; the map gets four cells smaller."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv_norm(channels, channels)
        self.second = _conv_norm(channels, channels)

    def forward(self, x: Float[Tensor, "B Kp Y X"]) -> Float[Tensor, "B Kp Y2 X2"]:
        residual: Tensor = self.second(functional.relu(self.first(x)))
        return x[:, :, 2:-2, 2:-2] + residual


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with norm, whose map is two cells smaller."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, bias=False), nn.BatchNorm2d(out_channels)
    )
