# SPDX-License-Identifier: Apache-2.0
"""Boxes of many samples as columns in the global frame: what the detection metrics work on.

The nuScenes task measures in the global frame, where an ego frame that pitches or rolls would
give other distances; so boxes are brought there first, in double precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import ConfigError, DataError
from imkd_core.geometry import Float64, transform_points
from imkd_core.types import Detections

#: Attributes of the nuScenes detection task; a box has one of them, or none (-1).
ATTRIBUTES = (
    "pedestrian.moving",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "cycle.with_rider",
    "cycle.without_rider",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
)

#: A box is taken to move from this speed on (method.md 10).
MOVING_MPS = 0.2

#: Class -> (attribute when it moves, attribute when it stands); classes without are not here.
ATTRIBUTE_RULE = MappingProxyType(
    {
        "car": ("vehicle.moving", "vehicle.parked"),
        "truck": ("vehicle.moving", "vehicle.parked"),
        "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
        "bus": ("vehicle.moving", "vehicle.stopped"),
        "trailer": ("vehicle.moving", "vehicle.parked"),
        "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
        "bicycle": ("cycle.with_rider", "cycle.without_rider"),
        "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    }
)

#: Columns of `BoxTable`: name -> (dtype, axes behind the first).
_COLUMNS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "sample": (np.int64, ()),
    "label": (np.int64, ()),
    "center_m": (np.float64, (3,)),
    "size_m": (np.float64, (3,)),
    "yaw_rad": (np.float64, ()),
    "velocity_mps": (np.float64, (2,)),
    "score": (np.float64, ()),
    "attribute": (np.int64, ()),
    "points": (np.int64, ()),
    "ego_distance_m": (np.float64, ()),
}

#: Columns that may hold NaN: a velocity that is unknown.
_MAY_BE_UNKNOWN = ("velocity_mps",)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTable:
    """Boxes of many samples, one row each, in the global frame; order matters for equal scores.

    Attributes:
        sample: (N,) int64 index of the box's sample.
        label: (N,) int64 index into `NUSCENES_CLASSES`.
        center_m: (N, 3) float64.
        size_m: (N, 3) float64 length, width, height.
        yaw_rad: (N,) float64 heading of the box's x axis in the global xy plane.
        velocity_mps: (N, 2) float64, global frame; NaN where it is unknown.
        score: (N,) float64; 1 for true boxes.
        attribute: (N,) int64 index into `ATTRIBUTES`, -1 for none.
        points: (N,) int64 LiDAR and radar returns on a true box; -1 for found boxes.
        ego_distance_m: (N,) float64 distance from the ego origin in the global xy plane.

    Raises:
        DataError: lengths disagree, a number is not finite, a size is not positive, or a label
            or attribute is unknown.
    """

    sample: NDArray[np.int64]
    label: NDArray[np.int64]
    center_m: Float64
    size_m: Float64
    yaw_rad: Float64
    velocity_mps: Float64
    score: Float64
    attribute: NDArray[np.int64]
    points: NDArray[np.int64]
    ego_distance_m: Float64

    def __post_init__(self) -> None:
        """Check lengths, finiteness and ranges; freeze the arrays."""
        n = len(self.sample)
        for name, (dtype, axes) in _COLUMNS.items():
            value = np.asarray(getattr(self, name), dtype=dtype).view()
            if value.shape != (n, *axes):
                raise DataError(f"boxes: {name} must be {(n, *axes)}, got {value.shape}")
            if name not in _MAY_BE_UNKNOWN and not np.isfinite(value).all():
                raise DataError(f"boxes: {name} holds a value that is not finite")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if np.isinf(self.velocity_mps).any():
            raise DataError("boxes: velocity_mps holds an infinite value")
        if not (self.size_m > 0).all():
            raise DataError("boxes: sizes must be positive")
        for name, low, count in (("label", 0, len(NUSCENES_CLASSES)), ("attribute", -1, 8)):
            value = getattr(self, name)
            if n and (value.min() < low or value.max() >= count):
                raise DataError(f"boxes: {name} must be {low}..{count - 1}")

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.sample)

    @property
    def speed_mps(self) -> Float64:
        """(N,) speed over ground; NaN where it is unknown."""
        return np.asarray(np.linalg.norm(self.velocity_mps, axis=1))

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "BoxTable":
        """Return the boxes of a mask or of indices, in that order."""
        return BoxTable(**{item.name: getattr(self, item.name)[keep] for item in fields(self)})

    @staticmethod
    def empty() -> "BoxTable":
        """Return a table without boxes."""
        return BoxTable(
            **{name: np.zeros((0, *axes), dtype) for name, (dtype, axes) in _COLUMNS.items()}
        )

    @staticmethod
    def joined(tables: Sequence["BoxTable"]) -> "BoxTable":
        """Return all boxes of some tables, in their order."""
        parts = [BoxTable.empty(), *tables]
        return BoxTable(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RackTable:
    """Bicycle racks, in which bicycles and motorcycles do not count (found or true).

    Attributes:
        sample: (R,) int64 index of the rack's sample.
        rack_from_global: (R, 4, 4) float64.
        size_m: (R, 3) float64 length, width, height.
    """

    sample: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rack_from_global: Float64 = field(default_factory=lambda: np.zeros((0, 4, 4)))
    size_m: Float64 = field(default_factory=lambda: np.zeros((0, 3)))

    def contains(self, boxes: BoxTable) -> NDArray[np.bool_]:
        """Return which (N,) boxes have their centre in a rack of their sample; edges count."""
        inside = np.zeros(len(boxes), dtype=np.bool_)
        for sample, rack_from_global, size in zip(
            self.sample, self.rack_from_global, self.size_m, strict=True
        ):
            rows = np.flatnonzero(boxes.sample == sample)
            local = transform_points(rack_from_global, boxes.center_m[rows])
            inside[rows] |= (np.abs(local) <= size / 2).all(axis=1)
        return inside


def check_classes(class_names: Sequence[str]) -> None:
    """Refuse a model whose classes are not those of the nuScenes detection task.

    Raises:
        ConfigError: naming the classes that are not.
    """
    unknown = [name for name in class_names if name not in NUSCENES_CLASSES]
    if unknown:
        raise ConfigError(
            f"the model's classes {', '.join(unknown)} are not in the nuScenes detection task "
            f"({', '.join(NUSCENES_CLASSES)}); evaluate it on data with its own classes"
        )


def found_boxes(
    detections: Detections, sample: int, global_from_ego: ArrayLike, max_boxes: int = 500
) -> BoxTable:
    """Return detections as rows in the global frame, with attributes by rule.

    Args:
        detections: in the ego frame of the reference time; classes of the nuScenes task.
        sample: index of their sample.
        global_from_ego: (4, 4) pose of the reference ego frame.
        max_boxes: the best so many are kept; of equal scores the first.

    Raises:
        ConfigError: a class is not one of the nuScenes task.
    """
    check_classes(detections.class_names)
    best = np.argsort(-detections.scores, kind="stable")[:max_boxes]
    boxes = detections.select(np.sort(best))
    pose = np.asarray(global_from_ego, dtype=np.float64)
    center_m = transform_points(pose, boxes.center_m.astype(np.float64))
    label_of = np.array([NUSCENES_CLASSES.index(name) for name in boxes.class_names], np.int64)
    velocity_mps = boxes.velocity_mps.astype(np.float64)
    label = label_of[boxes.labels]
    return BoxTable(
        sample=np.full(len(boxes), sample),
        label=label,
        center_m=center_m,
        size_m=boxes.size_m.astype(np.float64),
        yaw_rad=global_yaw(pose, boxes.yaw_rad.astype(np.float64)),
        velocity_mps=velocity_mps @ pose[:2, :2].T,
        score=boxes.scores.astype(np.float64),
        attribute=attributes_by_rule(label, velocity_mps),
        points=np.full(len(boxes), -1),
        ego_distance_m=np.linalg.norm(center_m[:, :2] - pose[:2, 3], axis=1),
    )


def global_yaw(global_from_ego: Float64, yaw_rad: Float64) -> Float64:
    """Return (N,) headings in the global xy plane of boxes that lie level in the ego frame."""
    axis = np.stack([np.cos(yaw_rad), np.sin(yaw_rad)]).reshape(2, -1)
    x, y = global_from_ego[:2, :2] @ axis
    return np.asarray(np.arctan2(y, x))


def attributes_by_rule(label: NDArray[np.int64], velocity_mps: Float64) -> NDArray[np.int64]:
    """Return (N,) attributes: moving from 0.2 m/s on, else standing (method.md 10).

    An unknown (NaN) velocity counts as standing. Barriers and traffic cones have none (-1).
    """
    is_moving = np.linalg.norm(velocity_mps.reshape(-1, 2), axis=1) > MOVING_MPS
    rule: list[tuple[int, int]] = []
    for name in NUSCENES_CLASSES:
        names = ATTRIBUTE_RULE.get(name)
        rule.append((ATTRIBUTES.index(names[0]), ATTRIBUTES.index(names[1])) if names else (-1, -1))
    return np.asarray(np.array(rule, np.int64)[label, 1 - is_moving.astype(np.int64)])
