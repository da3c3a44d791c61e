# SPDX-License-Identifier: Apache-2.0
"""A batch of noise with everything that the student's losses take, for tests."""

import dataclasses
import itertools

import torch

from imkd_core.data.learning.targets import draw_gaussian
from imkd_core.model.example import batched, example_inputs
from imkd_core.recipe import Config
from imkd_core.teaching import DistillConfig, TeacherConfig
from imkd_core.training.student_task import StudentTask
from imkd_core.training.task import Batch
from tests.core.model.small import CONFIG, GRID, HEAD, INPUTS

ROWS, COLUMNS = GRID.shape
OBJECTS = 4
TAUGHT = 3
TEACHER = TeacherConfig(channels=8)
ALL_TERMS = {
    "lidar_to_radar": 0.3,
    "lidar_to_fused": 0.3,
    "label_to_fused": 0.3,
    "response": 1.0,
    "gate": 0.05,
    "doppler": 0.05,
}


def config_with(train: dict | None = None, **distill) -> Config:
    """Return the small student's configuration with these distillation settings."""
    settings = {"channels": TAUGHT, "warmup_steps": 0, **distill}
    return dataclasses.replace(
        CONFIG,
        teacher=TEACHER,
        distill=DistillConfig(**settings),
        train=dataclasses.replace(CONFIG.train, **(train or {})),
    )


def small_task(config: Config, seed: int = 0) -> StudentTask:
    torch.manual_seed(seed)
    return StudentTask.from_config(config)


def made_up_batch(seed: int = 0, samples: int = 2, channels: int = TAUGHT) -> Batch:
    """Return noise in the shape of training samples; two objects a sample, the rest padding."""
    rng = torch.Generator().manual_seed(seed)
    inputs = batched(*[example_inputs(INPUTS, 2, seed=seed + i) for i in range(samples)])

    def noise(*shape):
        return torch.randn((samples, *shape), generator=rng)

    cell = torch.randint(0, ROWS * COLUMNS, (samples, OBJECTS), generator=rng)
    weight = torch.zeros(samples, OBJECTS, 10)
    weight[:, :2] = 1
    heatmap = torch.zeros(samples, 3, ROWS, COLUMNS)
    for sample, place in itertools.product(range(samples), range(2)):
        row, column = divmod(int(cell[sample, place]), COLUMNS)
        draw_gaussian(heatmap[sample, 0].numpy(), row, column, radius=3)
    confidence = torch.rand(samples, OBJECTS, generator=rng) * weight[..., 0]
    doppler = torch.cat(
        [torch.tensor([0.6, 0.8]).expand(samples, OBJECTS, 2), noise(OBJECTS, 2)], -1
    )
    doppler[..., 3] = weight[..., 0]
    targets = {
        "heatmap": heatmap,
        "cell": cell,
        "task": torch.zeros(samples, OBJECTS, dtype=torch.int64),
        "code": noise(OBJECTS, 10),
        "code_weight": weight,
        "depth_bin": torch.zeros(samples, 2, *INPUTS.feature_shape, dtype=torch.int64),
        "f_lidar": noise(channels, ROWS, COLUMNS),
        "f_label": noise(channels, ROWS, COLUMNS),
        "i_lidar": torch.rand(samples, ROWS, COLUMNS, generator=rng),
        "label_mask": heatmap.amax(1),
        "heat_teacher": torch.rand(samples, len(HEAD.class_names), ROWS, COLUMNS, generator=rng),
        "code_teacher": noise(OBJECTS, 10),
        "code_teacher_weight": confidence,
        "has_lidar": torch.ones(samples, 1),
        "teacher_quality": torch.ones(samples, 1),
        "radar_occupied": (torch.rand(samples, ROWS, COLUMNS, generator=rng) > 0.8).float(),
        "doppler": doppler,
    }
    return Batch(inputs=inputs, targets=targets)


def one_sample(batch: Batch, index: int) -> Batch:
    """Return one sample of a batch as a batch."""
    return Batch(
        inputs={name: value[index : index + 1] for name, value in batch.inputs.items()},
        targets={name: value[index : index + 1] for name, value in batch.targets.items()},
    )
