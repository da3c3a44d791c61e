# SPDX-License-Identifier: Apache-2.0
"""Small students with a memory, and sequences of noise for them."""

from dataclasses import replace

import torch

from imkd_core.config import MemorySpec
from imkd_core.model.example import INPUT_NAMES, example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import Config
from tests.core.model.small import CONFIG, INPUTS, MODEL

CHANNELS = MODEL.fused_channels
WINDOW = MemorySpec(kind="window", frames=2, channels=CHANNELS)
RECURRENT = MemorySpec(kind="recurrent", frames=1, channels=CHANNELS)


def config_with(memory: MemorySpec) -> Config:
    return replace(CONFIG, inputs=replace(INPUTS, memory=memory))


def remembering_student(memory: MemorySpec, gamma: float = 1.0, seed: int = 0) -> Student:
    """A student with a memory that counts (gamma 0 is how it starts)."""
    torch.manual_seed(seed)
    student = Student.from_config(config_with(memory))
    torch.nn.init.constant_(student.temporal.norm.weight, gamma)
    return student


def sensors(count: int, cameras: int = 2, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Noise of `count` frames, no batch axis, sensors alone."""
    return [example_inputs(INPUTS, cameras, seed + i) for i in range(count)]


def motion(x_m: float = 0.0, y_m: float = 0.0, yaw_rad: float = 0.0) -> torch.Tensor:
    """(2, 3) SE(2)."""
    cos, sin = torch.cos(torch.tensor(yaw_rad)), torch.sin(torch.tensor(yaw_rad))
    return torch.tensor([[cos, -sin, x_m], [sin, cos, y_m]])


def past_of(frames, transforms, ages_s, mask=None) -> dict[str, torch.Tensor]:
    """Arrays of past frames, newest first, of a batch of one."""
    mask = torch.ones(len(frames)) if mask is None else torch.tensor(mask)
    past = {
        f"past_{name}": torch.stack([frame[name] for frame in frames])[None] for name in INPUT_NAMES
    }
    return {
        **past,
        "past_transform": torch.stack(list(transforms))[None],
        "past_age_s": torch.tensor(ages_s)[None],
        "past_mask": mask.float()[None],
    }
