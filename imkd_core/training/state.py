# SPDX-License-Identifier: Apache-2.0
"""All that changes while a task is fitted: weights, optimiser, running mean, loss scale, step."""

import torch
from torch import Tensor, nn

from imkd_core.errors import ConfigError
from imkd_core.recipe import TrainConfig
from imkd_core.training.distributed import World
from imkd_core.training.ema import WeightAverage
from imkd_core.training.optim import make_optimizer
from imkd_core.training.task import TrainingTask


class TrainingState:
    """A task on its device, with everything that a checkpoint has to hold.

    Args:
        task: moved to the device. Reduced precision runs in the memory order "channels last". On
            several GPUs batch norms see the whole batch; on CPUs each process sees its share (torch
            offers no other), and the running statistics of the first are kept.
        train: optimiser and precision.
        world: device and number of processes.

    Raises:
        ConfigError: the precision cannot be had on this device.
    """

    def __init__(self, task: TrainingTask, train: TrainConfig, world: World) -> None:
        is_cuda = world.device.type == "cuda"
        if train.precision == "fp16" and not is_cuda:
            raise ConfigError("train.precision fp16 needs a CUDA device; a CPU has bf16 and fp32")
        if is_cuda and world.size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
        has_order = train.precision != "fp32"
        order = torch.channels_last if has_order else torch.preserve_format
        self.task = task.to(world.device, memory_format=order)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(task, train)
        self.average = (
            WeightAverage(task.delivered, train.ema_decay) if train.ema_decay > 0 else None
        )
        self.scaler = torch.amp.GradScaler("cuda") if train.precision == "fp16" else None
        self.step = 0

    def other_state(self) -> dict[str, Tensor]:
        """Return the task's state outside `delivered` and outside what is not saved."""
        skipped = (delivered_name(self.task), *self.task.not_saved)
        prefixes = tuple(f"{name}." for name in skipped)
        state = self.task.state_dict()
        return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def delivered_name(task: TrainingTask) -> str:
    """Return the name under which a task knows what it delivers."""
    for name, module in task.named_modules():
        if module is task.delivered and name:
            return name
    raise TypeError(f"{type(task).__name__}.delivered is not one of its submodules")
