# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as safetensors: weights, optimiser state and step; written atomically, no pickle.

A checkpoint is a folder's `checkpoint.safetensors`. Tensors are named `model.<key>` and
`optimizer.<parameter index>.<state>`; the step, the seed and the configuration stand in the
file's metadata as text. Chance needs no state: every draw is seeded by (seed, step).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from imkd_core.errors import DataError
from imkd_core.mapping import from_mapping, to_mapping
from imkd_core.recipe import Config

#: Name of the file inside a run's folder.
FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training state.

    Attributes:
        config: the student that was trained.
        step: optimiser steps done.
        model: state dict of the model.
        optimizer: parameter index -> state name -> tensor.
    """

    config: Config
    step: int
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Load the state into a model, strictly, and into its optimiser.

        Raises:
            DataError: the weights do not fit the model.
        """
        try:
            model.load_state_dict(self.model, strict=True)
        except RuntimeError as error:
            raise DataError(f"the checkpoint does not fit this model: {error}") from None
        if optimizer is not None:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self.optimizer, "param_groups": groups})


def save_checkpoint(
    directory: Path, config: Config, step: int, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Path:
    """Write the state; a reader sees the old file or the new one, never a part."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    path, partial = directory / FILE_NAME, directory / f"{FILE_NAME}.partial"
    metadata = {"step": str(step), "config": json.dumps(to_mapping(config))}
    save_file({key: value.contiguous() for key, value in tensors.items()}, partial, metadata)
    partial.replace(path)
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file, or the one inside a run's folder.

    Raises:
        DataError: missing, truncated, or not one of our checkpoints.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"no checkpoint at {file}; train one with 'imkd train'")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is not a readable safetensors file: {error}") from None
    if "step" not in metadata or "config" not in metadata:
        raise DataError(f"{file} is not a checkpoint of 'imkd train': it names no step or config")
    return Checkpoint(
        config=from_mapping(Config, json.loads(metadata["config"])),
        step=int(metadata["step"]),
        model={key[6:]: value for key, value in tensors.items() if key.startswith("model.")},
        optimizer=_optimizer_state(tensors),
    )


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    return state
