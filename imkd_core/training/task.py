# SPDX-License-Identifier: Apache-2.0
"""What is fitted in one stage: a network together with its losses.

The engine knows nothing of students, teachers or label encoders: it hands a task one batch after
the other and moves its parameters. A stage is therefore a `TrainingTask` and a `SampleSource`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imkd_core.errors import DataError
from imkd_core.training.losses import LossTerms


@runtime_checkable
class ArraySample(Protocol):
    """One training sample as named arrays, for example `data.learning.dataset.TrainingSample`."""

    @property
    def inputs(self) -> Mapping[str, NDArray[np.generic]]:
        """What the network is given, by name."""
        ...

    def target_arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return what the losses are given, by name."""
        ...


@runtime_checkable
class SampleSource(Protocol):
    """Samples by index, for example `data.learning.dataset.DetectionDataset`."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def sample(self, index: int, rng: np.random.Generator | None) -> ArraySample:
        """Return a sample; all of its chance comes from `rng`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples stacked along a leading batch axis.

    Attributes:
        inputs: the network's arguments by name.
        targets: what the losses are given, by name.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return Batch(
            inputs={k: v.to(device, non_blocking=True) for k, v in self.inputs.items()},
            targets={k: v.to(device, non_blocking=True) for k, v in self.targets.items()},
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies faster."""
        return Batch(
            inputs={name: value.pin_memory() for name, value in self.inputs.items()},
            targets={name: value.pin_memory() for name, value in self.targets.items()},
        )


def collate(samples: Sequence[ArraySample]) -> Batch:
    """Stack samples into tensors with a leading batch axis."""
    return Batch(
        inputs=_stacked([sample.inputs for sample in samples]),
        targets=_stacked([sample.target_arrays() for sample in samples]),
    )


def _stacked(arrays: Sequence[Mapping[str, NDArray[np.generic]]]) -> dict[str, Tensor]:
    stacked = {}
    for name in arrays[0]:
        shapes = sorted({a[name].shape for a in arrays})
        if len(shapes) > 1:
            raise DataError(
                f"samples of one batch differ in '{name}': {shapes}; train on drives with the same "
                "sensors, or set batch_size to 1"
            )
        stacked[name] = torch.from_numpy(np.stack([a[name] for a in arrays]))
    return stacked


class TrainingTask(nn.Module, ABC):
    """What is fitted in one stage; `forward` computes the losses, so that DDP can wrap it.

    `forward` runs under autocast where `train.precision` is not fp32: take network outputs to
    float32 before a loss (`.float()`), and wrap products of matrices in `full_precision`.
    Divide sums over a batch by `distributed.shared_count` of what is counted, so that several
    processes compute what one would.

    Attributes:
        has_unused_parameters: whether a step may leave parameters without gradient.
        not_saved: child modules that a checkpoint leaves out (frozen teachers: they have a file
            of their own, and whoever builds the task loads it).
    """

    has_unused_parameters: ClassVar[bool] = False
    not_saved: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def delivered(self) -> nn.Module:
        """The part that is exported or used later; a submodule of the task."""

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> LossTerms:
        """Return the losses of one batch.

        Args:
            batch: this process's share of the step's samples.
            step: optimiser steps done before, for warm-ups and decays.
        """

    def after_backward(self, step: int) -> None:
        """See the gradients of a step before they are clipped and used; does nothing here."""

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Return (H, W, 3) RGB pictures of what a batch looks like to the network, for the log.

        Called without gradients and in evaluation mode.
        """
        del batch
        return {}


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast off for a loss that multiplies matrices."""
    with torch.autocast(device.type, enabled=False):
        yield
