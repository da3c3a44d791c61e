# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy against the real graph, and whether the middleware here can enforce it at all.

Detector, player and recorder play a drive without security, the doctor listens, and everything that
each of them has in the graph is held against config/sros2/policy.xml: what it lacks would be
refused. Then a node is started with security demanded and an empty keystore: a Fast DDS that is
built without DDS Security, as that of the pip wheels, says so, and enforcement cannot be measured
with it.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import ROOT
from imkd_core.resources import sensors_file
from imkd_ros.bridge.sensors import load_sensor_set
from imkd_ros.graph.security import sensor_topics
from tests.faults.middleware_nodes import NODE, Peer, graph
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

POLICY = ROOT / "config" / "sros2" / "policy.xml"

#: process -> (its node's name, its enclave).
MEMBERS = {
    "detector": (NODE, "/imkd/detector"),
    "player": ("bag_player", "/imkd/player"),
    "recorder": ("bag_recorder", "/imkd/recorder"),
    "doctor": ("imkd_doctor", "/imkd/doctor"),
}

#: The doctor listens so long: it has to be there while the others are looked at.
DOCTOR_S = 40

#: What a Fast DDS without DDS Security says.
_WITHOUT = "doesn't have the security libraries"

_PROBE = "import rclpy; rclpy.init(args=['--ros-args', '--enclave', '/x']); rclpy.create_node('x')"


def run(context: Context) -> list[Figure]:
    """Look at the graph, then ask the middleware."""
    with graph(context) as (nodes, peer):
        bag = context.bag(8.0)
        nodes.start("detector", sensors_file=str(sensors_file("")))
        peer.bring_up()
        outputs = [f"/{NODE}/output/detections", "/diagnostics"]
        recording = ["--topics", *outputs, "--use-sim-time", "--overwrite"]
        nodes.start_module("recorder", "imkd_ros.recorder", str(context.folder / "r"), *recording)
        play = (str(bag), "--loop", "5", "--wait-for", "/clock")
        nodes.start_module("player", "imkd_ros.player", *play)
        listening = ("doctor", "--live", "--seconds", str(DOCTOR_S))
        nodes.start_module("doctor", "imkd_core", *listening)
        used = {name: _used(peer, node) for name, (node, _) in MEMBERS.items()}
    allowed = {name: _allowed(enclave) for name, (_, enclave) in MEMBERS.items()}
    missing = sorted(f"{name}: {what}" for name in used for what in used[name] - allowed[name])
    count = sum(len(found) for found in used.values())
    heard = {f"subscribe {topic}" for topic in sensor_topics(load_sensor_set(sensors_file("")))}
    return [
        at_most("policy: endpoints that it lacks", len(missing), 0, note=", ".join(missing[:8])),
        at_least("policy: endpoints of the real graph looked at", count, 60),
        at_least(
            "policy: sensor topics that only the player sends", _alone(allowed, heard), len(heard)
        ),
        *_enforcement(context.folder),
    ]


def _used(peer: Peer, node: str) -> set[str]:
    """Return what a node has in the graph, as "publish TOPIC", "reply SERVICE" and so on."""
    ask: dict[str, Callable[..., list[tuple[str, list[str]]]]] = {
        "publish": peer.node.get_publisher_names_and_types_by_node,
        "subscribe": peer.node.get_subscriber_names_and_types_by_node,
        "reply": peer.node.get_service_names_and_types_by_node,
        "request": peer.node.get_client_names_and_types_by_node,
    }

    def is_there() -> bool:
        return node in peer.node.get_node_names()

    peer.need(is_there, f"the node {node}")
    peer.pause(3.0)  # all that it has is told one by one
    return {f"{how} {name}" for how, names in ask.items() for name, _ in names(node, "/")}


def _allowed(path: str) -> set[str]:
    """Return what the policy lets an enclave do, in the same words."""
    root = ET.parse(POLICY).getroot()
    (enclave,) = (one for one in root.iter("enclave") if one.get("path") == path)
    return {
        f"{how} {one.text}"
        for kind in ("topics", "services")
        for group in enclave.iter(kind)
        for how in group.attrib
        for one in group
    }


def _alone(allowed: dict[str, set[str]], heard: set[str]) -> int:
    """Return how many of the topics that the detector hears the player alone may send."""
    sent = {what.replace("subscribe", "publish") for what in heard}
    others = set().union(*(names for process, names in allowed.items() if process != "player"))
    return len((sent & allowed["player"]) - others)


def _enforcement(folder: Path) -> list[Figure]:
    """Return whether security can be had, and what cannot be measured without it."""
    keystore = folder / "keystore"
    (keystore / "enclaves" / "x").mkdir(parents=True, exist_ok=True)
    security = {"ENABLE": "true", "STRATEGY": "Enforce", "KEYSTORE": str(keystore)}
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env={**os.environ, **{f"ROS_SECURITY_{name}": value for name, value in security.items()}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    has_it = _WITHOUT not in probe.stderr
    why = "make a keystore (docs/vehicle/security.md) and try it by hand: no command here does"
    if not has_it:
        why = "the Fast DDS of the pip wheels is built without DDS Security"
    return [
        told(
            "security demanded without keys: nodes that start all the same",
            int(not probe.returncode),
        ),
        told("DDS Security in this middleware", int(has_it), note="1 yes, 0 no"),
        not_there("security enforced: latency more", 10.0, "%", why),
        not_there("security enforced: images of an unlisted publisher", 0.0, "", why),
    ]
