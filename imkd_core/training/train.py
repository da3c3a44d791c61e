# SPDX-License-Identifier: Apache-2.0
"""`imkd train`: run one stage, with checkpoints and resume."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imkd_core.errors import ConfigError, DataError
from imkd_core.recipe import Config, TrainConfig
from imkd_core.training.checkpoint import (
    FILE_NAME,
    STAGES,
    differing_keys,
    load_checkpoint,
    save_checkpoint,
)
from imkd_core.training.distributed import World, gather_over_processes, join_world
from imkd_core.training.engine import StepReport, fit
from imkd_core.training.logbook.logs import TrainingLog
from imkd_core.training.sampling import Share, StepBatches, draw_batches
from imkd_core.training.state import TrainingState
from imkd_core.training.task import Batch, SampleSource, TrainingTask


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a stage runs; nothing here changes the weights that come out.

    Attributes:
        directory: of the checkpoint and the logs.
        stage: "teacher", "labels" or "student".
        resume: continue from the checkpoint in `directory`; without one, start anew.
        device: "auto", "cpu" or "cuda".
        workers: processes that prepare batches; 0 is a thread in this process.
        skip_bad: how many samples may be unreadable; each is replaced by another and told.
        picture_every_steps: how often pictures go to the log; 0 is never.
    """

    directory: Path
    stage: str = "student"
    resume: bool = False
    device: str = "auto"
    workers: int = 0
    skip_bad: int = 0
    picture_every_steps: int = 500

    def __post_init__(self) -> None:
        """Refuse unknown stages and negative numbers."""
        if self.stage not in STAGES:
            raise ConfigError(f"unknown stage '{self.stage}'; use {', '.join(STAGES)}")
        for name in ("workers", "skip_bad", "picture_every_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")


def stage_train(config: Config, stage: str) -> TrainConfig:
    """Return how a stage is fitted."""
    sections = {"teacher": config.teacher_train, "labels": config.labels_train}
    return sections.get(stage, config.train)


def train(
    make_task: Callable[[], TrainingTask],
    source: SampleSource,
    config: Config,
    run: Run,
    on_step: Callable[[StepReport], None] | None = None,
    world: World | None = None,
) -> Path:
    """Fit the task of a stage and return the path of its last checkpoint.

    Args:
        make_task: builds it; called once, after torch was seeded.
        source: the samples.
        config: whose section for this stage counts.
        run: where and how.
        on_step: called after each step on the first process, for progress.
        world: joined already; joined here, with `run.device`, where None.

    Raises:
        ConfigError: the folder holds a run already and `resume` is False, or the run there is of
            another stage or configuration.
        DataError: more samples than allowed cannot be read, or the disk is full.
    """
    if world is None:
        with join_world(run.device) as joined:
            return train(make_task, source, config, run, on_step, joined)
    existing = run.directory / FILE_NAME
    if existing.exists() and not run.resume:
        raise ConfigError(f"{run.directory} holds a run already; pass --resume or another --output")
    settings = stage_train(config, run.stage)
    torch.manual_seed(settings.seed)
    state = TrainingState(make_task(), settings, world)
    if existing.exists():
        _continue(existing, config, run.stage, state)
    _agree(state.step)
    share = Share(rank=world.rank, size=world.size)
    batches = draw_batches(
        StepBatches(source, settings, share, can_skip=run.skip_bad > 0),
        range(state.step, settings.steps),
        run.workers,
        pin_memory=world.device.type == "cuda",
    )
    watch = _Watch(config, run, state, world, on_step)
    try:
        fit(state, batches, settings, world, watch.after_step)
    finally:
        watch.close()
    world.wait()
    return existing


def _continue(existing: Path, config: Config, stage: str, state: TrainingState) -> None:
    """Take up a run where its checkpoint is."""
    checkpoint = load_checkpoint(existing)
    if checkpoint.stage != stage:
        raise ConfigError(
            f"{existing} is of stage '{checkpoint.stage}', not '{stage}'; pass another --output"
        )
    if differences := differing_keys(checkpoint.config, config):
        raise ConfigError(
            f"{existing} is of another configuration ({'; '.join(differences)}); give that one, "
            "or pass another --output"
        )
    checkpoint.restore(state)


def _agree(step: int) -> None:
    """Refuse processes that start at different steps: they would wait for each other for ever."""
    steps = gather_over_processes({step: ""})
    if len(steps) > 1:
        raise ConfigError(
            f"the processes would continue from different steps {sorted(steps)}; --output must be "
            "a folder that all machines share"
        )


class _Watch:
    """What happens beside the fit: checkpoints, logs, pictures, the count of bad samples."""

    def __init__(
        self,
        config: Config,
        run: Run,
        state: TrainingState,
        world: World,
        on_step: Callable[[StepReport], None] | None,
    ) -> None:
        self._config, self._run, self._train = config, run, stage_train(config, run.stage)
        self._state, self._on_step = state, on_step
        self._log = TrainingLog(run.directory, state.step) if world.is_first else None
        self._skipped: dict[int, str] = {}

    def after_step(self, report: StepReport, batch: Batch) -> None:
        """Write what is due after a step; the first process alone writes."""
        self._count(report.skipped)
        if self._log is None:
            return
        self._log.write(report)
        if _is_due(report.step, self._run.picture_every_steps, self._train.steps):
            self._log.show(self._pictures(batch), report.step)
        if _is_due(report.step, self._train.checkpoint_every_steps, self._train.steps):
            save_checkpoint(self._run.directory, self._config, self._run.stage, self._state)
        if self._on_step is not None:
            self._on_step(report)

    def close(self) -> None:
        """Close the logs."""
        if self._log is not None:
            self._log.close()

    @torch.no_grad()
    def _pictures(self, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Return the task's pictures; the next step sets the training mode again."""
        self._state.task.eval()
        return self._state.task.pictures(batch)

    def _count(self, skipped: dict[int, str]) -> None:
        self._skipped |= skipped
        if len(self._skipped) > self._run.skip_bad:
            first = next(iter(self._skipped.values()))
            raise DataError(
                f"{len(self._skipped)} samples cannot be read, more than --skip-bad "
                f"{self._run.skip_bad} allows; the first: {first}"
            )


def _is_due(step: int, period: int, last: int) -> bool:
    """Return whether something that happens every `period` steps, and at the end, happens now."""
    return period > 0 and (step % period == 0 or step == last)
