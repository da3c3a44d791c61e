# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscribers whose QoS or type does not fit the node's: is each explained?

One node over the real DDS. Each mismatch is made by a new publisher or subscription, and the time
is taken until /diagnostics names the topic and what to set. Then all that does fit is tried.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from tests.faults.middleware_nodes import NODE, Nodes, Peer, graph
from tests.faults.suite import Context, Figure, at_least, at_most

#: The goal, and how long is waited before it counts as never.
GOAL_S, PATIENCE_S = 2.0, 6.0

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OFTEN = QoSProfile(depth=5, deadline=Duration(nanoseconds=100_000_000))

#: What fits: name -> QoS of the sensors' publishers, or of who listens to the boxes.
FITTING = {
    "reliable": QoSProfile(depth=5),
    "best effort": BEST_EFFORT,
    "reliable, latched": LATCHED,
    "best effort, latched": QoSProfile(
        depth=5,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Mismatch:
    """What does not fit.

    Attributes:
        is_input: a publisher of an input; else a subscription of an output.
        kind: the message type.
        topic: its name.
        qos: of the other side.
        words: that the explanation must have.
    """

    is_input: bool
    kind: Any
    topic: str
    qos: Any
    words: tuple[str, ...]


def mismatches() -> tuple[Mismatch, ...]:
    """Return every way in which an input or an output of the node can fail to connect."""
    inputs: tuple[tuple[Any, str, Any, str], ...] = (
        (TFMessage, "/tf", BEST_EFFORT, "RELIABILITY"),
        (TFMessage, "/tf_static", QoSProfile(depth=5), "DURABILITY"),
        (Image, "/tf_static", LATCHED, "tf2_msgs"),
        (CompressedImage, "/a/image", 5, "sensor_msgs/msg/Image"),
        (Image, "/b/image/compressed", 5, "sensor_msgs/msg/CompressedImage"),
        (Image, "/a/info", 5, "sensor_msgs/msg/CameraInfo"),
        (Image, "/radar/points", 5, "sensor_msgs/msg/PointCloud2"),
    )
    outputs = (
        (Detection3DArray, "detections"),
        (PointCloud2, "objects"),
        (DiagnosticArray, "status"),
    )
    debug = ((MarkerArray, "markers"), (DiagnosticArray, "latency"))
    topics = [(kind, f"output/{name}") for kind, name in outputs]
    topics += [(kind, f"debug/{name}") for kind, name in debug]
    return (
        *(
            Mismatch(
                is_input=True, kind=kind, topic=topic, qos=qos, words=(topic.lstrip("/"), word)
            )
            for kind, topic, qos, word in inputs
        ),
        *(
            Mismatch(is_input=False, kind=kind, topic=topic, qos=qos, words=(topic, word))
            for kind, topic in topics
            for qos, word in ((LATCHED, "DURABILITY"), (OFTEN, "DEADLINE"))
        ),
    )


def run(context: Context) -> list[Figure]:
    """Make each mismatch, then all that fits."""
    with graph(context) as (nodes, peer):
        nodes.start("node", diagnostics__period_sec=0.5)
        peer.bring_up()
        found = [(m, _seconds_until_said(peer, m)) for m in mismatches()]
        fitting = _fitting(nodes, peer)
    explained = [seconds for _, seconds in found if seconds is not None]
    silent = [f"{m.topic} ({m.words[-1]})" for m, seconds in found if seconds is None]
    works = sum(fitting.values())
    unfit = ", ".join(name for name, works in fitting.items() if not works)
    return [
        at_least(
            "QoS: mismatches explained",
            round(100 * len(explained) / len(found), 1),
            100.0,
            "%",
            f"{len(found)} kinds; not: {', '.join(silent)}" if silent else f"{len(found)} kinds",
        ),
        at_most(
            "QoS: longest until explained",
            round(max(explained, default=PATIENCE_S), 2),
            GOAL_S,
            "s",
        ),
        at_least("QoS: fitting ones that work", works, len(fitting), note=unfit),
    ]


def _seconds_until_said(peer: Peer, mismatch: Mismatch) -> float | None:
    """Return how long it took until the node explained it; None when it did not."""
    begin_s = time.monotonic()
    node, topic = peer.node, mismatch.topic
    destroy: Callable[[Any], Any]
    if mismatch.is_input:
        made, destroy = (
            node.create_publisher(mismatch.kind, topic, mismatch.qos),
            node.destroy_publisher,
        )
    else:
        topic = f"/{NODE}/{topic}"
        made = peer.listen(mismatch.kind, topic, lambda _: None, mismatch.qos)
        destroy = node.destroy_subscription

    def said_s() -> float | None:
        return peer.said(begin_s, NODE, "", mismatch.words)

    peer.wait(said_s, PATIENCE_S)
    when_s = said_s()
    destroy(made)
    return None if when_s is None else when_s - begin_s


def _fitting(nodes: Nodes, peer: Peer) -> dict[str, bool]:
    """Return what should fit -> whether boxes came."""
    peer.publish_transforms()
    found = {}
    for name, qos in FITTING.items():
        peer.forget_publishers()
        peer.sensor_qos = qos
        peer.publish_transforms()
        heard: list[Any] = []
        ear = peer.listen(Detection3DArray, f"/{NODE}/output/detections", heard.append)
        found[f"sensors {name}"] = peer.feed(lambda heard=heard: heard, 20.0)
        peer.node.destroy_subscription(ear)
    for name, qos in tuple(FITTING.items())[:2]:
        heard = []
        ear = peer.listen(Detection3DArray, f"/{NODE}/output/detections", heard.append, qos)
        found[f"listener {name}"] = peer.feed(lambda heard=heard: heard, 20.0)
        peer.node.destroy_subscription(ear)
    return found
