# SPDX-License-Identifier: Apache-2.0
"""Stage 3: the student learns from boxes, depth, its images and its teachers (method.md 5)."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imkd_core.model.perspective_head import PerspectiveHead
from imkd_core.model.sequence import with_history
from imkd_core.model.student import Student, StudentOutput
from imkd_core.recipe import Config
from imkd_core.training.distill.distillation import Distillation
from imkd_core.training.distill.weights import base_weights
from imkd_core.training.logbook.pictures import camera_picture, heat_map_pair
from imkd_core.training.losses import (
    LossTerms,
    consistency_loss,
    depth_terms,
    detection_terms,
    perspective_terms,
)
from imkd_core.training.task import Batch, TrainingTask

#: Least I_L of a cell whose remembered maps shall agree (method.md 12.2 c), and least validity.
_LEAST_INTENSITY, _LEAST_VALIDITY = 0.3, 0.99


class StudentTask(TrainingTask):
    """A student with its detection and depth losses, and with its teachers where it has some.

    Attributes:
        student: what is fitted and delivered.
        perspective: asks the image features what they show; None where nobody asks.
        distillation: terms and adaptors; None where `config.distill` switches all off.
    """

    def __init__(self, student: Student, config: Config) -> None:
        super().__init__()
        self.student = student
        asks = config.train.weight_perspective > 0
        self.perspective = PerspectiveHead.from_config(config) if asks else None
        self.distillation = Distillation(config) if base_weights(config) else None
        self._train = config.train

    @classmethod
    def from_config(cls, config: Config) -> "StudentTask":
        """Return the task of a configuration, with random weights.

        The student comes first, so its weights are the same with and without teachers.
        """
        return cls(Student.from_config(config), config)

    @property
    def delivered(self) -> nn.Module:
        """The student."""
        return self.student

    def forward(self, batch: Batch, step: int) -> LossTerms:
        """Return detection, depth, memory and distillation terms of a batch.

        What is remembered of past frames is computed first, without gradient.
        """
        inputs = with_history(self.student, batch.inputs)
        output: StudentOutput = self.student(**inputs)
        targets = batch.targets
        detection = detection_terms(output.heatmap_logits, output.codes, targets, self._train)
        terms = detection.joined(depth_terms(output.depth_logits, targets, self._train))
        if self.perspective is not None:
            shown: Tensor = self.perspective(output.context)
            terms = terms.joined(perspective_terms(shown, targets, self._train))
        if self.student.temporal is not None and self._train.weight_consistency > 0:
            terms = terms.joined(self._consistency(output, inputs, targets))
        if self.distillation is None:
            return terms
        taught: LossTerms = self.distillation(
            output, batch.inputs["radar_mask"], targets, detection, step
        )
        return terms.joined(taught)

    def _consistency(
        self, output: StudentOutput, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> LossTerms:
        """Return the term that asks the newest remembered map and the one to keep to agree."""
        with torch.no_grad():
            aligned: Tensor = self.student.temporal.align(  # type: ignore[union-attr]
                inputs["history"][:, :1],
                inputs["history_transform"][:, :1],
                inputs["history_mask"][:, :1],
            )
        recalled, valid = aligned[:, 0, :-1], aligned[:, 0, -1]
        weight = targets["static_mask"] * (valid >= _LEAST_VALIDITY)
        if "i_lidar" in targets:
            weight = weight * (targets["i_lidar"] > _LEAST_INTENSITY)
        loss = consistency_loss(output.memory, recalled, weight)
        return LossTerms(
            values={"consistency": loss}, weights={"consistency": self._train.weight_consistency}
        )

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Return heat maps and the first camera of the batch's first sample."""
        inputs = with_history(self.student, {k: v[:1] for k, v in batch.inputs.items()})
        output: StudentOutput = self.student(**inputs)
        heat, true = output.heatmap_logits[0], batch.targets["heatmap"][0]
        return {
            "heatmap": heat_map_pair(heat, true, self.student.inputs.bev),
            "first camera": camera_picture(batch.inputs["images"][0, 0]),
        }
