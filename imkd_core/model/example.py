# SPDX-License-Identifier: Apache-2.0
"""Made-up inputs of the right shapes: to trace, to measure and to try a network without data."""

import torch
from torch import Tensor

from imkd_core.config import RADAR_GRID_CHANNELS, InputSpec
from imkd_core.model.depth_net import CAMERA_PARAMS

#: Names of the graph's inputs that a frame's sensors give, in order.
INPUT_NAMES = (
    "images",
    "camera_mask",
    "camera_params",
    "frustum_mask",
    "lut_index",
    "lut_weight",
    "radar_grid",
    "radar_mask",
)

#: Names of the further inputs of a graph with a memory, in order.
MEMORY_NAMES = ("history", "history_transform", "history_age_s", "history_mask")


def input_names(spec: InputSpec) -> tuple[str, ...]:
    """Return the names of a graph's inputs, in order."""
    return INPUT_NAMES + (MEMORY_NAMES if spec.memory.frames else ())


def example_inputs(spec: InputSpec, cameras: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Return one frame of noise (no batch axis), all sensors live, by the graph's input names.

    The look-up table points to random rows, with weights that sum to 1 per cell. A memory is full:
    the vehicle has moved two metres a map, and turned.
    """
    rng = torch.Generator().manual_seed(seed)
    height, width = spec.feature_shape
    rows = cameras * width * spec.depth.count
    table = (spec.bev.cells, spec.lut_taps)
    weight = torch.rand(table, generator=rng)
    image = (cameras, 3, spec.image_height_px, spec.image_width_px)
    radar = (len(RADAR_GRID_CHANNELS), *spec.radar_grid.shape)
    return {
        "images": torch.randint(0, 256, image, generator=rng, dtype=torch.uint8),
        "camera_mask": torch.ones(cameras),
        "camera_params": torch.randn(cameras, CAMERA_PARAMS, generator=rng),
        "frustum_mask": torch.ones(cameras, spec.depth.count, height, width),
        "lut_index": torch.randint(0, rows, table, generator=rng, dtype=torch.int32),
        "lut_weight": weight / weight.sum(dim=1, keepdim=True),
        "radar_grid": torch.randn(radar, generator=rng),
        "radar_mask": torch.ones(1),
        **(_example_memory(spec, rng) if spec.memory.frames else {}),
    }


def _example_memory(spec: InputSpec, rng: torch.Generator) -> dict[str, Tensor]:
    frames = spec.memory.frames
    number = torch.arange(1.0, frames + 1)
    cos, sin, zero = torch.cos(0.05 * number), torch.sin(0.05 * number), torch.zeros(frames)
    rows = torch.stack([cos, -sin, -2 * number, sin, cos, zero], dim=1)
    shape = (frames, spec.memory.channels, *spec.bev.shape)
    return {
        "history": torch.rand(shape, generator=rng),
        "history_transform": rows.reshape(frames, 2, 3),
        "history_age_s": spec.memory.interval_s * number,
        "history_mask": torch.ones(frames),
    }


def batched(*frames: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return frames stacked along a new first axis, as `Student.forward` takes them."""
    return {name: torch.stack([frame[name] for frame in frames]) for name in frames[0]}
