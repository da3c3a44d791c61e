# SPDX-License-Identifier: Apache-2.0
"""The node's subscriptions: QoS, transports, and what to say when QoS does not fit."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from imkd_ros.bridge.pipeline import TF_STATIC_TOPIC, TF_TOPIC
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.node.qos_overrides import SUBSCRIPTION, qos_of, without_effect

#: Transforms that the middleware keeps for us; at most so many are taken in one turn.
_TF_DEPTH = 100

#: How often the publishers' types are looked at. Fast DDS tells nobody of one that differs.
_TYPES_S = 1.0

#: A calibration that is sent again unchanged is read again after so long, and not before.
_AGAIN_S = 1.0

#: End of the header's stamp in a serialised message, behind four bytes that tell the encoding.
_STAMP_END = 12

_TF_TYPE = "tf2_msgs/msg/TFMessage"

#: Called with the topic as it stands in the sensor set, and the message.
OnMessage = Callable[[str, Any], None]

#: Called with the sensor (or topic) and what to do.
OnQos = Callable[[str, str], None]


class Inputs:
    """Opens and closes subscriptions; calibration first, sensors while the node is active.

    Args:
        node: that they belong to.
        sensors: the sensor set.
        depth: of the sensor subscriptions.
        odometry_topic: empty = none.
        on_message: takes every message.
        on_qos: is told of publishers whose QoS cannot be met.

    Raises:
        ConfigError: a `qos_overrides` parameter of one of the topics has a wrong value.
    """

    def __init__(
        self,
        node: Node,
        sensors: SensorSet,
        depth: int,
        odometry_topic: str,
        on_message: OnMessage,
        on_qos: OnQos,
    ) -> None:
        self._node = node
        self._sensors = sensors
        self._odometry_topic = odometry_topic
        self._on_message = on_message
        self._on_qos = on_qos
        self._sensor_qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._calibration: list[Any] = []
        self._active: list[Any] = []
        self._rivals: dict[str, list[Any]] = {}
        self._timer: Any = None
        topics = [topic for _, topic, _ in wanted_types(sensors, odometry_topic)]
        for topic in topics:
            qos_of(node, SUBSCRIPTION, topic, self._sensor_qos)
        for text in without_effect(node, SUBSCRIPTION, topics):
            node.get_logger().warning(text)

    def open_calibration(self) -> None:
        """Listen to TF and CameraInfo; from now on look for publishers of another type."""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(_TYPES_S, self._look_at_types, clock=steady)
        latched = QoSProfile(
            depth=_TF_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._calibration += [
            self._subscribe_burst(TFMessage, TF_TOPIC, QoSProfile(depth=_TF_DEPTH), "tf"),
            self._subscribe(TFMessage, TF_STATIC_TOPIC, latched, "tf_static"),
        ]
        for name, camera in self._sensors.cameras.items():
            self._calibration.append(self._subscribe_unchanging(name, camera.camera_info))

    def open_sensors(self) -> None:
        """Listen to images, scans and odometry."""
        for name, camera in self._sensors.cameras.items():
            pair = [(Image, camera.raw_topic), (CompressedImage, camera.compressed_topic)]
            pair = [(kind, topic) for kind, topic in pair if topic]
            if len(pair) == 1:
                self._active.append(self._subscribe(*pair[0], self._sensor_qos, name))
            else:
                self._open_rivals(name, pair)
        for name, radar in self._sensors.radars.items():
            self._active.append(self._subscribe(PointCloud2, radar.points, self._sensor_qos, name))
        if self._odometry_topic:
            qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._active.append(self._subscribe(Odometry, self._odometry_topic, qos, "odometry"))

    def close_sensors(self) -> None:
        """Stop listening to images, scans and odometry."""
        rivals = [item for pair in self._rivals.values() for item in pair]
        for subscription in (*self._active, *rivals):
            self._node.destroy_subscription(subscription)
        self._active.clear()
        self._rivals.clear()

    def close(self) -> None:
        """Stop listening at all."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        self.close_sensors()
        for subscription in self._calibration:
            self._node.destroy_subscription(subscription)
        self._calibration.clear()

    def _open_rivals(self, name: str, pair: list[tuple[Any, str]]) -> None:
        """Listen to raw and compressed images; the first that delivers stays."""
        self._rivals[name] = [
            self._subscribe(
                kind, topic, self._sensor_qos, name, partial(self._on_rival, name, index, topic)
            )
            for index, (kind, topic) in enumerate(pair)
        ]

    def _on_rival(self, name: str, index: int, topic: str, message: Any) -> None:
        pair = self._rivals.pop(name, None)
        if pair is not None:
            self._node.destroy_subscription(pair[1 - index])
            self._active.append(pair[index])
            self._node.get_logger().info(f"{name}: images come on {topic}")
        self._on_message(topic, message)

    def _look_at_types(self) -> None:
        """Tell of publishers that send something else than the node reads."""
        for name, topic, wanted in wanted_types(self._sensors, self._odometry_topic):
            found = self._node.get_publishers_info_by_topic(topic)
            types = {info.topic_type for info in found} - {wanted}
            if types:
                self._on_qos(name, wrong_type_text(topic, sorted(types)[0], wanted))

    def _subscribe(
        self,
        kind: Any,
        topic: str,
        qos: QoSProfile,
        name: str,
        callback: Any = None,
        *,
        raw: bool = False,
    ) -> Any:
        return self._node.create_subscription(
            kind,
            topic,
            callback or partial(self._on_message, topic),
            qos_of(self._node, SUBSCRIPTION, topic, qos),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=partial(self._on_incompatible, name, topic)
            ),
            raw=raw,
        )

    def _subscribe_unchanging(self, name: str, topic: str) -> Any:
        """Subscribe to a camera's CameraInfo, which comes with every image and hardly ever changes.

        It is compared as bytes: six cameras at 12 Hz would be 72 matrices made of it a second.
        """
        known, read_s = b"", 0.0

        def on_bytes(cdr: bytes) -> None:
            nonlocal known, read_s
            now_s, content = time.monotonic(), cdr[_STAMP_END:]
            if content == known and now_s - read_s < _AGAIN_S:
                return
            known, read_s = content, now_s
            self._on_message(topic, deserialize_message(cdr, CameraInfo))

        return self._subscribe(CameraInfo, topic, self._sensor_qos, name, on_bytes, raw=True)

    def _subscribe_burst(self, kind: Any, topic: str, qos: QoSProfile, name: str) -> Any:
        """Subscribe so that all messages that wait are taken in one turn of the executor.

        It gives one message a turn to each subscription. Transforms come ten times as often as
        images of a camera, and on a busy machine they would fall behind them for ever.
        """

        def on_burst(message: Any) -> None:
            self._on_message(topic, message)
            for _ in range(qos.depth):
                with subscription.handle:
                    taken = subscription.handle.take_message(kind, False)
                if taken is None:
                    return
                self._on_message(topic, taken[0])

        subscription = self._subscribe(kind, topic, qos, name, on_burst)
        return subscription

    def _on_incompatible(self, name: str, topic: str, event: Any) -> None:
        self._on_qos(name, incompatible_qos_text(topic, event.last_policy_kind, "publisher"))


def wanted_types(sensors: SensorSet, odometry_topic: str) -> list[tuple[str, str, str]]:
    """Return (sensor, topic, type as in "sensor_msgs/msg/Image") of all that is listened to."""
    found = [("tf", TF_TOPIC, _TF_TYPE), ("tf_static", TF_STATIC_TOPIC, _TF_TYPE)]
    for name, camera in sensors.cameras.items():
        found.append((name, camera.camera_info, "sensor_msgs/msg/CameraInfo"))
        found.append((name, camera.raw_topic, "sensor_msgs/msg/Image"))
        found.append((name, camera.compressed_topic, "sensor_msgs/msg/CompressedImage"))
    found += [
        (n, radar.points, "sensor_msgs/msg/PointCloud2") for n, radar in sensors.radars.items()
    ]
    found.append(("odometry", odometry_topic, "nav_msgs/msg/Odometry"))
    return [item for item in found if item[1]]


def wrong_type_text(topic: str, found: str, wanted: str) -> str:
    """Say that a topic carries another type than the node reads, and what to set where."""
    return (
        f"a publisher of {topic} sends {found}, and the node reads {wanted}; nothing arrives: "
        "correct the topic or 'transport' in the sensor file, or the driver's topic"
    )


def incompatible_qos_text(topic: str, policy_kind: Any, other: str) -> str:
    """Say which QoS policy of the other side does not fit, and what to set there."""
    policy = qos_policy_name_from_kind(policy_kind)
    remedies = {
        ("DURABILITY", "publisher"): "publish it with durability TRANSIENT_LOCAL",
        ("RELIABILITY", "publisher"): "publish it with reliability RELIABLE",
        ("DURABILITY", "subscriber"): "subscribe with durability VOLATILE",
        ("RELIABILITY", "subscriber"): "subscribe with reliability RELIABLE or BEST_EFFORT",
    }
    remedy = remedies.get((policy, other), f"make its {policy} policy fit")
    return f"a {other} of {topic} has an incompatible {policy} policy; nothing arrives: {remedy}"
