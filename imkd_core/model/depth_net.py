# SPDX-License-Identifier: Apache-2.0
"""Depth distribution and context of each image cell, aware of the camera (method.md 3.1).

The light net of CRN with the camera-aware gates of BEVDepth: intrinsics and pose pass through a
small perceptron whose sigmoid outputs scale the channels, for depth and for context apart.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.model.layers import ConvBnRelu
from imkd_core.model.resnet import BasicBlock

#: Numbers that describe a camera: fx/W, fy/H, cx/W, cy/H, then ego_from_cam[:3, :4] row by row.
CAMERA_PARAMS = 16

#: Camera positions are divided by this, so that all camera numbers are about 1.
_TRANSLATION_SCALE_M = 2.0

#: Places of the translation within the camera's numbers.
_TRANSLATION_COLUMNS = (7, 11, 15)

#: Start of the context's last weights, relative to He's: F_cam then has the scale of F_rad (on the
#: real key frame 0.6 against 0.7 once depth is learned; without it 0.15).
_CONTEXT_GAIN = 4.0


class CameraGate(nn.Module):
    """Channel gates from a camera's numbers.

    The numbers are scaled by constants: a norm over the batch has no meaning for one camera.
    """

    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        scale = torch.ones(CAMERA_PARAMS)
        scale[list(_TRANSLATION_COLUMNS)] = 1 / _TRANSLATION_SCALE_M
        self.register_buffer("scale", scale, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(CAMERA_PARAMS, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
        )
        self.to_context = nn.Linear(channels, channels)
        self.to_depth = nn.Linear(channels, channels)

    def forward(
        self, camera_params: Float[Tensor, "BN 16"]
    ) -> tuple[Float[Tensor, "BN C 1 1"], Float[Tensor, "BN C 1 1"]]:
        """Return the gates of context and depth, each in (0, 1)."""
        hidden: Tensor = self.layers(camera_params * self.scale)
        context_gate = self.to_context(hidden).sigmoid()[:, :, None, None]
        depth_gate = self.to_depth(hidden).sigmoid()[:, :, None, None]
        return context_gate, depth_gate


class DepthNet(nn.Module):
    """Image features to a depth distribution (as logits) and a context vector per cell."""

    def __init__(
        self, in_channels: int, channels: int, context_channels: int, depth_bins: int
    ) -> None:
        super().__init__()
        self.reduce = ConvBnRelu(in_channels, channels)
        self.gate = CameraGate(channels)
        self.context = nn.Sequential(
            ConvBnRelu(channels, channels), nn.Conv2d(channels, context_channels, 1)
        )
        self.depth = nn.Sequential(
            *(BasicBlock(channels, channels) for _ in range(3)),
            nn.Conv2d(channels, depth_bins, 1),
        )

    def reset_outputs(self) -> None:
        """Let depth start nearly uniform, so that no depth is favoured before it is learned.

        A uniform depth spreads the context thinly over all bins; the context starts larger for it.
        """
        nn.init.normal_(self.depth[-1].weight, std=0.01)  # type: ignore[arg-type]
        with torch.no_grad():
            self.context[-1].weight.mul_(_CONTEXT_GAIN)  # type: ignore[operator]

    def forward(
        self,
        features: Float[Tensor, "BN F Hf Wf"],
        camera_params: Float[Tensor, "BN 16"],
    ) -> tuple[Float[Tensor, "BN D Hf Wf"], Float[Tensor, "BN C Hf Wf"]]:
        """Return depth logits and context."""
        x: Tensor = self.reduce(features)
        context_gate, depth_gate = self.gate(camera_params)
        return self.depth(x * depth_gate), self.context(x * context_gate)
