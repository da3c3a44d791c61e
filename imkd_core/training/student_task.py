# SPDX-License-Identifier: Apache-2.0
"""Stage 3: the student learns from boxes and LiDAR depth (method.md 5.1, 5.2)."""

from torch import nn

from imkd_core.model.student import Student, StudentOutput
from imkd_core.recipe import Config, TrainConfig
from imkd_core.training.losses import LossTerms, depth_terms, detection_terms
from imkd_core.training.task import Batch, TrainingTask


class StudentTask(TrainingTask):
    """A student with its detection and depth losses.

    Args:
        student: what is fitted.
        train: weights of the losses.
    """

    def __init__(self, student: Student, train: TrainConfig) -> None:
        super().__init__()
        self.student = student
        self._train = train

    @classmethod
    def from_config(cls, config: Config) -> "StudentTask":
        """Return the task of a configuration, with random weights."""
        return cls(Student.from_config(config), config.train)

    @property
    def delivered(self) -> nn.Module:
        """The student."""
        return self.student

    def forward(self, batch: Batch, step: int) -> LossTerms:
        """Return detection and depth terms of a batch."""
        del step
        output: StudentOutput = self.student(**batch.inputs)
        return self._supervised(output, batch)

    def _supervised(self, output: StudentOutput, batch: Batch) -> LossTerms:
        """Return the terms that need no teacher."""
        targets, train = batch.targets, self._train
        detection = detection_terms(output.heatmap_logits, output.codes, targets, train)
        return detection.joined(depth_terms(output.depth_logits, targets, train))
