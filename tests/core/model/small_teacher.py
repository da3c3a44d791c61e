# SPDX-License-Identifier: Apache-2.0
"""Teachers that are small enough for every test, on a grid whose sides differ."""

import torch

from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.teaching import LIDAR_POINT_COLUMNS, TeacherConfig
from tests.core.model.small import GRID, HEAD, INPUTS

TEACHER = TeacherConfig(
    pillar_channels=6,
    channels=8,
    trunk_channels=(8, 12, 16),
    trunk_blocks=(1, 1, 1),
    trunk_neck_channels=6,
    head_channels=10,
    max_points=200,
)


def small_teacher(seed=0, learned_gate=False, **changes):
    torch.manual_seed(seed)
    config = TeacherConfig(**{**TEACHER.__dict__, **changes})
    return Teacher(INPUTS, HEAD, config, learned_gate)


def small_labels(seed=0):
    torch.manual_seed(seed)
    return LabelEncoder(HEAD, 12, TEACHER.channels)


def random_points(batch=2, count=200, seed=0):
    """Return points all over the grid and a mask in which the samples' last points are off."""
    rng = torch.Generator().manual_seed(seed)
    low = torch.tensor([GRID.x_min_m, GRID.y_min_m, -2.0, 0.0, 0.0, 0.7])
    high = torch.tensor([GRID.x_max_m, GRID.y_max_m, 2.0, 255.0, 0.45, 4.0])
    share = torch.rand((batch, count, len(LIDAR_POINT_COLUMNS)), generator=rng)
    mask = torch.arange(count)[None] < torch.tensor([count - 10 * i for i in range(batch)])[:, None]
    return low + share * (high - low) * 0.999, mask
