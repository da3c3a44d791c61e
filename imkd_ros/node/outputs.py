# SPDX-License-Identifier: Apache-2.0
"""The node's publishers: boxes, table, latency, what people look at; silent while inactive.

Every image of a frame that is answered, or withheld, has its lines in `~/debug/annotations`, if
only an empty list, and also one that was left out as bad: a viewer that waits for the lines of an
image would show an older one for ever.
"""

import time
from array import array
from collections.abc import Mapping
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import ImageMarker, MarkerArray

from imkd_core.camera_view import image_lines
from imkd_core.drawing import Picture
from imkd_core.types import Detections, SensorRig
from imkd_ros.bridge.annotation_topics import annotation_topics
from imkd_ros.bridge.box_cdr import can_write, detection3d_array_cdr
from imkd_ros.bridge.convert_out import (
    ros_messages,
    to_detection3d_array,
    to_label_info,
    to_objects_cloud,
)
from imkd_ros.bridge.decoding import PendingFrame
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.node.diagnostics import latency_array
from imkd_ros.node.inputs import OnQos, incompatible_qos_text
from imkd_ros.node.markers import detection_markers, image_marker
from imkd_ros.node.qos_overrides import PUBLISHER, qos_of, without_effect

_RELIABLE = QoSProfile(depth=5)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

#: name -> (type, topic, QoS). Whoever listens to one of them wants inference, but for `labels`.
_TOPICS: Mapping[str, tuple[Any, str, QoSProfile]] = {
    "detections": (Detection3DArray, "~/output/detections", _RELIABLE),
    "objects": (PointCloud2, "~/output/objects", _RELIABLE),
    "labels": (LabelInfo, "~/output/label_info", _LATCHED),
    "markers": (MarkerArray, "~/debug/markers", _RELIABLE),
    "latency": (DiagnosticArray, "~/debug/latency", _RELIABLE),
    "mosaic": (Image, "~/debug/image_mosaic", QoSProfile(depth=1)),
}


class Outputs:
    """Publishes the answer to a frame in every form that somebody listens to.

    Args:
        node: that the publishers belong to.
        frame_id: of all headers.
        hardware: `hardware_id` of the latency.
        sensors: the sensor set; each camera has a topic of lines over its images.
        on_qos: is told of subscribers whose QoS cannot be met.

    Raises:
        ConfigError: a `qos_overrides` parameter of one of the topics has a wrong value.
    """

    def __init__(
        self,
        node: LifecycleNode,
        frame_id: str,
        hardware: str,
        sensors: SensorSet,
        on_qos: OnQos,
    ) -> None:
        self._node = node
        self._frame_id = frame_id
        self._hardware = hardware
        self._on_qos = on_qos
        self._stamp_offsets_ns = {n: c.stamp_offset_ns for n, c in sensors.cameras.items()}
        topics = annotation_topics(sensors.cameras)
        annotations = {_lines_of(n): (ImageMarker, f"~/{t}", _RELIABLE) for n, t in topics.items()}
        self._writes_boxes = can_write(ros_messages())
        wanted = {
            name: (kind, topic, qos_of(node, PUBLISHER, topic, qos))
            for name, (kind, topic, qos) in {**_TOPICS, **annotations}.items()
        }
        for text in without_effect(node, PUBLISHER, (topic for _, topic, _ in wanted.values())):
            node.get_logger().warning(text)
        self._publishers = {
            name: node.create_lifecycle_publisher(
                kind,
                topic,
                qos,
                event_callbacks=PublisherEventCallbacks(
                    incompatible_qos=partial(self._on_incompatible, topic)
                ),
            )
            for name, (kind, topic, qos) in wanted.items()
        }

    @property
    def has_subscriber(self) -> bool:
        """Whether anybody listens to an output that needs inference."""
        return any(self._is_wanted(name) for name in self._publishers if name != "labels")

    def publish_labels(self, class_names: tuple[str, ...], threshold: float) -> None:
        """Publish the class names, latched."""
        message = to_label_info(class_names, threshold)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = self._frame_id
        self._publishers["labels"].publish(message)

    def publish(self, detections: Detections) -> float:
        """Publish one frame's boxes; an empty frame too.

        Returns:
            Milliseconds that it took.
        """
        start_s = time.perf_counter()
        if self._is_wanted("detections"):
            make = detection3d_array_cdr if self._writes_boxes else to_detection3d_array
            self._publishers["detections"].publish(make(detections, self._frame_id))
        if self._is_wanted("objects"):
            self._publishers["objects"].publish(to_objects_cloud(detections, self._frame_id))
        if self._is_wanted("markers"):
            stamp = to_time(detections.stamp_ns)
            self._publishers["markers"].publish(
                detection_markers(detections, self._frame_id, stamp)
            )
        return (time.perf_counter() - start_s) * 1e3

    def publish_annotations(
        self, frame: PendingFrame, rig: SensorRig, detections: Detections
    ) -> None:
        """Publish boxes as lines over the images of the cameras that somebody looks at.

        Args:
            frame: with all its images, usable or not; none is decoded.
            rig: calibration of it; cameras that it lacks are left out.
            detections: what is published of it.
        """
        for name, image in frame.cameras.items():
            if name in rig.cameras and self._is_wanted(_lines_of(name)):
                motion = frame.motion_at(image.stamp_ns)
                lines = image_lines(detections, rig.cameras[name], motion)
                stamp = to_time(image.stamp_ns - self._stamp_offsets_ns[name])
                self._publishers[_lines_of(name)].publish(image_marker(lines, name, stamp))

    def publish_latency(self, stage_ms: Mapping[str, float], stamp_ns: int) -> None:
        """Publish the stages of one frame."""
        if self._is_wanted("latency"):
            stamp = to_time(stamp_ns)
            name = self._node.get_fully_qualified_name().lstrip("/")
            message = latency_array(stage_ms, name, self._hardware, stamp)
            self._publishers["latency"].publish(message)

    @property
    def wants_mosaic(self) -> bool:
        """Whether anybody looks at the picture of all cameras."""
        return self._is_wanted("mosaic")

    def publish_mosaic(self, picture: Picture, stamp_ns: int) -> None:
        """Publish an (H, W, 3) uint8 RGB picture of a frame."""
        height_px, width_px = picture.shape[:2]
        message = Image(height=height_px, width=width_px, step=3 * width_px, encoding="rgb8")
        message.header.stamp, message.header.frame_id = to_time(stamp_ns), self._frame_id
        message.data = array("B", picture.tobytes())
        self._publishers["mosaic"].publish(message)

    def close(self) -> None:
        """Give the publishers back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def _is_wanted(self, name: str) -> bool:
        return self._publishers[name].get_subscription_count() > 0

    def _on_incompatible(self, topic: str, event: Any) -> None:
        self._on_qos(topic, incompatible_qos_text(topic, event.last_policy_kind, "subscriber"))


def _lines_of(camera: str) -> str:
    """Return under which name the publisher of a camera's lines is kept."""
    return f"lines of {camera}"


def to_time(stamp_ns: int) -> Any:
    """Return a `builtin_interfaces/Time`."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)
