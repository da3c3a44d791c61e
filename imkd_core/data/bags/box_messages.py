# SPDX-License-Identifier: Apache-2.0
"""Boxes as messages of a bag, in the form in which the node publishes what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.bags.messages import make, make_header, make_point_cloud, make_pose, make_vector
from imkd_core.geometry import rigid_transform
from imkd_core.types import Detections


def make_box_array(
    boxes: Detections,
    frame_id: str,
    *,
    stamp_ns: int | None = None,
    ids: Sequence[str] = (),
    variances: Sequence[float] = (0.0,) * 6,
) -> Any:
    """Return a vision_msgs/Detection3DArray.

    Args:
        boxes: upright boxes in `frame_id`.
        frame_id: of all headers.
        stamp_ns: of all headers; that of the boxes where None.
        ids: one each; empty where there are none.
        variances: of x, y, z (m^2) and of turns about x, y, z (rad^2); 0 = exact.
    """
    header = make_header(boxes.stamp_ns if stamp_ns is None else stamp_ns, frame_id)
    covariance = np.diag(variances).reshape(-1)
    return make(
        "vision_msgs/msg/Detection3DArray",
        header=header,
        detections=[
            _make_box(boxes, i, ids[i] if ids else "", header, covariance)
            for i in range(len(boxes))
        ],
    )


def make_objects_table(
    boxes: Detections,
    frame_id: str,
    *,
    stamp_ns: int | None = None,
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> Any:
    """Return a sensor_msgs/PointCloud2 with one row an object.

    Columns: float32 x, y, z, length, width, height, yaw, vx, vy, score; uint32 class_id (index of
    the class); then those of `extra`. Velocities that are unknown are NaN.
    """
    columns: dict[str, NDArray[Any]] = {}
    for names, values in (
        (("x", "y", "z"), boxes.center_m),
        (("length", "width", "height"), boxes.size_m),
        (("yaw",), boxes.yaw_rad[:, None]),
        (("vx", "vy"), boxes.velocity_mps),
        (("score",), boxes.scores[:, None]),
    ):
        for i, name in enumerate(names):
            columns[name] = values[:, i].astype(np.float32)
    columns["class_id"] = boxes.labels.astype(np.uint32)
    columns |= extra or {}
    return make_point_cloud(boxes.stamp_ns if stamp_ns is None else stamp_ns, frame_id, columns)


def _make_box(
    boxes: Detections, i: int, name: str, header: Any, covariance: NDArray[np.float64]
) -> Any:
    cos, sin = np.cos(float(boxes.yaw_rad[i])), np.sin(float(boxes.yaw_rad[i]))
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    pose = make_pose(rigid_transform(rotation, boxes.center_m[i]))
    hypothesis = make(
        "vision_msgs/msg/ObjectHypothesis",
        class_id=boxes.class_names[boxes.labels[i]],
        score=float(boxes.scores[i]),
    )
    result = make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=hypothesis,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance),
    )
    return make(
        "vision_msgs/msg/Detection3D",
        header=header,
        results=[result],
        bbox=make("vision_msgs/msg/BoundingBox3D", center=pose, size=make_vector(boxes.size_m[i])),
        id=name,
    )
