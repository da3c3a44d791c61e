# SPDX-License-Identifier: Apache-2.0
"""A stage small enough for every test: a student of 60 thousand weights on a made-up drive."""

import dataclasses
from functools import cache
from pathlib import Path

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins, HeadSpec
from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.recipe import AugmentConfig, Config, TrainConfig
from imkd_core.training.student_task import StudentTask
from imkd_core.training.train import Run, train
from tests.core.data.made_up import write_dataroot
from tests.core.model.small import CONFIG as SMALL

CONFIG = dataclasses.replace(
    SMALL,
    head=HeadSpec(candidates=50),
    inputs=dataclasses.replace(
        SMALL.inputs,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
        depth=DepthBins(min_m=2.0, max_m=42.0, step_m=4.0),
    ),
    train=TrainConfig(
        steps=8,
        learning_rate=2e-3,
        warmup_steps=2,
        freeze_norm_from=0.5,
        checkpoint_every_steps=3,
    ),
    augment=AugmentConfig(pixel_shift_px=1, blank_camera=0.2, drop_radar=0.2),
)


def write_drive(root: Path, frames: int = 2) -> None:
    """Write the made-up drive of these tests."""
    write_dataroot(root, frames=frames, lidar_points=500)


@cache
def drive(root: Path) -> DetectionDataset:
    """Return the samples of a made-up drive; decoded ones are kept for all tests."""
    return DetectionDataset(NuScenes(root).samples(), CONFIG)


def with_train(**changes) -> Config:
    """Return the configuration with other values in its section `train`."""
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))


def run(dataset, directory: Path, config: Config, **options) -> list:
    """Train a student; return the reports of all steps."""
    reports: list = []
    how = Run(directory=directory, device="cpu", **options)
    train(lambda: StudentTask.from_config(config), dataset, config, how, reports.append)
    return reports
