# SPDX-License-Identifier: Apache-2.0
"""A student that is small enough for every test, on a grid whose sides differ."""

import torch

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins, HeadSpec, InputSpec
from imkd_core.model.student import Student
from imkd_core.recipe import Config, ModelConfig

GRID = BevGrid(x_min_m=-8.0, x_max_m=24.0, y_min_m=-6.0, y_max_m=6.0, cell_m=0.5)
INPUTS = InputSpec(
    image_height_px=64,
    image_width_px=96,
    bev=GRID,
    depth=DepthBins(min_m=2.0, max_m=12.0, step_m=2.0),
    lut_taps=4,
)
HEAD = HeadSpec(
    class_names=("car", "pedestrian", "cone"),
    tasks=(("car",), ("pedestrian", "cone")),
    candidates=50,
    nms_radius_m={"car": 2.0, "pedestrian": 0.4, "cone": 0.4},
)
MODEL = ModelConfig(
    backbone="resnet18",
    backbone_width=8,
    neck_channels=8,
    depth_channels=16,
    context_channels=7,
    radar_widths=(4, 6, 8),
    radar_channels=5,
    fused_channels=9,
    trunk_channels=(8, 12, 16),
    trunk_blocks=(1, 1, 1),
    trunk_neck_channels=6,
    head_channels=10,
)
CONFIG = Config(name="small", inputs=INPUTS, head=HEAD, model=MODEL)


def small_student(seed: int = 0) -> Student:
    torch.manual_seed(seed)
    return Student.from_config(CONFIG)
