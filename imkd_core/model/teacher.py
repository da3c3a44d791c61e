# SPDX-License-Identifier: Apache-2.0
"""The LiDAR teacher: CenterPoint on pillars, in the ego frame, on the student's BEV grid.

method.md 4.1. It is never exported: nothing of it runs on a vehicle.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.model.bev_trunk import BevTrunk
from imkd_core.model.center_head import CenterHead
from imkd_core.model.intensity import LearnedIntensity
from imkd_core.model.layers import init_weights
from imkd_core.model.pillar_encoder import PillarEncoder
from imkd_core.recipe import Config
from imkd_core.teaching import TeacherConfig


class TeacherOutput(NamedTuple):
    """Maps of one batch on `InputSpec.bev`.

    Attributes:
        features: F_L, after a ReLU; before the learned gate where there is one.
        heatmap_logits: one per class, before the sigmoid.
        codes: ten of `config.BOX_CODE` for each task group.
        gate: the learned I_L in (0, 1); None where the teacher has no gate.
    """

    features: Float[Tensor, "B C Y X"]
    heatmap_logits: Float[Tensor, "B classes Y X"]
    codes: Float[Tensor, "B codes Y X"]
    gate: Float[Tensor, "B 1 Y X"] | None


class Teacher(nn.Module):
    """LiDAR points to objects: pillars, trunk and head.

    Args:
        inputs: the grid.
        head: classes and task groups.
        teacher: layers and widths.
        learned_gate: whether I_L is learned inside (method.md 4.4, variant B): the trunk then
            sees F_L * (0.5 + I_L).
    """

    def __init__(
        self, inputs: InputSpec, head: HeadSpec, teacher: TeacherConfig, learned_gate: bool = False
    ) -> None:
        super().__init__()
        self.inputs, self.head_spec = inputs, head
        self.encoder = PillarEncoder(inputs.bev, teacher)
        self.trunk = BevTrunk(
            teacher.channels,
            teacher.trunk_channels,
            teacher.trunk_blocks,
            teacher.trunk_neck_channels,
        )
        self.head = CenterHead(self.trunk.out_channels, teacher.head_channels, head)
        self.gate = (
            LearnedIntensity(inputs.bev, teacher.pillar_refinement) if learned_gate else None
        )
        init_weights(self)
        self.head.reset_outputs()

    @classmethod
    def from_config(cls, config: Config) -> "Teacher":
        """Return the teacher of a configuration file, with random weights."""
        learned = config.intensity.variant == "learned"
        return cls(config.inputs, config.head, config.teacher, learned)

    def forward(self, points: Float[Tensor, "B P 6"], mask: Bool[Tensor, "B P"]) -> TeacherOutput:
        """Return the maps of a batch of padded clouds (`teaching.LIDAR_POINT_COLUMNS`)."""
        features: Tensor = self.encoder(points, mask)
        gate: Tensor | None = None if self.gate is None else self.gate(points, mask)
        seen = features if gate is None else features * (0.5 + gate)
        heatmap_logits, codes = self.decode_features(seen)
        return TeacherOutput(features, heatmap_logits, codes, gate)

    def decode_features(
        self, features: Float[Tensor, "B C Y X"]
    ) -> tuple[Float[Tensor, "B classes Y X"], Float[Tensor, "B codes Y X"]]:
        """Return heat-map logits and codes of a map that stands in for F_L, as F_lab does."""
        heatmap_logits, codes = self.head(self.trunk(features))
        return heatmap_logits, codes
