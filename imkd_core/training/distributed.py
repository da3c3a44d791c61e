# SPDX-License-Identifier: Apache-2.0
"""One process or many: who this process is, and sums over all of them.

`torchrun --nproc_per_node 2 -m imkd_core train ...` starts the processes and tells each its place
in environment variables. They talk through gloo on CPUs and through NCCL on GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from jaxtyping import Num
from torch import Tensor, distributed

from imkd_core.errors import ConfigError

#: How long processes wait for the first one, which may have teachers' maps to write.
PATIENCE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among all.

    Attributes:
        rank: 0 for the process that writes checkpoints and logs.
        size: number of processes.
        device: of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; without torchrun, be alone.

    Args:
        device: "auto", "cpu" or "cuda"; with several GPUs each process takes one of them.

    Raises:
        ConfigError: the device is unknown or absent, or this machine has too few GPUs.
    """
    chosen = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=chosen)
        return
    if chosen.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no GPU ({torch.cuda.device_count()} found); "
                "lower --nproc_per_node, or pass --device cpu"
            )
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank=distributed.get_rank(), size=size, device=chosen)
    finally:
        distributed.destroy_process_group()


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


def sum_over_processes(value: Num[Tensor, "..."]) -> Num[Tensor, "..."]:
    """Return the sum of a tensor over all processes, without gradient; itself when alone."""
    total = value.detach()
    if _world_size() > 1:
        total = total.clone()
        distributed.all_reduce(total)
    return total


def mean_over_processes(value: Num[Tensor, "..."]) -> Num[Tensor, "..."]:
    """Return the mean of a tensor over all processes, without gradient; itself when alone."""
    return sum_over_processes(value) / _world_size()


def shared_count(count: Num[Tensor, ""]) -> Num[Tensor, ""]:
    """Return what a process divides its sum by, so that all together divide by the whole count.

    DDP takes the mean of the processes' gradients. With sums s_r and counts n_r the mean of
    s_r / (max(1, sum n) / W) is sum s / max(1, sum n): what one process gets from the whole batch
    (method.md 5.1, "batch-reduced mean").
    """
    return sum_over_processes(count).clamp(min=1) / _world_size()


def _world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def gather_over_processes(values: dict[int, str]) -> dict[int, str]:
    """Return the entries of all processes' mappings; costs little where all are empty."""
    if _world_size() == 1:
        return values
    count = torch.tensor(len(values), device=_device())
    if not int(sum_over_processes(count)):
        return values
    parts: list[dict[int, str]] = [{} for _ in range(_world_size())]
    distributed.all_gather_object(parts, values)
    return {key: text for part in parts for key, text in part.items()}


def _device() -> torch.device:
    is_nccl = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if is_nccl else torch.device("cpu")
