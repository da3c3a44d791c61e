# SPDX-License-Identifier: Apache-2.0
"""The training loop: draw, forward, losses, backward, clip, step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imkd_core.data.dataset import DetectionDataset, TrainingSample
from imkd_core.errors import ImkdError
from imkd_core.model.student import Student
from imkd_core.recipe import Config
from imkd_core.training.losses import detection_losses
from imkd_core.training.optim import rate_factor

_FIX = "lower train.learning_rate, and look for broken samples in the data"

#: Batches prepared ahead of the step that uses them.
PREFETCHED = 2


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step did.

    Attributes:
        step: number of steps done, this one included.
        loss: weighted total.
        terms: loss term -> value, unweighted.
        gradient_norm: before clipping.
    """

    step: int
    loss: float
    terms: dict[str, float]
    gradient_norm: float


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples stacked along a leading batch axis.

    Attributes:
        inputs: the student's arguments by name.
        targets: `DetectionTargets` by field name, and `depth_bin`.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return Batch(
            inputs={name: value.to(device) for name, value in self.inputs.items()},
            targets={name: value.to(device) for name, value in self.targets.items()},
        )


def collate(samples: Sequence[TrainingSample]) -> Batch:
    """Stack samples into tensors with a leading batch axis."""
    return Batch(
        inputs=_stacked([sample.inputs for sample in samples]),
        targets=_stacked([sample.target_arrays() for sample in samples]),
    )


def _stacked(arrays: Sequence[Mapping[str, NDArray[np.generic]]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([a[name] for a in arrays])) for name in arrays[0]}


def draw_batch(dataset: DetectionDataset, config: Config, step: int) -> Batch:
    """Return the batch of one step; it depends on the seed and the step alone."""
    rng = np.random.default_rng((config.train.seed, step))
    indices = rng.integers(len(dataset), size=config.train.batch_size)
    return collate([dataset.sample(int(index), rng) for index in indices])


def batches(
    dataset: DetectionDataset, config: Config, first_step: int
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch) from `first_step` to the last, prepared by a thread in the background."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[Batch]] = []
        for step in range(first_step, config.train.steps + PREFETCHED):
            if step < config.train.steps:
                waiting.append(pool.submit(draw_batch, dataset, config, step))
            if step >= first_step + PREFETCHED and waiting:
                yield step - PREFETCHED, waiting.pop(0).result()


def train_steps(
    model: Student,
    optimizer: torch.optim.Optimizer,
    dataset: DetectionDataset,
    config: Config,
    first_step: int,
    on_step: Callable[[StepReport], None],
) -> None:
    """Run the steps from `first_step` to the end, calling `on_step` after each.

    Raises:
        ImkdError: the loss is not finite; the message names the step and the terms.
    """
    device = next(model.parameters()).device
    base_rates = [group["initial_lr"] for group in optimizer.param_groups]
    for step, batch in batches(dataset, config, first_step):
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * rate_factor(step, config.train)
        set_norm_mode(model, frozen=step >= config.train.steps * config.train.freeze_norm_from)
        on_step(_one_step(model, optimizer, batch.to(device), config, step))


def _one_step(
    model: Student,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: Config,
    step: int,
) -> StepReport:
    device_type = next(model.parameters()).device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        output = model(**batch.inputs)
    maps = (output.heatmap_logits, output.codes, output.depth_logits)
    if not all(bool(torch.isfinite(values).all()) for values in maps):
        raise ImkdError(f"step {step}: the model's output is not finite; {_FIX}")
    terms = detection_losses(*maps, batch.targets)
    loss = terms.total(config.train)
    if not torch.isfinite(loss):
        raise ImkdError(f"step {step}: the loss is not finite ({terms.as_floats()}); {_FIX}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
    optimizer.step()
    return StepReport(
        step=step + 1, loss=float(loss.detach()), terms=terms.as_floats(), gradient_norm=float(norm)
    )


def set_norm_mode(model: nn.Module, frozen: bool) -> None:
    """Put the model in training mode, with batch statistics either learned or held.

    Weights that were fitted to batch statistics meet the running ones on the vehicle; the last
    part of a fit therefore runs with the statistics held.
    """
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
