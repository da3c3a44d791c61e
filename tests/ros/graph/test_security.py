# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy: what ships is what is written, in the published structure, for all topics."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from imkd_core.errors import ConfigError
from imkd_core.resources import sensors_file
from imkd_ros.bridge.sensors import load_sensor_set, sensor_set_from_mapping
from imkd_ros.graph.options import OUTPUTS
from imkd_ros.graph.security import enclaves, policy_xml, sensor_topics

#: element -> the elements that it may hold, and the attributes that it must and may have.
STRUCTURE = {
    "policy": ({"enclaves"}, {"version"}, set()),
    "enclaves": ({"enclave"}, set(), set()),
    "enclave": ({"profiles"}, {"path"}, set()),
    "profiles": ({"profile"}, set(), set()),
    "profile": ({"topics", "services", "actions"}, {"ns", "node"}, set()),
    "topics": ({"topic"}, set(), {"publish", "subscribe"}),
    "services": ({"service"}, set(), {"reply", "request"}),
    "topic": (set(), set(), set()),
    "service": (set(), set(), set()),
}


def listed(root, path, kind, right):
    """Return the names that an enclave may use in a way."""
    (enclave,) = (e for e in root.iter("enclave") if e.get("path") == path)
    return {one.text for group in enclave.iter(kind) if group.get(right) for one in group}


@pytest.fixture(scope="module")
def sensors():
    return load_sensor_set(sensors_file(""))


def test_the_policy_that_ships_is_what_is_written_for_the_shipped_sensors(project_root):
    run = subprocess.run(
        [sys.executable, "-m", "imkd_ros.graph.security"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == (project_root / "config" / "sros2" / "policy.xml").read_bytes()


def test_the_policy_has_sros2s_structure(project_root):
    root = ET.parse(project_root / "config" / "sros2" / "policy.xml").getroot()
    assert root.get("version") == "0.2.0"
    for element in root.iter():
        inside, must, may = STRUCTURE[element.tag]
        assert {child.tag for child in element} <= inside
        assert must <= set(element.attrib) <= must | may
        assert len(element) > 0 or not inside
        if may:
            assert set(element.attrib.values()) == {"ALLOW"}


def test_the_detector_hears_every_sensor_and_sends_to_none(sensors):
    root = ET.fromstring(policy_xml(enclaves(sensors)))
    hears = listed(root, "/imkd/detector", "topics", "subscribe")
    sends = listed(root, "/imkd/detector", "topics", "publish")
    assert hears >= set(sensor_topics(sensors)) | {"/tf", "/tf_static", "/clock"}
    assert not hears & sends
    assert sends >= {f"/imkd_detector/{name}" for name in OUTPUTS} | {"/diagnostics"}


def test_only_the_player_may_send_images_and_only_the_manager_may_ask_for_transitions(sensors):
    items = enclaves(sensors)
    images = set(sensor_topics(sensors))
    assert {i.path for i in items if images & set(i.publishes)} == {"/imkd/player"}
    asked = {i.path for i in items if "/imkd_detector/change_state" in i.asks}
    assert asked == {"/imkd/manager"}


def test_a_namespace_moves_the_detector_and_relative_topics():
    sensors = sensor_set_from_mapping(
        {"cameras": {"A": {"image": "a/image", "camera_info": "/a/info", "transport": "raw"}}}
    )
    root = ET.fromstring(policy_xml(enclaves(sensors, "/front")))
    assert {"/front/a/image", "/a/info"} <= listed(root, "/imkd/detector", "topics", "subscribe")
    assert "/front/imkd_detector/get_state" in listed(root, "/imkd/detector", "services", "reply")
    with pytest.raises(ConfigError, match="namespace"):
        enclaves(sensors, "/no namespace")
