# SPDX-License-Identifier: Apache-2.0
"""The network's inputs and outputs by name, dtype and shape: what every backend is held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import RADAR_GRID_CHANNELS, HeadSpec, InputSpec
from imkd_core.errors import BackendError
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
    contract = {
        "images": TensorSpec(dtype=np.dtype(np.uint8), shape=images),
        "camera_mask": TensorSpec(dtype=float32, shape=(None,)),
        "camera_params": TensorSpec(dtype=float32, shape=(None, 16)),
        "frustum_mask": TensorSpec(dtype=float32, shape=(None, spec.depth.count, height, width)),
        "lut_index": TensorSpec(dtype=int32, shape=(cells, taps)),
        "lut_weight": TensorSpec(dtype=float32, shape=(cells, taps)),
        "radar_grid": TensorSpec(dtype=float32, shape=radar),
        "radar_mask": TensorSpec(dtype=float32, shape=(1,)),
    }
    return contract | _memory_inputs(spec)


def _memory_inputs(spec: InputSpec) -> dict[str, TensorSpec]:
    """Return the arrays of the memory, newest map first; none for a model without one.

    `history_transform` holds for each map the SE(2), in metres, that takes a point of the present
    ego frame to the ego frame of the map; `history_mask` is 1 where the map exists.
    """
    frames, channels = spec.memory.frames, spec.memory.channels
    shapes = {
        "history": (frames, channels, *spec.bev.shape),
        "history_transform": (frames, 2, 3),
        "history_age_s": (frames,),
        "history_mask": (frames,),
    }
    float32 = np.dtype(np.float32)
    specs = {name: TensorSpec(dtype=float32, shape=shape) for name, shape in shapes.items()}
    return specs if frames else {}


def output_contract(spec: InputSpec, head: HeadSpec) -> dict[str, TensorSpec]:
    """Return what a network must give; with a memory also the map to keep, `memory`."""
    float32 = np.dtype(np.float32)
    memory = TensorSpec(dtype=float32, shape=(spec.memory.channels, *spec.bev.shape))
    contract = {
        "scores": TensorSpec(dtype=float32, shape=(head.candidates,)),
        "labels": TensorSpec(dtype=np.dtype(np.int32), shape=(head.candidates,)),
        "boxes": TensorSpec(dtype=float32, shape=(head.candidates, len(BOX_FIELDS))),
        "i_cam": TensorSpec(dtype=float32, shape=spec.bev.shape),
        "i_rad": TensorSpec(dtype=float32, shape=spec.bev.shape),
    }
    return contract | ({"memory": memory} if spec.memory.frames else {})


def check_contract(
    model: Path, kind: str, actual: Mapping[str, TensorSpec], expected: Mapping[str, TensorSpec]
) -> None:
    """Compare names, dtypes and fixed sizes of a model with what its bundle says.

    Args:
        model: its file, for messages.
        kind: "input" or "output", for messages.
        actual: what the file has.
        expected: what the bundle says.

    Raises:
        BackendError: they differ.
    """
    if set(actual) != set(expected):
        raise BackendError(_names_differ(model, f"{kind}s", set(actual), expected))
    for name, spec in expected.items():
        if not spec.accepts(actual[name].dtype, actual[name].shape):
            raise BackendError(
                f"{model}: {kind} '{name}' is {actual[name]}, but the bundle says {spec}; export "
                "the model again"
            )


def check_arrays(
    model: Path, specs: Mapping[str, TensorSpec], arrays: Mapping[str, NDArray[np.generic]]
) -> None:
    """Check that the arrays of one run are those that a model takes.

    Raises:
        BackendError: a name, a dtype or a fixed size does not fit.
    """
    if set(arrays) != set(specs):
        raise BackendError(_names_differ(model, "inputs", set(arrays), specs))
    for name, spec in specs.items():
        value = arrays[name]
        if not spec.accepts(value.dtype, value.shape):
            raise BackendError(
                f"input '{name}' is {value.dtype} {list(value.shape)}, but the model takes "
                f"{spec}; make the rig and the bundle fit, or export for this rig"
            )


def check_finite(outputs: Mapping[str, NDArray[np.generic]]) -> None:
    """Check what a model gave.

    Raises:
        BackendError: a value is NaN or infinite.
    """
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise BackendError(
                f"the model returned a value that is not finite in '{name}'; frame suppressed; if "
                "it goes on, export the model again, or run its fp32 file"
            )


def _names_differ(model: Path, kind: str, found: set[str], expected: Mapping[str, Any]) -> str:
    missing, surplus = sorted(set(expected) - found), sorted(found - set(expected))
    return (
        f"{model}: {kind} do not fit: missing {missing or 'none'}, unknown {surplus or 'none'}; "
        "export the model with this version of the software"
    )
