# SPDX-License-Identifier: Apache-2.0
"""The network's inputs and outputs by name, dtype and shape: what every backend is held to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imkd_core.config import RADAR_GRID_CHANNELS, HeadSpec, InputSpec
from imkd_core.postprocess import BOX_FIELDS


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Type and shape of an input or output; a None in the shape may be any number."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def accepts(self, dtype: np.dtype[Any] | None, shape: Sequence[int | None]) -> bool:
        """Whether an array or another spec fits; None fits any number."""
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(
                a == b or a is None or b is None for a, b in zip(shape, self.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        """For messages: dtype [a, ?, c]."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{sizes}]"


def input_contract(spec: InputSpec) -> dict[str, TensorSpec]:
    """Return what a network that takes `spec` must accept; the number of cameras is open."""
    height, width = spec.feature_shape
    cells, taps = spec.bev.cells, spec.lut_taps
    images = (None, 3, spec.image_height_px, spec.image_width_px)
    radar = (len(RADAR_GRID_CHANNELS), *spec.radar_grid.shape)
    float32, int32 = np.dtype(np.float32), np.dtype(np.int32)
    return {
        "images": TensorSpec(dtype=np.dtype(np.uint8), shape=images),
        "camera_mask": TensorSpec(dtype=float32, shape=(None,)),
        "camera_params": TensorSpec(dtype=float32, shape=(None, 16)),
        "frustum_mask": TensorSpec(dtype=float32, shape=(None, spec.depth.count, height, width)),
        "lut_index": TensorSpec(dtype=int32, shape=(cells, taps)),
        "lut_weight": TensorSpec(dtype=float32, shape=(cells, taps)),
        "radar_grid": TensorSpec(dtype=float32, shape=radar),
        "radar_mask": TensorSpec(dtype=float32, shape=(1,)),
    }


def output_contract(spec: InputSpec, head: HeadSpec) -> dict[str, TensorSpec]:
    """Return what a network must give."""
    float32 = np.dtype(np.float32)
    return {
        "scores": TensorSpec(dtype=float32, shape=(head.candidates,)),
        "labels": TensorSpec(dtype=np.dtype(np.int32), shape=(head.candidates,)),
        "boxes": TensorSpec(dtype=float32, shape=(head.candidates, len(BOX_FIELDS))),
        "i_cam": TensorSpec(dtype=float32, shape=spec.bev.shape),
        "i_rad": TensorSpec(dtype=float32, shape=spec.bev.shape),
    }
