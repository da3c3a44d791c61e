# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as safetensors: weights, optimiser state and step; written atomically, no pickle.

A checkpoint is a folder's `checkpoint.safetensors`. Its tensors:

    model.<key>                    what is delivered, the last weights
    ema.<key>                      its running mean, where train.ema_decay is above 0
    task.<key>                     the rest of the task: adaptors, guards
    optimizer.<parameter>.<state>

The step, the stage, the configuration and the loss scale stand in the file's metadata as text.
Chance needs no state: every draw is seeded by (seed, step, position).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from imkd_core.errors import ConfigError, DataError
from imkd_core.mapping import from_mapping, to_mapping
from imkd_core.recipe import Config
from imkd_core.training.state import TrainingState

#: Name of the file inside a run's folder.
FILE_NAME = "checkpoint.safetensors"

#: What can be trained.
STAGES = ("teacher", "labels", "student")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training state, as read from a file.

    Attributes:
        path: of the file.
        config: what was trained.
        stage: one of `STAGES`.
        step: optimiser steps done.
        model: state of what is delivered, last weights.
        average: its running mean; empty where none was kept.
        others: state of the rest of the task.
        optimizer: parameter index -> state name -> tensor.
        scaler: state of the loss scale; empty outside fp16.
    """

    path: Path
    config: Config
    stage: str
    step: int
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    others: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    scaler: dict[str, Any]

    def delivered_state(self) -> dict[str, Tensor]:
        """Return the weights to be used: the running mean where there is one, else the last."""
        return self.average or self.model

    def load_delivered(self, module: nn.Module) -> None:
        """Fill a network of the same configuration, strictly, with the weights to be used.

        Raises:
            DataError: the weights do not fit the network.
        """
        _load(module, self.delivered_state(), self.path)

    def restore(self, state: TrainingState) -> None:
        """Continue from here: fill a state of the same configuration, strictly.

        Raises:
            DataError: the weights do not fit the task.
        """
        _load(state.task.delivered, self.model, self.path)
        wanted = state.other_state().keys()
        if wanted != self.others.keys():
            keys = sorted(wanted ^ self.others.keys())
            raise DataError(f"{self.path} does not fit this task; it differs in {_few(keys)}")
        state.task.load_state_dict(self.others, strict=False)
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": self.optimizer, "param_groups": groups})
        _match_memory_order(state.optimizer)
        if state.average is not None:
            state.average.load_state_dict(self.average)
        if state.scaler is not None:
            state.scaler.load_state_dict(self.scaler)
        state.step = self.step


def save_checkpoint(directory: Path, config: Config, stage: str, state: TrainingState) -> Path:
    """Write a state; a reader sees the old file or the new one, never a part.

    Raises:
        DataError: the file cannot be written; the old one, if any, is as it was.
    """
    path, partial = directory / FILE_NAME, directory / f"{FILE_NAME}.partial"
    metadata = {
        "step": str(state.step),
        "stage": stage,
        "config": json.dumps(to_mapping(config)),
        "scaler": json.dumps(state.scaler.state_dict() if state.scaler else {}),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(state), partial, metadata)
        _flush(partial)
        partial.replace(path)
        _flush(directory)
    except (SafetensorError, OSError) as error:
        if partial.is_file():
            partial.unlink()
        kept = f"; {path} of before is intact" if path.exists() else ""
        raise DataError(
            f"cannot write {path} ({error}){kept}; free space on that disk or move the run, then "
            "continue with --resume"
        ) from None
    return path


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    """Return all tensors of a state by their names in the file."""
    tensors = {f"model.{key}": value for key, value in state.task.delivered.state_dict().items()}
    if state.average is not None:
        tensors |= {f"ema.{key}": value for key, value in state.average.state_dict().items()}
    tensors |= {f"task.{key}": value for key, value in state.other_state().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _flush(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(path: Path, stage: str | None = None) -> Checkpoint:
    """Read a checkpoint file, or the one inside a run's folder.

    Args:
        path: of the file or folder.
        stage: that it must be of; any where None.

    Raises:
        DataError: missing, truncated, not one of our checkpoints, or of another stage.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"no checkpoint at {file}; train one with 'imkd train {stage or ''}'")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is not a readable safetensors file: {error}") from None
    if "step" not in metadata or "config" not in metadata:
        raise DataError(f"{file} is not a checkpoint of 'imkd train': it names no step or config")
    found = metadata.get("stage", "student")
    if stage is not None and found != stage:
        raise DataError(f"{file} holds stage '{found}', not '{stage}'; give a run of that stage")
    return Checkpoint(
        path=file,
        config=_config(file, metadata["config"]),
        stage=found,
        step=_step(file, metadata["step"]),
        model=_part(tensors, "model."),
        average=_part(tensors, "ema."),
        others=_part(tensors, "task."),
        optimizer=_optimizer_state(file, tensors),
        scaler=_json(file, "scaler", metadata.get("scaler", "{}")),
    )


def _config(file: Path, text: str) -> Config:
    try:
        return from_mapping(Config, _json(file, "config", text))
    except ConfigError as error:
        raise DataError(
            f"{file} was written by another version of this program ({error}); train it anew"
        ) from None


def _step(file: Path, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _damaged(file, f"its step is '{text[:40]}'")
    return int(text)


def _json(file: Path, name: str, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its {name} is no JSON: {error}") from None
    if not isinstance(raw, dict):
        raise _damaged(file, f"its {name} is no mapping")
    return raw


def _damaged(file: Path, what: str) -> DataError:
    return DataError(f"{file} is damaged ({what}); copy it again, or train it anew")


def differing_keys(first: Config, second: Config) -> list[str]:
    """Return "key: value in the first, value in the second" for all that differs."""
    one, two = _flat(to_mapping(first)), _flat(to_mapping(second))
    return [
        f"{key}: {one.get(key)} there, {two.get(key)} here"
        for key in dict.fromkeys((*one, *two))
        if one.get(key) != two.get(key)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _optimizer_state(file: Path, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _part(tensors, "optimizer.").items():
        index, _, name = key.partition(".")
        if not (index.isascii() and index.isdigit() and len(index) < 10 and name):
            raise _damaged(file, f"it holds 'optimizer.{key[:40]}'")
        state.setdefault(int(index), {})[name] = value
    return state


def _match_memory_order(optimizer: torch.optim.Optimizer) -> None:
    """Lay the optimiser's tensors out as their parameters are; a file knows one order only."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _load(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise DataError(f"{path} does not fit this model: {error}") from None


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
