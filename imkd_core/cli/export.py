# SPDX-License-Identifier: Apache-2.0
"""Turn a checkpoint into a model bundle: model.onnx, model_fp16.onnx and bundle.json.

The graph is checked operator by operator (no plugin, nothing that TensorRT refuses) and run
through ONNX Runtime against torch before the bundle counts as written. With --data the comparison
runs on real frames.

Examples:
  imkd export --checkpoint runs/tiny --output models/mine
  imkd export --checkpoint runs/tiny --output models/mine --data DATA --licence "CC BY-NC-SA 4.0"
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from imkd_core.data.nuscenes.reader import SampleRecord
    from imkd_core.model.student import Student
    from imkd_core.preprocess import Arrays
    from imkd_core.runtime.bundle import Bundle

#: Frames of --data that are compared.
COMPARED_FRAMES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run's folder or file")
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", help="name of the model (default: that of its configuration)")
    parser.add_argument("--data", type=Path, help="nuScenes folder to compare on")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument(
        "--files", default="fp32,fp16", help="which files (default: fp32,fp16)", metavar="ROLES"
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="keep the weights of the fp32 file as float16, half its size; computed in float32",
    )
    parser.add_argument("--trained-on", default="", help="what it was trained on, for the bundle")
    parser.add_argument("--licence", default="", help="terms of the weights, for the bundle")


def run(arguments: argparse.Namespace) -> int:
    """Export; print the files and how well they agree."""
    from imkd_core.cli.common import open_nuscenes

    records: Sequence[SampleRecord] = ()
    if arguments.data is not None:
        records = open_nuscenes(arguments.data, arguments.version).samples()[:COMPARED_FRAMES]
    bundle = export_checkpoint(
        arguments.checkpoint,
        arguments.output,
        arguments.name,
        provenance={
            "trained_on": arguments.trained_on or "not stated",
            "licence": arguments.licence or "not stated",
        },
        records=records,
        roles=arguments.files.split(","),
        is_compact=arguments.compact,
    )
    for role, file in bundle.files.items():
        path, size_mb = bundle.root / file.file, file.bytes / 1e6
        sys.stdout.write(f"{role:<5} {path}  {size_mb:.1f} MB  sha256 {file.sha256}\n")
    for role, figures in bundle.producer.get("parity", {}).items():
        worst = ", ".join(f"{name} {value:.2g}" for name, value in figures.items())
        sys.stdout.write(f"torch against ONNX Runtime, {role}: {worst}\n")
    return 0


def export_checkpoint(
    checkpoint_path: Path,
    output: Path,
    name: str | None,
    provenance: Mapping[str, Any],
    records: "Sequence[SampleRecord]" = (),
    roles: Sequence[str] = ("fp32", "fp16"),
    *,
    is_compact: bool = False,
) -> "Bundle":
    """Export the student of a checkpoint.

    Args:
        checkpoint_path: a run's folder or file.
        output: folder of the bundle.
        name: of the model; that of its configuration when None.
        provenance: training data, licence; steps and seed are added.
        records: samples to compare torch and ONNX Runtime on; noise when there are none.
        roles: which files are written.
        is_compact: keep the float32 file's weights in half the bytes.

    Raises:
        DataError: the checkpoint is missing or malformed.
        BundleError: the graph has an operator that a target refuses, or differs from the network.
    """
    from imkd_core.data.learning.dataset import DetectionDataset
    from imkd_core.export.onnx_export import export_onnx
    from imkd_core.model.student import Student
    from imkd_core.training.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(checkpoint_path, stage="student")
    config = checkpoint.config
    student = Student.from_config(config)
    checkpoint.load_delivered(student)
    frames = []
    if records:
        dataset = DetectionDataset(records, config)
        samples = [dataset.sample(index, None).inputs for index in range(len(dataset))]
        frames = [_remembered(student, inputs) for inputs in samples]
    facts = {**provenance, "steps": checkpoint.step, "seed": config.train.seed}
    return export_onnx(
        *(student, config, output, name or config.name, facts, frames, roles),
        is_compact=is_compact,
    )


def _remembered(student: "Student", inputs: "Arrays") -> "dict[str, Tensor]":
    """Return one frame as the graph takes it: past frames replaced by what they left."""
    import torch

    from imkd_core.model.sequence import with_history

    batch = {name: torch.from_numpy(value)[None] for name, value in inputs.items()}
    return {name: value[0] for name, value in with_history(student, batch).items()}
