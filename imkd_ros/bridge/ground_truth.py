# SPDX-License-Identifier: Apache-2.0
"""True boxes in messages -> values. No ROS in here: messages are read by their fields."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.nuscenes.truth import DETECTION_CLASS_OF_CATEGORY
from imkd_core.errors import ConfigError, DataError
from imkd_core.types import Detections
from imkd_ros.bridge.convert_out import MAX_OBJECTS, from_detection3d_array
from imkd_ros.bridge.point_cloud2 import view_fields

#: Category that a detection class is stored as.
CATEGORY_OF_CLASS: Mapping[str, str] = MappingProxyType(
    {name: category for category, name in reversed(list(DETECTION_CLASS_OF_CATEGORY.items()))}
    | {"bus": "vehicle.bus.rigid"}
)

#: How far a row of the objects table may lie from the box of the same number, metres.
_SAME_PLACE_M = 0.01

#: Column of the objects table that `imkd bag nuscenes` adds.
_LIDAR_POINTS = "num_lidar_points"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueBoxes:
    """The truth of one moment.

    Attributes:
        stamp_ns: of the header.
        frame_id: frame that the boxes are in.
        boxes: classes are those of the messages, velocity NaN where it is not known.
        categories: nuScenes category of each box.
        tracks: id of each box; "" where it has none.
        lidar_points: (N,) LiDAR returns on each, -1 where nothing is said of them.
    """

    stamp_ns: int
    frame_id: str
    boxes: Detections
    categories: tuple[str, ...]
    tracks: tuple[str, ...]
    lidar_points: NDArray[np.int64]


def class_map(given: Mapping[str, str]) -> dict[str, str]:
    """Return name of a class in messages -> nuScenes category, "" for those to be left out.

    The ten detection classes and nuScenes' own categories are known; `given` adds to them.

    Args:
        given: name -> detection class or category; "" leaves objects of that name out.

    Raises:
        ConfigError: what a name is mapped to is neither.
    """
    known = {name: name for name in DETECTION_CLASS_OF_CATEGORY} | dict(CATEGORY_OF_CLASS)
    found = dict(known)
    for name, wanted in given.items():
        if wanted and wanted not in known:
            raise ConfigError(
                f"class '{name}' is mapped to '{wanted}', which is no class; use one of "
                f"{', '.join(NUSCENES_CLASSES)}, or nothing to leave such objects out"
            )
        found[name] = known[wanted] if wanted else ""
    return found


def read_boxes(message: Any, table: Any | None, classes: Mapping[str, str]) -> TrueBoxes:
    """Return the truth of a `Detection3DArray`, with velocities where a table comes with it.

    Args:
        message: boxes; scores are ignored but for the choice among several hypotheses.
        table: objects table of the same stamp, frame and order; None where there is none.
        classes: of `class_map`.

    Raises:
        DataError: an unknown class, an id that stands twice, or a table of other objects.
        SensorError: a box or the table is malformed.
    """
    names = sorted({result.hypothesis.class_id for d in message.detections for result in d.results})
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(
            f"the true boxes have classes {', '.join(unknown)}, which are none of "
            f"{', '.join(NUSCENES_CLASSES)}; say with --class NAME=CLASS what they are, or with "
            "--class NAME= that they are to be left out"
        )
    boxes = from_detection3d_array(message, names)
    tracks = tuple(str(item.id) for item in message.detections)
    twice = [name for name, count in Counter(filter(None, tracks)).items() if count > 1]
    if twice:
        raise DataError(
            f"two true boxes of one message have the id '{twice[0]}'; give every object an id of "
            "its own, or none"
        )
    velocity_mps = boxes.velocity_mps
    lidar_points = np.full(len(boxes), -1, np.int64)
    if table is not None:
        velocity_mps, lidar_points = _read_table(table, boxes, str(message.header.frame_id))
    categories = [classes[name] for name in boxes.names]
    kept = np.flatnonzero([bool(category) for category in categories])
    return TrueBoxes(
        stamp_ns=boxes.stamp_ns,
        frame_id=str(message.header.frame_id).lstrip("/"),
        boxes=_with_velocity(boxes, velocity_mps).select(kept),
        categories=tuple(categories[i] for i in kept),
        tracks=tuple(tracks[i] for i in kept),
        lidar_points=lidar_points[kept],
    )


def _read_table(
    table: Any, boxes: Detections, frame_id: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return velocities (N, 2) and LiDAR returns (N,); refuse a table of other objects."""
    has_points = any(item.name == _LIDAR_POINTS for item in table.fields)
    names = ["x", "y", "z", "vx", "vy", *([_LIDAR_POINTS] if has_points else [])]
    columns = view_fields(table, names, "true objects", MAX_OBJECTS)
    places = np.column_stack([columns[name] for name in "xyz"]).astype(np.float64)
    is_same = places.shape == boxes.center_m.shape and bool(
        (np.abs(places - boxes.center_m) <= _SAME_PLACE_M).all()
    )
    if not is_same or str(table.header.frame_id) != frame_id:
        raise DataError(
            f"the table of true objects ({len(places)} rows in '{table.header.frame_id}') does not "
            f"hold the {len(boxes)} true boxes of the same stamp in '{frame_id}', in their order; "
            "mend its publisher, or leave it out with --objects ''"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is judged below
        velocity = np.column_stack([columns["vx"], columns["vy"]]).astype(np.float32)
    unknown = np.full(len(boxes), -1)
    points = columns[_LIDAR_POINTS] if has_points else unknown
    return velocity, np.asarray(points, dtype=np.int64)


def _with_velocity(boxes: Detections, velocity_mps: NDArray[np.float32]) -> Detections:
    return Detections(
        stamp_ns=boxes.stamp_ns,
        class_names=boxes.class_names,
        center_m=boxes.center_m,
        size_m=boxes.size_m,
        yaw_rad=boxes.yaw_rad,
        velocity_mps=velocity_mps,
        scores=boxes.scores,
        labels=boxes.labels,
    )
