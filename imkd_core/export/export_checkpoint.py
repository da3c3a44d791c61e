# SPDX-License-Identifier: Apache-2.0
"""From a training run to a bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from imkd_core.data.dataset import DetectionDataset
from imkd_core.data.nuscenes import SampleRecord
from imkd_core.export.onnx_export import export_onnx
from imkd_core.model.student import Student
from imkd_core.runtime.bundle import Bundle
from imkd_core.training.checkpoint import load_checkpoint


def export_checkpoint(
    checkpoint_path: Path,
    output: Path,
    name: str | None,
    provenance: Mapping[str, Any],
    records: Sequence[SampleRecord] = (),
) -> Bundle:
    """Export the student of a checkpoint.

    Args:
        checkpoint_path: a run's folder or file.
        output: folder of the bundle.
        name: of the model; that of its configuration when None.
        provenance: training data, licence; steps and seed are added.
        records: samples to compare torch and ONNX Runtime on; noise when there are none.

    Raises:
        DataError: the checkpoint is missing or malformed.
        BundleError: the graph has an operator that a target refuses, or differs from the network.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    config = checkpoint.config
    student = Student.from_config(config)
    checkpoint.restore(student)
    frames = []
    if records:
        dataset = DetectionDataset(records, config)
        samples = [dataset.sample(index, None).inputs for index in range(len(dataset))]
        frames = [{k: torch.from_numpy(v) for k, v in inputs.items()} for inputs in samples]
    facts = {**provenance, "steps": checkpoint.step, "seed": config.train.seed}
    return export_onnx(student, config, output, name or config.name, facts, frames)
