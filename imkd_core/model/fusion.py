# SPDX-License-Identifier: Apache-2.0
"""Intensity-aware fusion: each sensor's map is scaled by how far it can be trusted (method.md 3.4).

I_cam = sigmoid(g_c([F_cam ; e_cam]))        I_rad = sigmoid(g_r([F_rad ; e_rad]))
F_mrg = phi([F_cam * I_cam ; F_rad * I_rad])
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.model.layers import ConvBnRelu

#: Last bias of a gate: sigmoid(2) = 0.88, so training starts close to plain concatenation.
GATE_BIAS = 2.0

_GATE_CHANNELS = 16


class IntensityGate(nn.Module):
    """One number in (0, 1) per cell, from a sensor's map and the evidence behind it."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(in_channels, _GATE_CHANNELS, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(_GATE_CHANNELS, 1, 1)

    def reset_outputs(self) -> None:
        """Let the gate start open (0.88) and nearly flat, yet with a gradient behind it."""
        nn.init.normal_(self.out.weight, std=0.003)
        nn.init.constant_(self.out.bias, GATE_BIAS)  # type: ignore[arg-type]

    def forward(
        self, bev: Float[Tensor, "B C Y X"], evidence: Float[Tensor, "B E Y X"]
    ) -> Float[Tensor, "B 1 Y X"]:
        """Return the sensor's intensity map."""
        hidden = self.relu(self.hidden(torch.cat([bev, evidence], dim=1)))
        return self.out(hidden).sigmoid()


class MergeBlock(nn.Module):
    """phi: two 3 x 3 convolutions around a 1 x 1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBnRelu(in_channels, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.skip_bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B C2 Y X"]:
        """Return the merged map."""
        y = self.bn2(self.conv2(self.conv1(x)))
        return self.relu(y + self.skip_bn(self.skip(x)))


class IntensityAwareFusion(nn.Module):
    """Gate both maps by their intensity and merge them."""

    def __init__(
        self, camera_channels: int, radar_channels: int, radar_evidence: int, out: int
    ) -> None:
        super().__init__()
        self.camera_gate = IntensityGate(camera_channels + 1)
        self.radar_gate = IntensityGate(radar_channels + radar_evidence)
        self.merge = MergeBlock(camera_channels + radar_channels, out)

    def forward(
        self,
        camera_bev: Float[Tensor, "B Cc Y X"],
        camera_evidence: Float[Tensor, "B 1 Y X"],
        radar_bev: Float[Tensor, "B Cr Y X"],
        radar_evidence: Float[Tensor, "B E Y X"],
    ) -> tuple[Float[Tensor, "B C Y X"], Float[Tensor, "B 1 Y X"], Float[Tensor, "B 1 Y X"]]:
        """Return the merged map, I_cam and I_rad, on the same grid as the inputs."""
        i_cam: Tensor = self.camera_gate(camera_bev, camera_evidence)
        i_rad: Tensor = self.radar_gate(radar_bev, radar_evidence)
        merged: Tensor = self.merge(torch.cat([camera_bev * i_cam, radar_bev * i_rad], dim=1))
        return merged, i_cam, i_rad
