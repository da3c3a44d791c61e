# SPDX-License-Identifier: Apache-2.0
"""The training loop, the same for every stage: draw, forward, backward, clip, step."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from imkd_core.errors import ImkdError
from imkd_core.recipe import TrainConfig
from imkd_core.training.distributed import World, gather_over_processes, mean_over_processes
from imkd_core.training.losses import LossTerms
from imkd_core.training.optim import rate_factor
from imkd_core.training.sampling import DrawnBatch
from imkd_core.training.state import TrainingState
from imkd_core.training.task import Batch

_FIX = "lower train.learning_rate, and look for broken samples in the data"

#: Number types of `train.precision`; fp32 runs without autocast.
AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step did, over all processes.

    Attributes:
        step: number of steps done, this one included.
        loss: weighted total.
        terms: loss term -> value, unweighted.
        gradient_norm: before clipping; not finite where a step of fp16 was skipped.
        learning_rate: of the first group of parameters.
        samples_per_s: of all processes together.
        skipped: index -> error of samples that could not be read.
    """

    step: int
    loss: float
    terms: dict[str, float]
    gradient_norm: float
    learning_rate: float = 0.0
    samples_per_s: float = 0.0
    skipped: dict[int, str] = field(default_factory=dict)


def fit(
    state: TrainingState,
    batches: Iterable[DrawnBatch],
    train: TrainConfig,
    world: World,
    on_step: Callable[[StepReport, Batch], None],
) -> None:
    """Take one step with each batch, and call `on_step` after it, with the process's share.

    Raises:
        ImkdError: the loss or its gradient is not finite; the message names the step and terms.
    """
    task: nn.Module = state.task
    if world.size > 1:
        task = DistributedDataParallel(
            state.task,
            device_ids=[world.device.index] if world.device.type == "cuda" else None,
            find_unused_parameters=state.task.has_unused_parameters,
        )
    started_s = time.perf_counter()
    for drawn in batches:
        _prepare(state, train, drawn.step, world.rank)
        batch = drawn.batch.to(world.device)
        terms = _forward(task, batch, drawn.step, train, world.device)
        loss, values = _reduced(terms, drawn.step)
        norm = _backward(state, terms, train)
        ended_s = time.perf_counter()
        report = StepReport(
            step=state.step,
            loss=loss,
            terms=values,
            gradient_norm=norm,
            learning_rate=state.optimizer.param_groups[0]["lr"],
            samples_per_s=train.batch_size / max(ended_s - started_s, 1e-9),
            skipped=gather_over_processes(drawn.skipped),
        )
        started_s = ended_s
        on_step(report, batch)


def _prepare(state: TrainingState, train: TrainConfig, step: int, rank: int) -> None:
    """Set learning rates, batch norms and the seed of whatever chance is in the task."""
    for group in state.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * rate_factor(step, train)
    set_norm_mode(state.task, is_held=step >= train.steps * train.freeze_norm_from)
    torch.manual_seed(int(np.random.SeedSequence((train.seed, step, rank)).generate_state(1)[0]))


def _forward(
    task: nn.Module, batch: Batch, step: int, train: TrainConfig, device: torch.device
) -> LossTerms:
    """Return the losses, computed under autocast."""
    kind = AUTOCAST_TYPES.get(train.precision)
    with torch.autocast(device.type, kind, enabled=kind is not None):
        terms: LossTerms = task(batch, step)
    return terms


def _backward(state: TrainingState, terms: LossTerms, train: TrainConfig) -> float:
    """Move the parameters along the gradient; return its norm before clipping."""
    optimizer, scaler, step = state.optimizer, state.scaler, state.step
    optimizer.zero_grad(set_to_none=True)
    total = terms.total()
    scaled = total if scaler is None else scaler.scale(total)
    scaled.backward()  # type: ignore[no-untyped-call]
    if scaler is not None:
        scaler.unscale_(optimizer)
    state.task.after_backward(step)
    norm = float(nn.utils.clip_grad_norm_(state.task.parameters(), train.clip_norm))
    if scaler is not None:
        scaler.step(optimizer)  # skips the step where the scale was too large, and lowers it
        scaler.update()
    elif not np.isfinite(norm):
        raise ImkdError(f"step {step}: the gradient is not finite ({terms.as_floats()}); {_FIX}")
    else:
        optimizer.step()
    state.step += 1
    if state.average is not None:
        state.average.update(state.step)
    return norm


def _reduced(terms: LossTerms, step: int) -> tuple[float, dict[str, float]]:
    """Return the weighted total and the terms, means over all processes.

    Where they are not finite, every process raises: none is left waiting for another.
    """
    values: Tensor = torch.stack([terms.total(), *(v.float() for v in terms.values.values())])
    total, *numbers = mean_over_processes(values).tolist()
    named = dict(zip(terms.values, numbers, strict=True))
    if not np.isfinite(total):
        raise ImkdError(f"step {step}: the loss is not finite ({named}); {_FIX}")
    return total, named


def set_norm_mode(task: nn.Module, is_held: bool) -> None:
    """Put a task in training mode, with batch statistics either learned or held.

    Weights that were fitted to batch statistics meet the running ones on the vehicle; the last
    part of a fit therefore runs with the statistics held.
    """
    task.train()
    if is_held:
        for module in task.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
