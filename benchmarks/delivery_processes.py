# SPDX-License-Identifier: Apache-2.0
"""The two processes of `benchmarks.delivery`: one sends images, one receives them.

    python -m benchmarks.delivery_processes receive|send ros|cyclone jpeg|raw 0|1 SECONDS FOLDER

Each writes one line of JSON. Every message begins with the steady clock at which it was sent; the
receiver reads it there, so that no header is needed over Cyclone DDS.
"""

import array
import json
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.delivery import RATE_HZ, READY_S

#: Messages of a topic that reader and writer keep: those of a sensor driver.
DEPTH = 5

#: The receiver ends when nothing came for so long.
QUIET_S = 1.5

_CLOCK = struct.Struct("<q")

#: Called with a message's bytes.
OnImage = Callable[[Any], None]


class Endpoint(Protocol):
    """One side of six topics."""

    def is_connected(self) -> bool:
        """Return whether all topics have somebody on the other side."""

    def send(self, number: int, data: bytes) -> None:
        """Publish on a topic."""

    def spin(self, seconds: float) -> None:
        """Take in messages for at most so long."""


class RosEndpoint:
    """Over rclpy, with the RMW that the environment names."""

    def __init__(
        self, kind: str, is_reliable: bool, sizes: list[int], on_image: OnImage | None
    ) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CompressedImage, Image

        count = len(sizes)
        rclpy.init()
        self._node = rclpy.create_node("delivery_" + ("receive" if on_image else "send"))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        reliability = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=DEPTH, reliability=reliability)
        self._type = CompressedImage if kind == "jpeg" else Image
        topics = [f"/delivery/camera_{number}" for number in range(count)]
        self._publishers: list[Any] = []
        if on_image is None:
            self._publishers = [
                self._node.create_publisher(self._type, topic, qos) for topic in topics
            ]
        else:
            take = lambda message: on_image(message.data)  # noqa: E731 - one line, six users
            for topic in topics:
                self._node.create_subscription(self._type, topic, take, qos)

    def is_connected(self) -> bool:
        """Return whether somebody listens to every topic."""
        return all(one.get_subscription_count() for one in self._publishers)

    def send(self, number: int, data: bytes) -> None:
        """Publish on a topic."""
        message = self._type()
        message.data = array.array("B", data)
        self._publishers[number].publish(message)

    def spin(self, seconds: float) -> None:
        """Take in messages for at most so long."""
        self._executor.spin_once(timeout_sec=seconds)


class CycloneEndpoint:
    """Over the library that rmw_cyclonedds_cpp uses, by its own Python binding."""

    def __init__(
        self, kind: str, is_reliable: bool, sizes: list[int], on_image: OnImage | None
    ) -> None:
        import os

        from cyclonedds.core import Policy, Qos
        from cyclonedds.domain import DomainParticipant
        from cyclonedds.idl import IdlStruct
        from cyclonedds.idl.types import array, uint8
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic
        from cyclonedds.util import duration

        del kind
        size = self._size = max(sizes) + _CLOCK.size  # the binding is slow with what has no size

        @dataclass
        class Picture(IdlStruct, typename="imkd.delivery.Picture"):
            data: array[uint8, size]  # type: ignore[type-arg, valid-type]

        self._type = Picture
        self._on_image = on_image
        wait = duration(milliseconds=100)
        reliability = (
            Policy.Reliability.Reliable(wait) if is_reliable else (Policy.Reliability.BestEffort)
        )
        qos = Qos(reliability, Policy.History.KeepLast(DEPTH))
        count = len(sizes)
        participant = DomainParticipant(int(os.environ.get("ROS_DOMAIN_ID", "0")))
        topics = [Topic(participant, f"delivery_{n}", Picture, qos=qos) for n in range(count)]
        self._writers, self._readers = [], []
        if on_image is None:
            self._writers = [DataWriter(participant, topic, qos=qos) for topic in topics]
        else:
            self._readers = [DataReader(participant, topic, qos=qos) for topic in topics]

    def is_connected(self) -> bool:
        """Return whether somebody listens to every topic."""
        return all(len(one.get_matched_subscriptions()) for one in self._writers)

    def send(self, number: int, data: bytes) -> None:
        """Publish on a topic."""
        whole: Any = data.ljust(self._size, b"\0")
        self._writers[number].write(self._type(data=whole))

    def spin(self, seconds: float) -> None:
        """Take in what is there; sleep a moment where nothing is."""
        taken = [sample for one in self._readers for sample in one.take(DEPTH)]
        for sample in taken:
            if self._on_image is not None and hasattr(sample, "data"):
                self._on_image(sample.data)
        if not taken:
            time.sleep(min(seconds, 0.002))


class Tally:
    """Counts what came, and how long it took."""

    def __init__(self) -> None:
        self.bytes = 0
        self.latency_ms: list[float] = []
        self.last_s = 0.0

    def add(self, data: Any) -> None:
        """Count one image; its first bytes say when it was sent."""
        now_ns = time.monotonic_ns()
        view = memoryview(data)
        self.bytes += len(view)
        self.latency_ms.append((now_ns - _CLOCK.unpack_from(view, 0)[0]) * 1e-6)
        self.last_s = time.monotonic()


def receive(make: Callable[[OnImage], Endpoint], seconds: float) -> dict[str, Any]:
    """Receive until it is quiet; return what came."""
    tally = Tally()
    endpoint = make(tally.add)
    give_up_s = time.monotonic() + READY_S + seconds + 5
    while time.monotonic() < give_up_s:
        endpoint.spin(0.1)
        if tally.last_s and time.monotonic() - tally.last_s > QUIET_S:
            break
        if tally.last_s:
            give_up_s = min(give_up_s, time.monotonic() + seconds + 5)
    p50, p95 = np.percentile(tally.latency_ms, (50, 95)) if tally.latency_ms else (None, None)
    return {
        "received": len(tally.latency_ms),
        "bytes": tally.bytes,
        "p50_ms": None if p50 is None else float(p50),
        "p95_ms": None if p95 is None else float(p95),
    }


def send(endpoint: Endpoint, images: list[bytes], seconds: float) -> dict[str, Any]:
    """Send all images at 12 Hz, all at the same moment; return how many."""
    give_up_s = time.monotonic() + READY_S
    while not endpoint.is_connected() and time.monotonic() < give_up_s:
        endpoint.spin(0.02)
    time.sleep(0.5)
    begin_s, rounds = time.monotonic(), round(RATE_HZ * seconds)
    for turn in range(rounds):
        time.sleep(max(0.0, begin_s + turn / RATE_HZ - time.monotonic()))
        for number, image in enumerate(images):
            endpoint.send(number, _CLOCK.pack(time.monotonic_ns()) + image)
    spent_s = time.monotonic() - begin_s
    time.sleep(1.0)
    return {"sent": rounds * len(images), "seconds": spent_s}


def load_images(folder: Path, kind: str) -> list[bytes]:
    """Return the images, as JPEG or as rgb8."""
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    if kind == "jpeg":
        return files
    import cv2

    pictures = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in files]
    return [np.asarray(picture).tobytes() for picture in pictures]


def main() -> int:
    """Run one side."""
    role, middleware, kind, reliable, seconds, folder = sys.argv[1:]
    images = load_images(Path(folder), kind)
    endpoint = RosEndpoint if middleware == "ros" else CycloneEndpoint

    def make(on_image: OnImage | None) -> Endpoint:
        return endpoint(kind, reliable == "1", [len(one) for one in images], on_image)

    if role == "receive":
        found = receive(make, float(seconds))
    else:
        found = send(make(None), images, float(seconds))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
