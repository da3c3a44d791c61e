# SPDX-License-Identifier: Apache-2.0
"""Both teachers, fitted to two made-up frames in a few seconds, for the tests of this package."""

import numpy as np
import torch

from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec
from imkd_core.model.center_head import decode
from imkd_core.postprocess import decode_boxes
from imkd_core.recipe import Config, ModelConfig, TrainConfig
from imkd_core.teaching import LabelEncoderConfig, TeacherConfig
from imkd_core.training.task import collate

CONFIG = Config(
    name="small",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=160,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-12.0, y_max_m=12.0, cell_m=1.0),
    ),
    head=HeadSpec(candidates=100),
    model=ModelConfig(backbone="resnet18"),
    teacher=TeacherConfig(
        lidar_sweeps=2,
        pillar_channels=16,
        channels=24,
        trunk_channels=(16, 24, 32),
        trunk_blocks=(1, 1, 1),
        trunk_neck_channels=12,
        head_channels=24,
        max_points=900,
    ),
    teacher_train=TrainConfig(learning_rate=5e-3),
    labels=LabelEncoderConfig(channels=24),
    labels_train=TrainConfig(learning_rate=5e-3),
)


def fit(task, samples, steps, learning_rate):
    """Fit a task to the same samples over and over; return the total of every step."""
    batch = collate(samples)
    parameters = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=1e-2)
    totals = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps) + 1e-5
        task.train()
        total = task(batch, step).total()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        totals.append(float(total.detach()))
    task.eval()
    return totals


def recall(heatmap_logits, codes, truth, config=CONFIG):
    """Return the share of true boxes with a detection of their class within 2 m, one sample."""
    with torch.no_grad():
        found = decode(heatmap_logits, codes, config.head, config.inputs.bev)
    outputs = {name: getattr(found, name)[0].numpy() for name in ("scores", "labels", "boxes")}
    empty = np.zeros((1, 1), np.float32)
    boxes = decode_boxes({**outputs, "i_cam": empty, "i_rad": empty}, config.head, 1)
    hits = 0
    for center, label in zip(truth.center_m, truth.labels, strict=True):
        miss_m = np.linalg.norm(boxes.center_m[boxes.labels == label, :2] - center[:2], axis=1)
        hits += bool((miss_m < 2).any())
    return hits / len(truth)
