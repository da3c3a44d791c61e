# SPDX-License-Identifier: Apache-2.0
"""True boxes and the vehicle's poses of a recording, for judging a replay of it. No ROS in here.

    poses = read_poses(bag, topics)
    truths = read_recorded_truth(bag, topics, poses)

Unlike `survey`, nothing of a sensor is asked for: a recording in which sensors are broken or
missing is judged as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.bags.recording import Bag
from imkd_core.data.nuscenes.truth import DETECTION_CLASS_OF_CATEGORY
from imkd_core.errors import CalibrationError, DataError, ImkdError
from imkd_core.evaluation.boxes import attributes_by_rule
from imkd_core.evaluation.proof import moved_boxes
from imkd_core.evaluation.replay_frames import TrueFrame
from imkd_core.geometry import Float64, invert_transform
from imkd_core.runtime.ego_motion import PoseBuffer
from imkd_core.runtime.transform_tree import TransformTree
from imkd_core.types import Detections
from imkd_ros.bridge.convert import stamp_ns
from imkd_ros.bridge.ground_truth import TrueBoxes, class_map, read_boxes
from imkd_ros.bridge.motion import EgoMotion

#: A recording keeps all of its poses.
_ALL = 10**18


@dataclass(frozen=True, kw_only=True)
class TruthTopics:
    """What of a recording is taken.

    Attributes:
        truth: topic of `vision_msgs/Detection3DArray`.
        objects: topic of the objects table, with velocities; it may be absent, or empty.
        base_frame, ego_frame: TF frames of the vehicle, and of what stands still.
        odometry: topic of `nav_msgs/Odometry`; empty = the vehicle's poses come from TF.
        classes: of `ground_truth.class_map`.
    """

    truth: str = "/ground_truth/boxes"
    objects: str = "/ground_truth/objects"
    base_frame: str = "base_link"
    ego_frame: str = "odom"
    odometry: str = ""
    classes: Mapping[str, str] = field(default_factory=lambda: class_map({}))


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedPoses:
    """Where a recording's vehicle was, and its tree of transforms.

    Attributes:
        buffer: poses by stamp.
        tree: of `/tf` and `/tf_static`.
    """

    buffer: PoseBuffer
    tree: TransformTree

    def at(self, moment_ns: int) -> Float64 | None:
        """Return (4, 4) `odom_from_ego` at a stamp; None where it is not known."""
        return self.buffer.pose_at(moment_ns)


def has_truth(bag: Bag, topics: TruthTopics) -> bool:
    """Whether a recording has true boxes."""
    return topics.truth in bag.topics and bag.topics[topics.truth].count > 0


def read_poses(bag: Bag, topics: TruthTopics) -> RecordedPoses:
    """Return the poses of a recording; messages that cannot be used are left out.

    Raises:
        DataError: the recording is damaged, or time goes back in its poses.
    """
    tree = TransformTree()
    buffer = PoseBuffer(keep_ns=_ALL, max_poses=_ALL)
    motion = EgoMotion(tree, topics.ego_frame, topics.base_frame, bool(topics.odometry), buffer)
    for wanted in ({"/tf_static"}, {"/tf", *filter(None, (topics.odometry,))}):
        for message in bag.messages(wanted & set(bag.topics)):
            _take_pose(motion, message.topic, bag, message)
    if buffer.jumps:
        raise DataError(
            f"{bag.path}: time goes back in its poses (a recording that was played in a loop, or "
            "two clocks), so that it cannot be judged by its truth; cut it where it does"
        )
    return RecordedPoses(buffer=buffer, tree=tree)


def read_recorded_truth(bag: Bag, topics: TruthTopics, poses: RecordedPoses) -> list[TrueFrame]:
    """Return the true boxes of a recording by rising stamp, with attributes by rule.

    Args:
        bag: the recording with the truth; that which was replayed, or one beside it.
        topics: what to take.
        poses: of the recording that was replayed.

    Raises:
        DataError: a message cannot be read, has unknown classes, or is in an unknown frame.
    """
    arrays: dict[int, Any] = {}
    tables: dict[int, Any] = {}
    kept = {topics.truth: arrays, topics.objects: tables}
    for message in bag.messages({topic for topic in kept if topic in bag.topics}):
        decoded = bag.decode(message)
        kept[message.topic][stamp_ns(decoded.header, "ground truth")] = decoded
    return [
        _true_frame(bag, topics, poses, at, arrays[at], tables.get(at)) for at in sorted(arrays)
    ]


def _take_pose(motion: EgoMotion, topic: str, bag: Bag, message: Any) -> None:
    try:
        decoded = bag.decode(message)
        if not topic.startswith("/tf"):
            motion.on_odometry(decoded, message.stamp_ns)
            return
        for item in decoded.transforms:
            motion.on_transform(item, topic == "/tf_static", message.stamp_ns)
    except ImkdError:
        return  # the replay counted it and told it


def _true_frame(
    bag: Bag,
    topics: TruthTopics,
    poses: RecordedPoses,
    moment_ns: int,
    message: Any,
    table: Any | None,
) -> TrueFrame:
    try:
        truth = read_boxes(message, table, topics.classes)
        pose = poses.at(moment_ns)
        boxes = moved_boxes(_ego_from(truth, topics, poses, pose), _detections(truth), moment_ns)
    except ImkdError as error:
        raise DataError(f"{bag.path}, {topics.truth} at {moment_ns} ns: {error}") from None
    velocity_mps = boxes.velocity_mps.astype(np.float64)
    return TrueFrame(
        boxes=boxes,
        attributes=attributes_by_rule(boxes.labels, velocity_mps),
        points=truth.lidar_points,
        odom_from_ego=pose,
    )


def _detections(truth: TrueBoxes) -> Detections:
    """Return true boxes under the classes of the detection task."""
    names = [DETECTION_CLASS_OF_CATEGORY[category] for category in truth.categories]
    boxes = truth.boxes
    return Detections(
        stamp_ns=boxes.stamp_ns,
        class_names=NUSCENES_CLASSES,
        center_m=boxes.center_m,
        size_m=boxes.size_m,
        yaw_rad=boxes.yaw_rad,
        velocity_mps=boxes.velocity_mps,
        scores=boxes.scores,
        labels=np.array([NUSCENES_CLASSES.index(name) for name in names], np.int64),
    )


def _ego_from(
    truth: TrueBoxes, topics: TruthTopics, poses: RecordedPoses, pose: Float64 | None
) -> Float64:
    """Return (4, 4) from the frame of true boxes to the vehicle's at their stamp."""
    if truth.frame_id == topics.base_frame:
        return np.eye(4)
    if truth.frame_id == topics.ego_frame:
        if pose is None:
            raise CalibrationError(
                f"the boxes are in '{truth.frame_id}', and the vehicle's pose is not known then; "
                "record its poses throughout"
            )
        return invert_transform(pose)
    return poses.tree.lookup(topics.base_frame, truth.frame_id, 0)
