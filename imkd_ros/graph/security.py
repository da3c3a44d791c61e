# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy: what each process of the graph may publish, hear, serve and ask for. No ROS.

    python -m imkd_ros.graph.security --sensors my_sensors.yaml --namespace /front > policy.xml

config/sros2/policy.xml is what it writes for the package's own sensor file;
docs/vehicle/security.md says how a keystore is made of it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from imkd_core.errors import ImkdError
from imkd_core.resources import sensors_file
from imkd_ros.bridge.annotation_topics import annotation_topics
from imkd_ros.bridge.sensors import SensorSet, load_sensor_set
from imkd_ros.graph.options import GraphOptions

#: What every node has.
_LOGS = ("/rosout", "/parameter_events")

_TF = ("/tf", "/tf_static")

_PARAMETERS = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
    "get_type_description",
)
_LIFECYCLE = (
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
)

#: What `imkd doctor --live` asks the detector.
_DOCTOR_ASKS = ("get_state", "get_parameters")

#: Below the detector's name.
_OUTPUTS = (
    "output/detections",
    "output/objects",
    "output/label_info",
    "output/status",
    "debug/image_mosaic",
    "debug/latency",
    "debug/markers",
    "transition_event",
)

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- SPDX-License-Identifier: Apache-2.0 -->
<!--
  SROS 2 policy of the detector's graph, an enclave a process; what is not listed is refused.
  Written by `python -m imkd_ros.graph.security`: write your own for other sensors or namespaces.
  docs/vehicle/security.md says how a keystore is made of it.
-->
<policy version="0.2.0">
  <enclaves>
"""


@dataclass(frozen=True, kw_only=True)
class Enclave:
    """What one process may do.

    Attributes:
        path: of the enclave, as in `--enclave`.
        node: name of its node.
        namespace: of the node, "/" for none.
        publishes, hears: topics.
        serves, asks: services.
    """

    path: str
    node: str
    namespace: str = "/"
    publishes: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


def enclaves(
    sensors: SensorSet, namespace: str = "", odometry_topic: str = "/odometry"
) -> tuple[Enclave, ...]:
    """Return what detector, player, recorder, manager (supervisor, keeper) and doctor may do.

    Args:
        sensors: whose topics are heard.
        namespace: of the detector, such as "/front".
        odometry_topic: that the player sends, and the detector may hear.

    Raises:
        ConfigError: the namespace is none.
    """
    node = GraphOptions(bag=Path(), recording=Path(), namespace=namespace).node
    inputs = (*sensor_topics(sensors, namespace), *_TF, odometry_topic)
    outputs = tuple(f"{node}/{name}" for name in _OUTPUTS)
    annotations = tuple(f"{node}/{t}" for t in annotation_topics(sensors.cameras).values())
    lifecycle = tuple(f"{node}/{name}" for name in _LIFECYCLE)
    return (
        Enclave(
            path="/imkd/detector",
            node="imkd_detector",
            namespace=node.rpartition("/")[0] or "/",
            publishes=(*outputs, *annotations, "/diagnostics", *_LOGS),
            hears=(*inputs, "/clock"),
            serves=(*lifecycle, *(f"{node}/{name}" for name in _PARAMETERS), f"{node}/reset"),
        ),
        Enclave(
            path="/imkd/player",
            node="bag_player",
            publishes=(*inputs, "/clock", "/ground_truth/boxes", "/ground_truth/objects", *_LOGS),
            serves=tuple(f"/bag_player/{name}" for name in _PARAMETERS),
        ),
        Enclave(
            path="/imkd/recorder",
            node="bag_recorder",
            publishes=_LOGS,
            hears=(*outputs, "/diagnostics", "/clock"),
            serves=tuple(f"/bag_recorder/{name}" for name in _PARAMETERS),
        ),
        Enclave(
            path="/imkd/manager",
            node="imkd_supervisor",
            publishes=_LOGS,
            hears=(*outputs, "/diagnostics"),
            serves=tuple(f"/imkd_supervisor/{name}" for name in _PARAMETERS),
            asks=(*lifecycle, f"{node}/reset"),
        ),
        Enclave(
            path="/imkd/doctor",
            node="imkd_doctor",
            publishes=_LOGS,
            hears=(*inputs, "/clock", f"{node}/output/status"),
            serves=tuple(f"/imkd_doctor/{name}" for name in _PARAMETERS),
            asks=tuple(f"{node}/{name}" for name in _DOCTOR_ASKS),
        ),
    )


def sensor_topics(sensors: SensorSet, namespace: str = "") -> tuple[str, ...]:
    """Return the topics of a sensor set; those without a first slash are in the namespace."""
    found: list[str] = []
    for camera in sensors.cameras.values():
        found += [camera.raw_topic, camera.compressed_topic, camera.camera_info]
    found += [radar.points for radar in sensors.radars.values()]
    root = f"/{namespace.strip('/')}/".replace("//", "/")
    return tuple(topic if topic.startswith("/") else root + topic for topic in found if topic)


def policy_xml(items: Sequence[Enclave]) -> str:
    """Return the policy of some enclaves as SROS 2 reads it."""
    return _HEAD + "".join(_enclave(item) for item in items) + "  </enclaves>\n</policy>\n"


def _enclave(item: Enclave) -> str:
    lists = (
        _rules("services", "service", "reply", item.serves),
        _rules("services", "service", "request", item.asks),
        _rules("topics", "topic", "publish", item.publishes),
        _rules("topics", "topic", "subscribe", item.hears),
    )
    profile = f"<profile ns={quoteattr(item.namespace)} node={quoteattr(item.node)}>"
    return (
        f"    <enclave path={quoteattr(item.path)}>\n      <profiles>\n        {profile}\n"
        + "".join(lists)
        + "        </profile>\n      </profiles>\n    </enclave>\n"
    )


def _rules(kind: str, one: str, right: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    lines = "".join(f"            <{one}>{escape(name)}</{one}>\n" for name in sorted(set(names)))
    return f'          <{kind} {right}="ALLOW">\n{lines}          </{kind}>\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the policy to stdout; return 0, or 2 when something given is unusable."""
    parser = argparse.ArgumentParser(
        prog="python -m imkd_ros.graph.security", description="Write the SROS 2 policy."
    )
    parser.add_argument("--sensors", default="", help="sensor file (default: the package's)")
    parser.add_argument("--namespace", default="", help="of the detector, such as /front")
    parser.add_argument("--odometry", default="/odometry", help="topic of the odometry")
    given = parser.parse_args(arguments)
    try:
        sensors = load_sensor_set(sensors_file(given.sensors))
        sys.stdout.write(policy_xml(enclaves(sensors, given.namespace, given.odometry)))
    except ImkdError as error:
        sys.stderr.write(f"security: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
