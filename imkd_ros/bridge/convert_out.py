# SPDX-License-Identifier: Apache-2.0
"""Detections -> messages, and back for evaluation. ROS is imported where messages are made.

Stamps are the reference time of the frame, never the time of publishing. Boxes need no change of
axes: all of imkd_core is REP-103. `ROS 2` has no velocity in `vision_msgs/Detection3D`; the
objects table has it.
"""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ConfigError, SensorError
from imkd_core.types import Detections
from imkd_ros.bridge.convert import stamp_ns
from imkd_ros.bridge.point_cloud2 import fill_table, view_fields

#: Variance that says "not known" (metres squared, radians squared); 0 would say "exact".
UNKNOWN_VARIANCE = 1e6

#: Variances of a box's x, y, z (1 m) and yaw (about 29 degrees): round figures of the size of the
#: mean errors of camera-radar detectors on nuScenes, not fitted to any model. Boxes are upright by
#: construction: roll and pitch are not measured.
POSITION_VARIANCE_M2, YAW_VARIANCE_RAD2 = 1.0, 0.25

#: Diagonal of the covariance: x, y, z, turns about x, y, z.
COVARIANCE_DIAGONAL = (*[POSITION_VARIANCE_M2] * 3, *[UNKNOWN_VARIANCE] * 2, YAW_VARIANCE_RAD2)

#: Columns of the objects table, in order.
OBJECT_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "score"), "<f4"
    ),
    "class_id": "<u4",
}

#: More objects in one message are refused when it is read back.
MAX_OBJECTS = 100_000


def ros_messages() -> SimpleNamespace:
    """Return the message classes that are made here.

    Raises:
        ConfigError: ROS 2 or vision_msgs is not installed.
    """
    try:
        from sensor_msgs.msg import PointCloud2, PointField
        from vision_msgs.msg import (
            Detection3D,
            Detection3DArray,
            LabelInfo,
            ObjectHypothesisWithPose,
            VisionClass,
        )
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed; source your ROS 2, and install its packages "
            "sensor_msgs and vision_msgs"
        ) from None
    return SimpleNamespace(
        Detection3D=Detection3D,
        Detection3DArray=Detection3DArray,
        LabelInfo=LabelInfo,
        ObjectHypothesisWithPose=ObjectHypothesisWithPose,
        PointCloud2=PointCloud2,
        PointField=PointField,
        VisionClass=VisionClass,
    )


def set_header(header: Any, stamp: int, frame_id: str) -> None:
    """Fill a `std_msgs/Header`; the stamp is in nanoseconds."""
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    header.frame_id = frame_id


def to_detection3d_array(detections: Detections, frame_id: str, messages: Any = None) -> Any:
    """Return a `vision_msgs/Detection3DArray`: one hypothesis a box, ids empty (no tracking).

    Args:
        detections: in the frame `frame_id` at their stamp.
        frame_id: of the array and of each box.
        messages: the classes of `ros_messages`; those where None.
    """
    classes = messages or ros_messages()
    array = classes.Detection3DArray()
    set_header(array.header, detections.stamp_ns, frame_id)
    covariance = np.diag(COVARIANCE_DIAGONAL).reshape(-1)
    rows = zip(
        detections.names,
        detections.scores.tolist(),
        detections.center_m.tolist(),
        detections.size_m.tolist(),
        detections.yaw_rad.tolist(),
        strict=True,
    )
    boxes = []
    for name, score, center_m, size_m, yaw_rad in rows:
        item = classes.Detection3D()
        item.header = array.header
        result = classes.ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        _fill_pose(result.pose.pose, center_m, yaw_rad)
        result.pose.covariance = covariance
        item.results = [result]
        _fill_pose(item.bbox.center, center_m, yaw_rad)
        item.bbox.size.x, item.bbox.size.y, item.bbox.size.z = size_m
        boxes.append(item)
    array.detections = boxes
    return array


def from_detection3d_array(message: Any, class_names: Sequence[str]) -> Detections:
    """Return the boxes of a `Detection3DArray`; of several hypotheses the best, velocities NaN.

    Raises:
        SensorError: a class that is not in `class_names`, a box without hypothesis, a tilted or
            empty box, or an impossible number.
    """
    index = {name: i for i, name in enumerate(class_names)}
    count = len(message.detections)
    values = np.zeros((count, 8), dtype=np.float64)
    labels = np.zeros(count, dtype=np.int64)
    for i, item in enumerate(message.detections):
        if not item.results:
            raise SensorError(f"Detection3DArray: box {i} has no hypothesis, hence no class")
        best = max(item.results, key=lambda result: result.hypothesis.score).hypothesis
        if best.class_id not in index:
            raise SensorError(
                f"Detection3DArray: unknown class '{best.class_id}'; known: {list(class_names)}"
            )
        labels[i] = index[best.class_id]
        pose, size = item.bbox.center, item.bbox.size
        point = pose.position
        values[i, :3] = point.x, point.y, point.z
        values[i, 3:6] = size.x, size.y, size.z
        values[i, 6:] = _yaw_of(pose.orientation, i), best.score
    return _detections(message, values, np.full((count, 2), np.nan), labels, class_names)


def to_objects_cloud(detections: Detections, frame_id: str, messages: Any = None) -> Any:
    """Return a `sensor_msgs/PointCloud2` table with the columns `OBJECT_FIELDS`, a row a box."""
    classes = messages or ros_messages()
    cloud = classes.PointCloud2()
    set_header(cloud.header, detections.stamp_ns, frame_id)
    values = np.column_stack(
        [
            detections.center_m,
            detections.size_m,
            detections.yaw_rad,
            detections.velocity_mps,
            detections.scores,
        ]
    )
    columns: dict[str, NDArray[Any]] = {
        name: (detections.labels if name == "class_id" else values[:, i]).astype(kind)
        for i, (name, kind) in enumerate(OBJECT_FIELDS.items())
    }
    fill_table(cloud, classes.PointField, columns)
    return cloud


def from_objects_cloud(message: Any, class_names: Sequence[str]) -> Detections:
    """Return the boxes of an objects table; columns it has besides are ignored.

    Raises:
        SensorError: a column is missing, a class is out of range, or a number is impossible.
    """
    columns = view_fields(message, tuple(OBJECT_FIELDS), "objects table", MAX_OBJECTS)
    names = tuple(OBJECT_FIELDS)
    velocity = np.column_stack([columns["vx"], columns["vy"]])
    with np.errstate(invalid="ignore"):  # a signalling NaN is one; such a class is out of range
        numbers = [columns[name].astype(np.float64) for name in (*names[:7], "score")]
        labels = columns["class_id"].astype(np.int64)
    values = np.column_stack(numbers)
    return _detections(message, values, velocity, labels, class_names)


def to_label_info(class_names: Sequence[str], threshold: float, messages: Any = None) -> Any:
    """Return a `vision_msgs/LabelInfo`: index and name of each class.

    Args:
        class_names: in label order.
        threshold: smallest score that is published.
        messages: the classes of `ros_messages`; those where None.
    """
    classes = messages or ros_messages()
    info = classes.LabelInfo()
    info.threshold = float(threshold)
    entries = []
    for i, name in enumerate(class_names):
        entry = classes.VisionClass()
        entry.class_id, entry.class_name = i, name
        entries.append(entry)
    info.class_map = entries
    return info


def _fill_pose(pose: Any, center_m: Sequence[float], yaw_rad: float) -> None:
    pose.position.x, pose.position.y, pose.position.z = center_m
    pose.orientation.z, pose.orientation.w = math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)


def _yaw_of(orientation: Any, i: int) -> float:
    """Return the heading of an upright box, radians."""
    x, y, z, w = (float(getattr(orientation, name)) for name in "xyzw")
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not 0.5 < norm < 2 or math.hypot(x, y) > 1e-3 * norm:
        raise SensorError(
            f"Detection3DArray: box {i} has the orientation {(x, y, z, w)}; only upright boxes "
            "(turned about z) can be read"
        )
    return math.remainder(2 * math.atan2(z, w), math.tau)


def _detections(
    message: Any,
    values: NDArray[np.float64],
    velocity_mps: NDArray[Any],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
) -> Detections:
    """Return boxes from (N, 8) x, y, z, length, width, height, yaw, score."""
    # What is beyond float32 is infinite, a signalling NaN is one, and both are refused.
    with np.errstate(over="ignore", invalid="ignore"):
        single, velocity = values.astype(np.float32), velocity_mps.astype(np.float32)
    return Detections(
        stamp_ns=stamp_ns(message.header, "detections"),
        class_names=tuple(class_names),
        center_m=single[:, :3],
        size_m=single[:, 3:6],
        yaw_rad=single[:, 6],
        velocity_mps=velocity,
        scores=single[:, 7],
        labels=labels,
    )
