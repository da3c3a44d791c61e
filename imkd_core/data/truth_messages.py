# SPDX-License-Identifier: Apache-2.0
"""True objects as ROS messages, in the form in which the node publishes what it found."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.messages import (
    make,
    make_header,
    make_point_cloud,
    make_pose,
    make_vector,
)
from imkd_core.data.nuscenes_truth import Truth
from imkd_core.geometry import rigid_transform
from imkd_core.types import Detections


def make_truth_boxes(truth: Truth, stamp_ns: int, frame_id: str) -> Any:
    """Return a vision_msgs/Detection3DArray; ids are annotation tokens, covariances are 0."""
    header = make_header(stamp_ns, frame_id)
    boxes = truth.detections
    return make(
        "vision_msgs/msg/Detection3DArray",
        header=header,
        detections=[
            _make_box(boxes, i, token, header) for i, token in enumerate(truth.annotation_tokens)
        ],
    )


def make_truth_table(truth: Truth, stamp_ns: int, frame_id: str) -> Any:
    """Return a PointCloud2 with one row an object.

    Columns: float32 x, y, z, length, width, height, yaw, vx, vy, score; uint32 class_id (index in
    `NUSCENES_CLASSES`) and num_lidar_points. Velocities that are unknown are NaN.
    """
    boxes = truth.detections
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
    columns["num_lidar_points"] = truth.num_lidar_points.astype(np.uint32)
    return make_point_cloud(stamp_ns, frame_id, columns)


def _make_box(boxes: Detections, i: int, token: str, header: Any) -> Any:
    cos, sin = np.cos(float(boxes.yaw_rad[i])), np.sin(float(boxes.yaw_rad[i]))
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    pose = make_pose(rigid_transform(rotation, boxes.center_m[i]))
    hypothesis = make(
        "vision_msgs/msg/ObjectHypothesis",
        class_id=boxes.class_names[boxes.labels[i]],
        score=float(boxes.scores[i]),
    )
    exact = make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
    return make(
        "vision_msgs/msg/Detection3D",
        header=header,
        results=[
            make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=exact)
        ],
        bbox=make("vision_msgs/msg/BoundingBox3D", center=pose, size=make_vector(boxes.size_m[i])),
        id=token,
    )
