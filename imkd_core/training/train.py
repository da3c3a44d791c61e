# SPDX-License-Identifier: Apache-2.0
"""`imkd train`: fit a student to recorded samples, with checkpoints and resume."""

from collections.abc import Callable
from pathlib import Path

import torch

from imkd_core.data.dataset import DetectionDataset
from imkd_core.errors import ConfigError
from imkd_core.mapping import to_mapping
from imkd_core.model.student import Student
from imkd_core.recipe import Config
from imkd_core.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from imkd_core.training.engine import StepReport, train_steps
from imkd_core.training.optim import make_optimizer


def train(
    config: Config,
    dataset: DetectionDataset,
    directory: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_step: Callable[[StepReport], None] | None = None,
) -> Path:
    """Fit a student and return the path of its last checkpoint.

    Args:
        config: the student and how it is trained.
        dataset: the samples.
        directory: where the checkpoint goes.
        resume: continue from the checkpoint in `directory`; without one, start anew.
        device: "auto", "cpu" or "cuda".
        on_step: called after each step, for progress and logs.

    Raises:
        ConfigError: `directory` holds a run already and `resume` is False, or the run there is
            of another configuration.
    """
    existing = directory / FILE_NAME
    if existing.exists() and not resume:
        raise ConfigError(f"{directory} holds a run already; pass --resume or another --output")
    torch.manual_seed(config.train.seed)
    model = Student.from_config(config).to(choose_device(device))
    optimizer = make_optimizer(model, config.train)
    first_step = 0
    if existing.exists():
        checkpoint = load_checkpoint(existing)
        if to_mapping(checkpoint.config) != to_mapping(config):
            raise ConfigError(f"{existing} is of another configuration; pass another --output")
        checkpoint.restore(model, optimizer)
        first_step = checkpoint.step

    def after_step(report: StepReport) -> None:
        at_end = report.step == config.train.steps
        if at_end or report.step % config.train.checkpoint_every_steps == 0:
            save_checkpoint(directory, config, report.step, model, optimizer)
        if on_step is not None:
            on_step(report)

    train_steps(model, optimizer, dataset, config, first_step, after_step)
    return existing


def choose_device(device: str) -> torch.device:
    """Return the torch device of a name.

    Raises:
        ConfigError: "cuda" was asked for and there is none, or the name is unknown.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{device}'; use auto, cpu or cuda")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError("no CUDA device here; pass --device cpu, or install torch with CUDA")
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
