# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 with the parameter names of torchvision, without its last 1 x 1 and classifier."""

from jaxtyping import Float
from torch import Tensor, nn

#: (expansion, channels, blocks, first stride) of each group of inverted residuals.
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

#: Blocks whose outputs are the maps of stride 4, 8, 16 and 32.
_TAPS = (3, 6, 13, 17)


def _conv_bn_relu6(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; with a shortcut where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(in_channels, hidden, 1, 1))
        layers.append(_conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Return the block's output; the stride divides H and W."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """The feature blocks of MobileNetV2, as maps of stride 4, 8, 16 and 32.

    Attributes:
        channels: of the four maps.
        unused_keys: prefixes of torchvision's parameters that this network has no use for.
    """

    unused_keys = ("features.18.", "classifier.")
    channels = (24, 32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_conv_bn_relu6(3, 32, 3, 2)]
        in_channels = 32
        for expansion, out_channels, repeats, first_stride in _GROUPS:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                blocks.append(InvertedResidual(in_channels, out_channels, stride, expansion))
                in_channels = out_channels
        self.features = nn.Sequential(*blocks)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return maps [B, channels[i], H / s, W / s] of stride s = 4, 8, 16, 32."""
        x: Tensor = images
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in _TAPS:
                maps.append(x)
        return maps
