# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the LiDAR teacher learns to detect (method.md 6)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imkd_core.model.teacher import Teacher, TeacherOutput
from imkd_core.recipe import Config
from imkd_core.training.logbook.pictures import heat_map_pair
from imkd_core.training.losses import LossTerms, detection_terms
from imkd_core.training.task import Batch, TrainingTask

#: Weight of the mean of the learned gate, which keeps it sparse (method.md 4.4, variant B).
GATE_SPARSITY = 1e-3


class TeacherTask(TrainingTask):
    """The teacher with CenterPoint's losses; its learned gate, where it has one, stays sparse.

    Args:
        config: its `teacher` and `teacher_train` sections.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.teacher = Teacher.from_config(config)
        self._train, self._grid = config.teacher_train, config.inputs.bev

    @property
    def delivered(self) -> Teacher:
        """The teacher."""
        return self.teacher

    def forward(self, batch: Batch, step: int) -> LossTerms:  # noqa: ARG002
        """Return the terms heatmap and box, and gate where the gate is learned."""
        output: TeacherOutput = self.teacher(batch.inputs["points"], batch.inputs["mask"])
        maps = (output.heatmap_logits, output.codes)
        terms = detection_terms(*maps, batch.targets, self._train)
        gate: Tensor | None = output.gate
        if gate is None:
            return terms
        sparsity = gate.float().mean()
        return terms.joined(LossTerms(values={"gate": sparsity}, weights={"gate": GATE_SPARSITY}))

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Return what the teacher says about the first sample beside what is true."""
        output: TeacherOutput = self.teacher(batch.inputs["points"][:1], batch.inputs["mask"][:1])
        target = batch.targets["heatmap"][0]
        return {"heatmap": heat_map_pair(output.heatmap_logits[0], target, self._grid)}
