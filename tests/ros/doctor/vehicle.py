# SPDX-License-Identifier: Apache-2.0
"""A vehicle on a real ROS graph, healthy or not: two cameras, a radar, TF, and a clock."""

import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from tests.ros.node_bench import (
    LATCHED,
    STATIC,
    camera_info,
    compressed,
    image,
    scan,
    to_time,
    transform,
)

#: Speed of the vehicle.
SPEED_MPS = 5.0


def points(turn: int) -> tuple[tuple[float, ...], ...]:
    """Return what the radar sees in a turn: x, y, z, rcs, vx, vy; a scan that repeats is frozen."""
    return tuple((5.0 + i + 0.01 * turn, 1.0 + i, 0.0, 10.0, 0.0, 0.0) for i in range(20))


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What is wrong with a vehicle.

    Attributes:
        tf_is_best_effort: /tf is published so; and /tf_static volatile.
        lacks_radar_tf: /tf_static does not name the radar's frame.
        radar_is_dead: its topic is there, and nothing comes on it.
        stale_s: the stamps of CAM_A are so much too old.
        every: CAM_B sends one of so many images.
        clock_stands: /clock says the same time again and again.
        black: the pictures of CAM_A are black.
        frozen: CAM_B and the radar send their first measurement under new stamps.
    """

    tf_is_best_effort: bool = False
    lacks_radar_tf: bool = False
    radar_is_dead: bool = False
    stale_s: float = 0.0
    every: int = 1
    clock_stands: bool = False
    black: bool = False
    frozen: bool = False


class _Vehicle:
    def __init__(self, node: Node, trouble: Trouble) -> None:
        self._trouble, self._start_ns = trouble, time.time_ns()
        self._first_picture = compressed(self._start_ns)
        kinds = {
            "/a/image": Image,
            "/b/image/compressed": CompressedImage,
            "/radar/points": PointCloud2,
            "/a/info": CameraInfo,
            "/b/info": CameraInfo,
        }
        self._publishers: dict[str, Any] = {
            topic: node.create_publisher(kind, topic, 10) for topic, kind in kinds.items()
        }
        lossy = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        forgetful = QoSProfile(depth=10, durability=DurabilityPolicy.VOLATILE)
        is_bad = trouble.tf_is_best_effort
        self._tf = node.create_publisher(TFMessage, "/tf", lossy if is_bad else 10)
        static = node.create_publisher(TFMessage, "/tf_static", forgetful if is_bad else LATCHED)
        lacking = ("radar",) if trouble.lacks_radar_tf else ()
        kept = [item for item in STATIC if item.child_frame_id not in lacking]
        static.publish(TFMessage(transforms=kept))
        self._clock = node.create_publisher(Clock, "/clock", 10) if trouble.clock_stands else None

    def send(self, turn: int) -> None:
        """Send what is due in one turn of 20 ms; sensors send every fifth turn."""
        now_ns = time.time_ns()
        driven_m = SPEED_MPS * 1e-9 * (now_ns - self._start_ns)
        pose = transform("odom", "base_link", now_ns, xyz=(driven_m, 0.0, 0.0))
        self._tf.publish(TFMessage(transforms=[pose]))
        if self._clock is not None:
            self._clock.publish(Clock(clock=to_time(1_000_000_000)))
        if turn % 5:
            return
        stale_ns = now_ns - round(self._trouble.stale_s * 1e9)
        self._send("/a/image", _dark(image(stale_ns)) if self._trouble.black else image(stale_ns))
        self._send("/a/info", camera_info(stale_ns, "cam_a"))
        self._send("/b/info", camera_info(now_ns, "cam_b"))
        if turn % (5 * self._trouble.every) == 0:
            picture = self._first_picture if self._trouble.frozen else compressed(now_ns)
            picture.header.stamp = to_time(now_ns)
            self._send("/b/image/compressed", picture)
        if not self._trouble.radar_is_dead:
            self._send("/radar/points", scan(now_ns, points(0 if self._trouble.frozen else turn)))

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)


def _dark(message: Image) -> Image:
    """Return an image with the noise of a sensor that gets no light."""
    noise = np.random.default_rng().integers(0, 9, len(message.data), dtype=np.uint8)
    message.data = array("B", noise.tobytes())
    return message


@contextmanager
def driving(trouble: Trouble) -> Iterator[None]:
    """Let a vehicle send in a thread of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    node = Node("vehicle", context=context)
    vehicle, stop = _Vehicle(node, trouble), threading.Event()

    def run() -> None:
        turn = 0
        while not stop.wait(0.02):
            vehicle.send(turn)
            turn += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)
