# SPDX-License-Identifier: Apache-2.0
"""The student: everything that exists on the vehicle, from images and radar grid to head maps."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int32, Num
from torch import Tensor, nn

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.model.bev_trunk import BevTrunk
from imkd_core.model.center_head import Candidates, CenterHead, boxes_of
from imkd_core.model.depth_net import DepthNet
from imkd_core.model.fusion import IntensityAwareFusion
from imkd_core.model.layers import init_weights
from imkd_core.model.line_of_sight import FIELD_CHANNELS, LineOfSightCodes, doppler_field
from imkd_core.model.mobilenet import MobileNetV2
from imkd_core.model.radar_encoder import EVIDENCE_CHANNELS, RadarEncoder
from imkd_core.model.resnet import ResNet, resnet18, resnet50, resnet101
from imkd_core.model.second import SecondNeck
from imkd_core.model.temporal import TemporalFusion
from imkd_core.model.view_transform import ViewTransform
from imkd_core.recipe import Config, ModelConfig

#: ImageNet's mean and standard deviation, grey levels of RGB (method.md 3.1).
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)

#: Strides of the maps that every image backbone gives.
BACKBONE_STRIDES = (4, 8, 16, 32)


class StudentOutput(NamedTuple):
    """Maps of one batch; BEV maps are [.., Y, X] on `InputSpec.bev`.

    Attributes:
        heatmap_logits: one per class, before the sigmoid.
        codes: ten of `config.BOX_CODE` for each task group.
        depth_logits: before the softmax over the D bins, of all cameras, masked or not.
        context: what each image cell puts into the bird's-eye view.
        camera_bev: F_cam, 0 where no live camera sees.
        radar_bev: F_rad before its gate, 0 without radar.
        fused_bev: F_fus, which enters the trunk.
        i_cam, i_rad: intensity gates of the two sensors, in (0, 1).
        memory: the map to keep for later frames: F_mrg for a window, else F_fus.
    """

    heatmap_logits: Float[Tensor, "B classes Y X"]
    codes: Float[Tensor, "B codes Y X"]
    depth_logits: Float[Tensor, "B N D Hf Wf"]
    context: Float[Tensor, "B N Cc Hf Wf"]
    camera_bev: Float[Tensor, "B Cc Y X"]
    radar_bev: Float[Tensor, "B Cr Y X"]
    fused_bev: Float[Tensor, "B C Y X"]
    i_cam: Float[Tensor, "B 1 Y X"]
    i_rad: Float[Tensor, "B 1 Y X"]
    memory: Float[Tensor, "B C Y X"]


class EncodedFrame(NamedTuple):
    """What one frame's sensors say by themselves; fields as `StudentOutput`.

    Attributes:
        merged_bev: F_mrg, both sensors' maps behind their gates.
        doppler: radial speeds per cell (see `line_of_sight.doppler_field`), 0 without radar.
    """

    depth_logits: Float[Tensor, "B N D Hf Wf"]
    context: Float[Tensor, "B N Cc Hf Wf"]
    camera_bev: Float[Tensor, "B Cc Y X"]
    radar_bev: Float[Tensor, "B Cr Y X"]
    merged_bev: Float[Tensor, "B C Y X"]
    doppler: Float[Tensor, "B F Y X"]
    i_cam: Float[Tensor, "B 1 Y X"]
    i_rad: Float[Tensor, "B 1 Y X"]


class ImageNorm(nn.Module):
    """Grey levels 0..255 to numbers of mean 0 and deviation 1; part of the network and its file."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        self.register_buffer("scale", (1 / std)[:, None, None], persistent=False)
        self.register_buffer("shift", (-mean / std)[:, None, None], persistent=False)

    def forward(self, images: Num[Tensor, "BN 3 H W"]) -> Float[Tensor, "BN 3 H W"]:
        """Return grey levels (uint8, or cast already) as normalised numbers."""
        return images.to(self.scale.dtype) * self.scale + self.shift


def build_backbone(model: ModelConfig) -> ResNet | MobileNetV2:
    """Return the image backbone of a configuration, with random weights."""
    if model.backbone == "mobilenet_v2":
        return MobileNetV2()
    resnets = {"resnet18": resnet18, "resnet50": resnet50, "resnet101": resnet101}
    return resnets[model.backbone](model.backbone_width)


class Student(nn.Module):
    """Camera and radar to objects in the bird's-eye view (method.md 3).

    A frame is encoded by itself, fused with what is remembered of earlier ones where
    `InputSpec.memory` says so, and decoded. The arguments of `forward` bear the names of the
    exported graph's inputs, with the batch in front, so that a collated mapping can be passed as
    `student(**inputs)`.
    """

    def __init__(self, inputs: InputSpec, head: HeadSpec, model: ModelConfig) -> None:
        super().__init__()
        self.inputs, self.head_spec = inputs, head
        self.image_norm = ImageNorm()
        self.backbone = build_backbone(model)
        self.neck = SecondNeck(
            self.backbone.channels,
            BACKBONE_STRIDES,
            model.neck_channels,
            inputs.feature_stride_px,
        )
        self.depth_net = DepthNet(
            self.neck.channels, model.depth_channels, model.context_channels, inputs.depth.count
        )
        self.view_transform = ViewTransform(inputs.bev.shape)
        self.radar_encoder = RadarEncoder(
            model.radar_widths, model.radar_channels, inputs.radar_refinement
        )
        self.fusion = IntensityAwareFusion(
            model.context_channels,
            model.radar_channels,
            len(EVIDENCE_CHANNELS),
            model.fused_channels,
        )
        self.trunk = BevTrunk(
            model.fused_channels,
            model.trunk_channels,
            model.trunk_blocks,
            model.trunk_neck_channels,
        )
        with_field = self.trunk.out_channels + FIELD_CHANNELS
        self.head = CenterHead(with_field, model.head_channels, head)
        self.line_of_sight = LineOfSightCodes(with_field, len(head.tasks), inputs.bev)
        self._init_weights()
        # Last, so that the other weights start as they do without a memory.
        self.temporal = TemporalFusion(inputs.memory, inputs.bev) if inputs.memory.frames else None

    @classmethod
    def from_config(cls, config: Config) -> "Student":
        """Return the student of a configuration file, with random weights."""
        return cls(config.inputs, config.head, config.model)

    def _init_weights(self) -> None:
        init_weights(self)
        self.depth_net.reset_outputs()
        self.fusion.camera_gate.reset_outputs()
        self.fusion.radar_gate.reset_outputs()
        self.head.reset_outputs()
        self.line_of_sight.reset_outputs()

    def forward(
        self,
        images: Num[Tensor, "B N 3 H W"],
        camera_mask: Float[Tensor, "B N"],
        camera_params: Float[Tensor, "B N 16"],
        frustum_mask: Float[Tensor, "B N D Hf Wf"],
        lut_index: Int32[Tensor, "B cells K"],
        lut_weight: Float[Tensor, "B cells K"],
        radar_grid: Float[Tensor, "B 12 rY rX"],
        radar_mask: Float[Tensor, "B 1"],
        history: Float[Tensor, "B M C Y X"] | None = None,
        history_transform: Float[Tensor, "B M 2 3"] | None = None,
        history_age_s: Float[Tensor, "B M"] | None = None,
        history_mask: Float[Tensor, "B M"] | None = None,
    ) -> StudentOutput:
        """Return the maps of a batch of frames; the axes are those of the exported graph.

        Raises:
            ValueError: a student with a memory was not given all of `history*`.
        """
        frame = self.encode(
            images=images,
            camera_mask=camera_mask,
            camera_params=camera_params,
            frustum_mask=frustum_mask,
            lut_index=lut_index,
            lut_weight=lut_weight,
            radar_grid=radar_grid,
            radar_mask=radar_mask,
        )
        fused_bev = self.fuse(
            frame.merged_bev, history, history_transform, history_age_s, history_mask
        )
        heatmap_logits, codes = self.decode_maps(fused_bev, frame.doppler)
        return StudentOutput(
            heatmap_logits=heatmap_logits,
            codes=codes,
            depth_logits=frame.depth_logits,
            context=frame.context,
            camera_bev=frame.camera_bev,
            radar_bev=frame.radar_bev,
            fused_bev=fused_bev,
            i_cam=frame.i_cam,
            i_rad=frame.i_rad,
            memory=self.kept(frame.merged_bev, fused_bev),
        )

    def kept(
        self, merged_bev: Float[Tensor, "B C Y X"], fused_bev: Float[Tensor, "B C Y X"]
    ) -> Float[Tensor, "B C Y X"]:
        """Return the map to keep for later frames: F_mrg for a window, else F_fus."""
        return merged_bev if self.inputs.memory.kind == "window" else fused_bev

    def encode(
        self,
        images: Num[Tensor, "B N 3 H W"],
        camera_mask: Float[Tensor, "B N"],
        camera_params: Float[Tensor, "B N 16"],
        frustum_mask: Float[Tensor, "B N D Hf Wf"],
        lut_index: Int32[Tensor, "B cells K"],
        lut_weight: Float[Tensor, "B cells K"],
        radar_grid: Float[Tensor, "B 12 rY rX"],
        radar_mask: Float[Tensor, "B 1"],
    ) -> EncodedFrame:
        """Return what the sensors of each frame say, without anything that is remembered."""
        depth_logits, context = self._look(images, camera_params)
        camera_bev, camera_evidence = self.view_transform(
            depth_logits, context, camera_mask, frustum_mask, lut_index, lut_weight
        )
        radar_bev, radar_evidence = self.radar_encoder(radar_grid, radar_mask)
        merged_bev, i_cam, i_rad = self.fusion(
            camera_bev, camera_evidence, radar_bev, radar_evidence
        )
        doppler = doppler_field(radar_grid, self.radar_encoder.refinement)
        return EncodedFrame(
            depth_logits=depth_logits,
            context=context,
            camera_bev=camera_bev,
            radar_bev=radar_bev,
            merged_bev=merged_bev,
            doppler=doppler * radar_mask[:, :, None, None],
            i_cam=i_cam,
            i_rad=i_rad,
        )

    def fuse(
        self,
        merged_bev: Float[Tensor, "B C Y X"],
        history: Float[Tensor, "B M C Y X"] | None = None,
        history_transform: Float[Tensor, "B M 2 3"] | None = None,
        history_age_s: Float[Tensor, "B M"] | None = None,
        history_mask: Float[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B C Y X"]:
        """Return F_fus: F_mrg with what is remembered, or F_mrg itself without a memory.

        Raises:
            ValueError: a student with a memory was not given all arguments.
        """
        if self.temporal is None:
            return merged_bev
        given = (history, history_transform, history_age_s, history_mask)
        if any(value is None for value in given):
            raise ValueError("a student with a memory needs history and all that goes with it")
        fused: Tensor = self.temporal(merged_bev, *given)
        return fused

    def decode_maps(
        self, fused_bev: Float[Tensor, "B C Y X"], doppler: Float[Tensor, "B F Y X"]
    ) -> tuple[Float[Tensor, "B classes Y X"], Float[Tensor, "B codes Y X"]]:
        """Return heat-map logits and codes of F_fus and the radial speeds of the frame."""
        bev = torch.cat([self.trunk(fused_bev), doppler], dim=1)
        heatmap_logits, codes = self.head(bev)
        return heatmap_logits, codes + self.line_of_sight(bev, doppler)

    def candidates(
        self, fused_bev: Float[Tensor, "B C Y X"], doppler: Float[Tensor, "B F Y X"]
    ) -> Candidates:
        """Return the best cells of F_fus as boxes, in float32.

        The same as `decode_maps` and `center_head.decode`; codes are computed where they are read.
        """
        bev = torch.cat([self.trunk(fused_bev), doppler], dim=1)
        peaks, codes = self.head.at_peaks(bev, self.inputs.bev)
        codes = codes + self.line_of_sight.at_cells(bev, doppler, peaks.cell)
        return boxes_of(peaks, codes, self.head_spec, self.inputs.bev)

    def _look(
        self, images: Num[Tensor, "B N 3 H W"], camera_params: Float[Tensor, "B N 16"]
    ) -> tuple[Float[Tensor, "B N D Hf Wf"], Float[Tensor, "B N C Hf Wf"]]:
        """Return depth logits and context of every camera, seen one by one."""
        batch, cameras = images.shape[:2]
        features = self.neck(self.backbone(self.image_norm(images.flatten(0, 1))))
        depth_logits, context = self.depth_net(features, camera_params.flatten(0, 1))
        return (
            depth_logits.reshape(batch, cameras, *depth_logits.shape[1:]),
            context.reshape(batch, cameras, *context.shape[1:]),
        )
