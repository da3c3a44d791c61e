# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the label encoder learns to speak the LiDAR teacher's language (method.md 4.2, 6)."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imkd_core.model.frozen import freeze
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.recipe import Config
from imkd_core.training.logbook.pictures import heat_map_pair
from imkd_core.training.losses import LossTerms, detection_terms
from imkd_core.training.task import Batch, TrainingTask


class LabelTask(TrainingTask):
    """The label encoder, whose map the frozen teacher's trunk and head must decode to the truth.

    Args:
        config: its `labels` and `labels_train` sections.
        teacher: trained; it is frozen here.
    """

    not_saved: ClassVar[tuple[str, ...]] = ("teacher",)

    def __init__(self, config: Config, teacher: Teacher) -> None:
        super().__init__()
        self.encoder = LabelEncoder.from_config(config)
        self.teacher = freeze(teacher)
        self._train, self._grid = config.labels_train, config.inputs.bev

    @property
    def delivered(self) -> LabelEncoder:
        """The label encoder."""
        return self.encoder

    def forward(self, batch: Batch, step: int) -> LossTerms:  # noqa: ARG002
        """Return the terms heatmap and box of the decoded F_lab."""
        features: Tensor = self.encoder(batch.inputs["maps"])
        heatmap_logits, codes = self.teacher.decode_features(features)
        return detection_terms(heatmap_logits, codes, batch.targets, self._train)

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Return what the teacher reads from the first sample's labels beside what is true."""
        heatmap_logits, _ = self.teacher.decode_features(self.encoder(batch.inputs["maps"][:1]))
        target = batch.targets["heatmap"][0]
        return {"heatmap": heat_map_pair(heatmap_logits[0], target, self._grid)}
