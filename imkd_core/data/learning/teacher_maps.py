# SPDX-License-Identifier: Apache-2.0
"""What the teachers say about one sample, small enough to keep on disk (method.md 12.1).

    write_teacher_maps(path, maps)        # about 0.2 to 0.8 MB a sample
    maps = read_teacher_maps(path)        # de-quantised, float32

Maps lie on `InputSpec.bev` in the ego frame of the key frame, before any augmentation; the
dataset warps them with the scene. Principal components are kept as int8 with a scale of their own
for each channel and sample, probabilities as uint8.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import DataError, SensorError
from imkd_core.types import Detections

#: Version of the file format; a file of another version is refused.
FORMAT = 1

#: Ending of a sample's file; its name is the sample's token.
SUFFIX = ".npz"

_CAMERA_PREFIX = "depth_points/"
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, SensorError, zipfile.BadZipFile)
_BOX_PREFIX = "boxes/"
_BOX_FIELDS = ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherMaps:
    """What the teachers say about one sample.

    Attributes:
        f_lidar: (Kp, Y, X) float32 principal components of F_L, whose channels were divided by
            their standard deviation over the training set.
        f_label: (Kp, Y, X) float32, F_lab on the same basis, divided by deviations of its own.
        i_lidar: (Y, X) float32 intensity map I_L in 0..1.
        heat: (classes, Y, X) float32 probabilities of the LiDAR teacher.
        annotation_tokens: of the true objects on the grid.
        boxes: what the teacher says at the cell of each of them, in that order; the scores are
            c_k of method.md 5.6, 0 where the teacher is not to be trusted.
        quality: how good the teacher is on this sample, 0..1; 1 is the median or better.
        has_lidar: False where there was no LiDAR, and F_lab alone is meant.
        depth_points: camera -> (P, 3) float32 LiDAR returns as (u, v, depth): pixels of the
            network image without augmentation, and metres along the optical axis.

    Raises:
        DataError: shapes disagree.
    """

    f_lidar: NDArray[np.float32]
    f_label: NDArray[np.float32]
    i_lidar: NDArray[np.float32]
    heat: NDArray[np.float32]
    annotation_tokens: tuple[str, ...]
    boxes: Detections
    quality: float
    depth_points: Mapping[str, NDArray[np.float32]]
    has_lidar: bool = True

    def __post_init__(self) -> None:
        """Check that all maps share a grid, and all boxes have a token and a confidence."""
        shape = self.i_lidar.shape
        wanted = {
            "f_lidar": (len(self.f_lidar), *shape),
            "f_label": (len(self.f_lidar), *shape),
            "heat": (len(self.heat), *shape),
        }
        for name, expected in wanted.items():
            given = getattr(self, name).shape
            if given != expected:
                raise DataError(f"teacher maps: {name} must be {expected}, got {given}")
        if len(self.annotation_tokens) != len(self.boxes):
            raise DataError(
                f"teacher maps: {len(self.boxes)} boxes, {len(self.annotation_tokens)} tokens"
            )
        object.__setattr__(self, "depth_points", MappingProxyType(dict(self.depth_points)))

    def with_quality(self, quality: float) -> "TeacherMaps":
        """Return the same maps with another `quality`."""
        return replace(self, quality=quality)


def write_teacher_maps(path: Path, maps: TeacherMaps) -> Path:
    """Write a sample's maps; a reader sees the old file, the new one, or none, never a part.

    Raises:
        DataError: the file cannot be written.
    """
    f_lidar, f_lidar_scale = quantise_signed(maps.f_lidar)
    f_label, f_label_scale = quantise_signed(maps.f_label)
    arrays = {
        "format": np.int64(FORMAT),
        "f_lidar": f_lidar,
        "f_lidar_scale": f_lidar_scale,
        "f_label": f_label,
        "f_label_scale": f_label_scale,
        "i_lidar": quantise_unit(maps.i_lidar),
        "heat": quantise_unit(maps.heat),
        "annotation_tokens": np.array(maps.annotation_tokens, dtype=np.str_),
        "quality": np.float32(maps.quality),
        "has_lidar": np.bool_(maps.has_lidar),
        "stamp_ns": np.int64(maps.boxes.stamp_ns),
        "class_names": np.array(maps.boxes.class_names, dtype=np.str_),
    }
    arrays |= {f"{_BOX_PREFIX}{name}": getattr(maps.boxes, name) for name in _BOX_FIELDS}
    for camera, points in maps.depth_points.items():
        arrays[f"{_CAMERA_PREFIX}{camera}"] = points.astype(np.float16)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(
            f"cannot write {path}: {error}; free some space, or choose --cache"
        ) from None
    return path


def read_teacher_maps(path: Path) -> TeacherMaps:
    """Read a sample's maps.

    Raises:
        DataError: the file is missing, damaged, or of another version.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
        if int(arrays["format"]) != FORMAT:
            raise DataError(
                f"{path} has format {int(arrays['format'])}, this version reads {FORMAT}; delete "
                "the cache's folder, and it is written anew"
            )
        return _from_arrays(arrays)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def read_quality(path: Path) -> tuple[float, bool]:
    """Read a sample's quality and whether it had LiDAR, without its maps.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
            return float(opened["quality"]), bool(opened["has_lidar"])
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot read the teacher maps {path}: {error}; delete the file, and the next run writes "
        "it anew"
    )


def _from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> TeacherMaps:
    return TeacherMaps(
        f_lidar=dequantise_signed(arrays["f_lidar"], arrays["f_lidar_scale"]),
        f_label=dequantise_signed(arrays["f_label"], arrays["f_label_scale"]),
        i_lidar=dequantise_unit(arrays["i_lidar"]),
        heat=dequantise_unit(arrays["heat"]),
        annotation_tokens=tuple(str(token) for token in arrays["annotation_tokens"]),
        boxes=Detections(
            stamp_ns=int(arrays["stamp_ns"]),
            class_names=tuple(str(name) for name in arrays["class_names"]),
            **{name: arrays[f"{_BOX_PREFIX}{name}"] for name in _BOX_FIELDS},  # type: ignore[arg-type]
        ),
        quality=float(arrays["quality"]),
        has_lidar=bool(arrays["has_lidar"]),
        depth_points={
            name.removeprefix(_CAMERA_PREFIX): points.astype(np.float32)
            for name, points in arrays.items()
            if name.startswith(_CAMERA_PREFIX)
        },
    )


def quantise_signed(
    maps: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (C, Y, X) numbers as int8, and the (C,) scale that gives them back."""
    largest = np.abs(maps).max(axis=(1, 2), initial=0.0)
    scale = (np.maximum(largest, np.finfo(np.float32).tiny) / 127).astype(np.float32)
    return np.rint(maps / scale[:, None, None]).astype(np.int8), scale


def dequantise_signed(
    levels: NDArray[np.generic], scale: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return the (C, Y, X) numbers that `quantise_signed` was given, within half a level."""
    return levels.astype(np.float32) * scale.astype(np.float32)[:, None, None]


def quantise_unit(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return numbers in 0..1 as uint8."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def dequantise_unit(levels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the numbers in 0..1 that `quantise_unit` was given, within 0.002."""
    return levels.astype(np.float32) / np.float32(255)
