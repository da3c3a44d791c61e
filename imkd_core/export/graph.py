# SPDX-License-Identifier: Apache-2.0
"""The network as it is exported: one frame without a batch axis, norms folded, boxes decoded."""

import copy
from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from imkd_core.config import InputSpec
from imkd_core.export.fold import fold_norms
from imkd_core.model.example import batched
from imkd_core.model.student import Student


class GraphOutput(NamedTuple):
    """Outputs of the exported graph, by their names in it.

    Attributes:
        scores: [M] probabilities, descending.
        labels: [M] int32.
        boxes: [M, 10] as `model.center_head.Candidates`.
        i_cam, i_rad: [Y, X] intensity gates.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    i_cam: Tensor
    i_rad: Tensor


class RememberingOutput(NamedTuple):
    """Outputs of the graph of a student with a memory.

    Attributes:
        scores, labels, boxes, i_cam, i_rad: as `GraphOutput`.
        memory: [C, Y, X] the map to keep.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    i_cam: Tensor
    i_rad: Tensor
    memory: Tensor


def output_names(spec: InputSpec) -> tuple[str, ...]:
    """Return the names of a graph's outputs, in order."""
    return RememberingOutput._fields if spec.memory.frames else GraphOutput._fields


class DeployedStudent(nn.Module):
    """A student with decoding behind it, for one frame; float32 at its border.

    Args:
        student: in evaluation mode; it may be in half precision.
        unseen: kinds of sensor, "cameras" or "radars", that no frame of its training had. They are
            masked here, and their images black as in training: norms that met nothing else answer
            a live sensor with infinities, of which a mask makes no zeros.
    """

    def __init__(self, student: Student, unseen: Collection[str] = ()) -> None:
        super().__init__()
        self.student = student
        self.unseen = frozenset(unseen)

    def forward(
        self,
        images: Tensor,
        camera_mask: Tensor,
        camera_params: Tensor,
        frustum_mask: Tensor,
        lut_index: Tensor,
        lut_weight: Tensor,
        radar_grid: Tensor,
        radar_mask: Tensor,
        history: Tensor | None = None,
        history_transform: Tensor | None = None,
        history_age_s: Tensor | None = None,
        history_mask: Tensor | None = None,
    ) -> GraphOutput | RememberingOutput:
        """Return candidates and gates of one frame; arguments as `Student.forward`, un-batched.

        What is remembered stays float32 on its way through a half-precision network: positions in
        the map have no half as fine.
        """
        float_type = self.student.image_norm.scale.dtype
        images = images.to(float_type)  # TensorRT lets nothing but a cast read uint8
        if "cameras" in self.unseen:
            images, camera_mask = images * 0, camera_mask * 0
        if "radars" in self.unseen:
            radar_mask = radar_mask * 0
        frame = self.student.encode(
            images=images[None],
            camera_mask=camera_mask[None].to(float_type),
            camera_params=camera_params[None].to(float_type),
            frustum_mask=frustum_mask[None].to(float_type),
            lut_index=lut_index[None],
            lut_weight=lut_weight[None].to(float_type),
            radar_grid=radar_grid[None].to(float_type),
            radar_mask=radar_mask[None].to(float_type),
        )
        fused_bev = self.student.fuse(
            frame.merged_bev,
            history=_batched(history),
            history_transform=_batched(history_transform),
            history_age_s=_batched(history_age_s),
            history_mask=_batched(history_mask),
        )
        found = self.student.candidates(fused_bev, frame.doppler)
        output = GraphOutput(
            scores=found.scores[0],
            labels=found.labels[0],
            boxes=found.boxes[0],
            i_cam=frame.i_cam[0, 0].float(),
            i_rad=frame.i_rad[0, 0].float(),
        )
        if self.student.temporal is None:
            return output
        memory = self.student.kept(frame.merged_bev, fused_bev)
        return RememberingOutput(*output, memory=memory[0].float())


def _batched(value: Tensor | None) -> Tensor | None:
    return None if value is None else value[None]


def deploy(
    student: Student,
    frame: Mapping[str, Tensor],
    is_half: bool = False,
    unseen: Collection[str] = (),
) -> DeployedStudent:
    """Return a copy of a student ready for export; the student itself is left as it is.

    Args:
        student: trained, on any device.
        frame: example inputs without batch axis; only their shapes matter.
        is_half: convert the weights to float16.
        unseen: as `DeployedStudent`.
    """
    copied = copy.deepcopy(student).cpu().eval()
    fold_norms(copied, batched(dict(frame)))
    if is_half:
        copied.half()
    return DeployedStudent(copied, unseen).eval()
