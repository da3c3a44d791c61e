# SPDX-License-Identifier: Apache-2.0
"""Building blocks that every network shares: convolutions with norm, initial weights."""

from torch import nn


class ConvBnRelu(nn.Sequential):
    """A convolution without bias, batch norm and ReLU; `kernel // 2` pixels of padding."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def conv_stack(in_channels: int, out_channels: int, repeats: int, stride: int) -> nn.Sequential:
    """Return one 3 x 3 block that strides and `repeats` that do not.

    A stride above 3 takes a wider first kernel, so that no pixel is left out.
    """
    first_kernel = 3 if stride <= 3 else stride + 1 - stride % 2
    blocks = [ConvBnRelu(in_channels, out_channels, first_kernel, stride)]
    blocks += [ConvBnRelu(out_channels, out_channels) for _ in range(repeats)]
    return nn.Sequential(*blocks)


def init_weights(module: nn.Module) -> None:
    """Fill convolutions with He's normal distribution (fan out); norms start as the identity.

    A module with a start of its own sets it after this has run on the whole network.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
            if child.bias is not None:
                nn.init.zeros_(child.bias)
