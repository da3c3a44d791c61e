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
from typing import Any

from imkd_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--config", type=Path, required=True, help="student, config/*.yaml")
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder (with v1.0-*)")
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
    from imkd_core.config import load_config
    from imkd_core.data.dataset import DetectionDataset
    from imkd_core.data.nuscenes import NuScenes
    from imkd_core.training.train import train

    config = load_config(arguments.config, parse_overrides(arguments.set))
    reader = NuScenes(arguments.data)
    dataset = DetectionDataset([reader.sample(token) for token in reader.sample_tokens()], config)
    path = train(
        config, dataset, arguments.output, resume=arguments.resume, device=arguments.device
    )
    sys.stdout.write(f"checkpoint: {path}\nnext: imkd export --checkpoint {path} --output DIR\n")
    return 0


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Return dotted key -> value of "key=value" texts; values are read as YAML.

    Raises:
        ConfigError: a text has no "=".
    """
    import yaml

    overrides = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set takes KEY=VALUE, got '{pair}'")
        value = yaml.safe_load(text)
        overrides[key] = _number(value) if isinstance(value, str) else value
    return overrides


def _number(text: str) -> float | str:
    """Return a float where YAML leaves a text ("2e-4" has no dot)."""
    try:
        return float(text)
    except ValueError:
        return text
