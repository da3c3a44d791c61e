# SPDX-License-Identifier: Apache-2.0
"""ResNet-18, 50 and 101 of any width, with the parameter names of torchvision's files."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Return the block's output; the stride divides H and W."""
        skip = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + skip)


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 (which strides, as torchvision's does) and a 1 x 1 around a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Return the block's output; the stride divides H and W."""
        skip = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + skip)


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    width: int,
    blocks: int,
    stride: int,
) -> nn.Sequential:
    """Return `blocks` residual blocks, of which the first strides."""
    out_channels = width * block.expansion
    layers = [block(in_channels, width, stride)]
    layers += [block(out_channels, width) for _ in range(blocks - 1)]
    return nn.Sequential(*layers)


class ResNet(nn.Module):
    """The four stages of a ResNet, as maps of stride 4, 8, 16 and 32.

    Attributes:
        channels: of the four maps.
        unused_keys: prefixes of torchvision's parameters that this network has no use for.
    """

    unused_keys = ("fc.",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [width * 2**i for i in range(4)]
        self.channels = tuple(w * block.expansion for w in widths)
        self.layer1 = residual_stage(block, width, widths[0], blocks[0], 1)
        self.layer2 = residual_stage(block, self.channels[0], widths[1], blocks[1], 2)
        self.layer3 = residual_stage(block, self.channels[1], widths[2], blocks[2], 2)
        self.layer4 = residual_stage(block, self.channels[2], widths[3], blocks[3], 2)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Return maps [B, channels[i], H / s, W / s] of stride s = 4, 8, 16, 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def resnet18(width: int = 64) -> ResNet:
    """Return ResNet-18; width 64 fits torchvision's file."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width)


def resnet50(width: int = 64) -> ResNet:
    """Return ResNet-50; width 64 fits torchvision's file."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width)


def resnet101(width: int = 64) -> ResNet:
    """Return ResNet-101; width 64 fits torchvision's file."""
    return ResNet(Bottleneck, (3, 4, 23, 3), width)
