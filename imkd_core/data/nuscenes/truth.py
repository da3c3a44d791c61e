# SPDX-License-Identifier: Apache-2.0
"""Annotations of a nuScenes sample as true objects in the ego frame (l, w, h; yaw; velocity)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.nuscenes.reading import read_pose
from imkd_core.data.nuscenes.tables import Record, Tables
from imkd_core.errors import DataError, SensorError
from imkd_core.geometry import (
    Float64,
    rotate_vectors,
    transform_points,
    yaw_of,
)
from imkd_core.types import Detections

#: nuScenes category -> class of the detection task. Categories that are not here are dropped.
DETECTION_CLASS_OF_CATEGORY: Mapping[str, str] = MappingProxyType(
    {
        "movable_object.barrier": "barrier",
        "vehicle.bicycle": "bicycle",
        "vehicle.bus.bendy": "bus",
        "vehicle.bus.rigid": "bus",
        "vehicle.car": "car",
        "vehicle.construction": "construction_vehicle",
        "vehicle.motorcycle": "motorcycle",
        "human.pedestrian.adult": "pedestrian",
        "human.pedestrian.child": "pedestrian",
        "human.pedestrian.construction_worker": "pedestrian",
        "human.pedestrian.police_officer": "pedestrian",
        "movable_object.trafficcone": "traffic_cone",
        "vehicle.trailer": "trailer",
        "vehicle.truck": "truck",
    }
)

#: Longest time between consecutive annotations from which a velocity is taken (devkit).
MAX_VELOCITY_GAP_US = 1_500_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """True objects of one sample, of the ten detection classes.

    Attributes:
        detections: boxes in the ego frame of the reference time; scores 1, velocity NaN where it
            is unknown, classes `NUSCENES_CLASSES`.
        num_lidar_points, num_radar_points: (N,) int64 returns on the object.
        visibility: (N,) int64, 1 (at most 40 % visible) to 4 (80 % or more); 0 not annotated.
        annotation_tokens, instance_tokens: one each.
        attributes: attribute name ("vehicle.moving"), "" where there is none.
        dropped_categories: category -> number of annotations in no detection class.

    Raises:
        DataError: lengths disagree.
    """

    detections: Detections
    num_lidar_points: NDArray[np.int64]
    num_radar_points: NDArray[np.int64]
    visibility: NDArray[np.int64]
    annotation_tokens: tuple[str, ...]
    instance_tokens: tuple[str, ...]
    attributes: tuple[str, ...]
    dropped_categories: Mapping[str, int]

    def __post_init__(self) -> None:
        """Check the lengths and freeze the arrays."""
        for name in ("num_lidar_points", "num_radar_points", "visibility"):
            view = np.asarray(getattr(self, name), dtype=np.int64).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(
            self, "dropped_categories", MappingProxyType(dict(self.dropped_categories))
        )
        columns: tuple[Sequence[object] | NDArray[np.int64], ...] = (
            self.num_lidar_points,
            self.num_radar_points,
            self.visibility,
            self.annotation_tokens,
            self.instance_tokens,
            self.attributes,
        )
        if any(len(column) != len(self.detections) for column in columns):
            raise DataError(f"truth: all columns must have {len(self.detections)} entries")

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.detections)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Truth":
        """Return the objects of a mask or of indices, in that order."""
        chosen = np.arange(len(self))[keep]
        return Truth(
            detections=self.detections.select(chosen),
            num_lidar_points=self.num_lidar_points[chosen],
            num_radar_points=self.num_radar_points[chosen],
            visibility=self.visibility[chosen],
            annotation_tokens=tuple(self.annotation_tokens[i] for i in chosen),
            instance_tokens=tuple(self.instance_tokens[i] for i in chosen),
            attributes=tuple(self.attributes[i] for i in chosen),
            dropped_categories=self.dropped_categories,
        )


def read_truth(tables: Tables, sample_token: str, ego_from_global: Float64, stamp_ns: int) -> Truth:
    """Return the true objects of a sample in the ego frame of `stamp_ns`.

    Raises:
        DataError: a record is missing or malformed.
    """
    kept: list[Record] = []
    labels: list[int] = []
    dropped: Counter[str] = Counter()
    for annotation in tables.annotations(sample_token):
        category = tables.category(annotation)
        name = DETECTION_CLASS_OF_CATEGORY.get(category)
        if name is None:
            dropped[category] += 1
        else:
            kept.append(annotation)
            labels.append(NUSCENES_CLASSES.index(name))
    return Truth(
        detections=_boxes(tables, kept, labels, ego_from_global, stamp_ns),
        num_lidar_points=np.array([a["num_lidar_pts"] for a in kept], dtype=np.int64),
        num_radar_points=np.array([a["num_radar_pts"] for a in kept], dtype=np.int64),
        visibility=np.array([_visibility(a) for a in kept], dtype=np.int64),
        annotation_tokens=tuple(str(a["token"]) for a in kept),
        instance_tokens=tuple(str(a["instance_token"]) for a in kept),
        attributes=tuple(_attribute(tables, a) for a in kept),
        dropped_categories=dropped,
    )


def velocity_global_mps(tables: Tables, annotation: Record) -> Float64:
    """Return the velocity (3,) of an annotation in the global frame; NaN where it is unknown.

    The devkit's rule: the centred difference of both neighbours, up to 3 s apart, or the
    difference to the only one, up to 1.5 s apart. Where that gives none, `velocities.json`
    is asked (its vz is taken as 0).
    """
    first, last = (
        tables.get("sample_annotation", annotation[side]) if annotation[side] else annotation
        for side in ("prev", "next")
    )
    first_us, last_us = (
        int(tables.get("sample", neighbour["sample_token"])["timestamp"])
        for neighbour in (first, last)
    )
    gaps = bool(annotation["prev"]) + bool(annotation["next"])
    if 0 < last_us - first_us <= gaps * MAX_VELOCITY_GAP_US:
        moved_m = np.subtract(last["translation"], first["translation"])
        return np.asarray(moved_m / ((last_us - first_us) * 1e-6), dtype=np.float64)
    velocity = tables.velocities.get(annotation["token"])
    return np.full(3, np.nan) if velocity is None else np.array([*velocity, 0.0])


def _boxes(
    tables: Tables,
    annotations: list[Record],
    labels: list[int],
    ego_from_global: Float64,
    stamp_ns: int,
) -> Detections:
    n = len(annotations)
    yaw_rad, velocity_mps = np.zeros(n), np.zeros((n, 3))
    center_m, size_m = np.zeros((n, 3)), np.zeros((n, 3))
    for i, annotation in enumerate(annotations):
        global_from_box = read_pose(annotation, "sample_annotation")
        center_m[i] = transform_points(ego_from_global, global_from_box[:3, 3])
        yaw_rad[i] = yaw_of(ego_from_global @ global_from_box)
        width_m, length_m, height_m = annotation["size"]
        size_m[i] = length_m, width_m, height_m
        velocity_mps[i] = rotate_vectors(ego_from_global, velocity_global_mps(tables, annotation))
    try:
        return Detections(
            stamp_ns=stamp_ns,
            class_names=NUSCENES_CLASSES,
            center_m=center_m.astype(np.float32),
            size_m=size_m.astype(np.float32),
            yaw_rad=yaw_rad.astype(np.float32),
            velocity_mps=velocity_mps[:, :2].astype(np.float32),
            scores=np.ones(n, dtype=np.float32),
            labels=np.array(labels, dtype=np.int64),
        )
    except SensorError as error:
        raise DataError(f"sample_annotation.json in {tables.root}: {error}") from None


def _visibility(annotation: Record) -> int:
    token = annotation["visibility_token"]
    return int(token) if token in ("1", "2", "3", "4") else 0


def _attribute(tables: Tables, annotation: Record) -> str:
    tokens = annotation["attribute_tokens"]
    return str(tables.get("attribute", str(tokens[0]))["name"]) if tokens else ""
