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
from pathlib import Path

#: Frames of --data that are compared.
COMPARED_FRAMES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run's folder or file")
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", help="name of the model (default: that of its configuration)")
    parser.add_argument("--data", type=Path, help="nuScenes folder to compare on")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument("--trained-on", default="", help="what it was trained on, for the bundle")
    parser.add_argument("--licence", default="", help="terms of the weights, for the bundle")


def run(arguments: argparse.Namespace) -> int:
    """Export; print the files and how well they agree."""
    from imkd_core.cli.common import open_nuscenes
    from imkd_core.export.export_checkpoint import export_checkpoint

    records = ()
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
    )
    for role, file in bundle.files.items():
        path, size_mb = bundle.root / file.file, file.bytes / 1e6
        sys.stdout.write(f"{role:<5} {path}  {size_mb:.1f} MB  sha256 {file.sha256}\n")
    for role, figures in bundle.producer.get("parity", {}).items():
        worst = ", ".join(f"{name} {value:.2g}" for name, value in figures.items())
        sys.stdout.write(f"torch against ONNX Runtime, {role}: {worst}\n")
    return 0
