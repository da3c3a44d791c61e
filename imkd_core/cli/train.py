# SPDX-License-Identifier: Apache-2.0
"""Fit a student to recorded data.

Reads key frames of a nuScenes folder, shows progress, writes a checkpoint (safetensors) every
few hundred steps and at the end. Interrupt it at any time and continue with --resume.

Examples:
  imkd train --config config/imkd_tiny.yaml --data DATA --output runs/tiny
  imkd train --config config/imkd_tiny.yaml --data DATA --output runs/tiny --resume
  imkd train ... --set train.steps=300 --set train.learning_rate=2e-4
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--config", type=Path, required=True, help="student, config/*.yaml")
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder (with v1.0-*)")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument("--scene", help="train on this scene alone (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one value of the configuration, e.g. train.steps=300; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; print where the checkpoint is."""
    from imkd_core.cli.common import open_nuscenes, parse_overrides, progress
    from imkd_core.data.dataset import DetectionDataset
    from imkd_core.recipe import load_config
    from imkd_core.training.engine import StepReport
    from imkd_core.training.student_task import StudentTask
    from imkd_core.training.train import Run, train

    config = load_config(arguments.config, parse_overrides(arguments.set))
    reader = open_nuscenes(arguments.data, arguments.version)
    dataset = DetectionDataset(reader.samples(arguments.scene), config)
    with progress(config.name, config.train.steps) as update:

        def on_step(report: StepReport) -> None:
            update(report.step, " ".join(f"{k} {v:.3f}" for k, v in report.terms.items()))

        how = Run(directory=arguments.output, resume=arguments.resume, device=arguments.device)
        path = train(lambda: StudentTask.from_config(config), dataset, config, how, on_step)
    sys.stdout.write(f"checkpoint: {path}\nnext: imkd export --checkpoint {path} --output DIR\n")
    return 0
