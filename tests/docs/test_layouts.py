# SPDX-License-Identifier: Apache-2.0
"""Viewer layouts: Foxglove's and RViz's parse, and name only what is published."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imkd_ros.bridge.annotation_topics import annotation_topics
from imkd_ros.bridge.sensors import load_sensor_set
from tests.docs.facts import NODE, ROOT, private_topics, stages

FOXGLOVE = ROOT / "config" / "foxglove" / "imkd.json"
RVIZ = ROOT / "config" / "detector.rviz"

#: Foxglove's panel -> what its settings may be called; camera settings of its 3D kin aside.
PANELS = {
    "3D": {"cameraState", "followMode", "followTf", "scene", "transforms", "topics", "layers"},
    "Image": {"imageMode", "topics"},
    "Plot": {
        "title",
        "paths",
        "minYValue",
        "showXAxisLabels",
        "showYAxisLabels",
        "showLegend",
        "legendDisplay",
        "showPlotValuesInLegend",
        "isSynced",
        "xAxisVal",
        "sidebarDimension",
    },
    "DiagnosticSummary": {
        "minLevel",
        "pinnedIds",
        "hardwareIdFilter",
        "topicToRender",
        "sortByLevel",
    },
}

#: RViz's displays -> types of the messages that they show; none = they take no topic.
DISPLAYS = {
    "rviz_default_plugins/Grid": set(),
    "rviz_default_plugins/TF": set(),
    "rviz_default_plugins/MarkerArray": {"MarkerArray"},
    "rviz_default_plugins/PointCloud2": {"PointCloud2"},
    "rviz_default_plugins/Image": {"Image", "CompressedImage"},
}
OTHERS = {
    "rviz_common/Displays",
    "rviz_common/Time",
    "rviz_default_plugins/MoveCamera",
    "rviz_default_plugins/Select",
    "rviz_default_plugins/Measure",
    "rviz_default_plugins/Orbit",
}


@pytest.fixture(scope="module")
def foxglove() -> dict[str, Any]:
    return json.loads(FOXGLOVE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rviz() -> dict[str, Any]:
    return yaml.safe_load(RVIZ.read_text(encoding="utf-8"))


def published() -> set[str]:
    """What runs with the shipped sensor file: the node's topics, and those of its sensors."""
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    topics = {topic.replace("~", NODE, 1) for topic in private_topics()} | {"/diagnostics"}
    topics |= set(annotations(sensors.cameras).values())
    for camera in sensors.cameras.values():
        topics |= {camera.raw_topic, camera.compressed_topic, camera.camera_info} - {""}
    return topics | {radar.points for radar in sensors.radars.values()}


def annotations(cameras: Iterable[str]) -> dict[str, str]:
    """Camera -> topic of the boxes over its images."""
    return {name: f"{NODE}/{topic}" for name, topic in annotation_topics(cameras).items()}


def strings(value: Any) -> list[str]:
    """Every key and text of a tree."""
    if isinstance(value, dict):
        return [*map(str, value), *(text for item in value.values() for text in strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def topics_of(tree: Any) -> set[str]:
    return {text.split(".")[0] for text in strings(tree) if text.startswith("/")}


def leaves(layout: Any) -> list[str]:
    if isinstance(layout, str):
        return [layout]
    return [*leaves(layout["first"]), *leaves(layout["second"])]


def test_foxglove_places_every_panel_once(foxglove):
    placed = leaves(foxglove["layout"])
    assert sorted(placed) == sorted(foxglove["configById"])
    kinds = {panel.split("!")[0] for panel in placed}
    assert kinds == set(PANELS)


def test_foxglove_settings_are_those_of_their_panels(foxglove):
    for name, panel in foxglove["configById"].items():
        assert set(panel) <= PANELS[name.split("!")[0]] | {"foxglovePanelTitle"}, name
    modes = [p["imageMode"] for n, p in foxglove["configById"].items() if n.startswith("Image!")]
    known = {"imageTopic", "calibrationTopic", "annotations", "synchronize"}
    assert all(set(mode) <= known for mode in modes)
    scene = foxglove["configById"]["3D!boxes"]["scene"]["transforms"]
    assert scene["visible"] is True
    assert set(scene) <= {"visible", "showLabel", "labelSize", "axisScale"}


def test_foxglove_waits_for_the_boxes_over_each_camera_and_shows_them_once(foxglove):
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    topics = annotations(sensors.cameras)
    panels = foxglove["configById"]
    assert {name.replace("Image!", "CAM_").upper() for name in panels if "Image!" in name} == {
        *topics,
        "CAM_MOSAIC",
    }
    for name, topic in topics.items():
        panel = panels[f"Image!{name.removeprefix('CAM_').lower()}"]
        assert panel["imageMode"]["annotations"] == {topic: {"visible": True}}
        assert panel["imageMode"]["synchronize"] is True
        assert panel["topics"] == {f"{NODE}/debug/markers": {"visible": False}}


def test_foxglove_shows_all_cameras_in_one_picture_health_and_what_became_of_frames(foxglove):
    panels = foxglove["configById"]
    assert panels["Image!mosaic"]["imageMode"] == {"imageTopic": f"{NODE}/debug/image_mosaic"}
    shown = {
        panel["topicToRender"] for name, panel in panels.items() if "DiagnosticSummary" in name
    }
    assert shown == {"/diagnostics", f"{NODE}/output/status"}
    assert panels["3D!boxes"]["topics"][f"{NODE}/debug/markers"] == {"visible": True}


def test_foxglove_names_only_topics_that_are_published(foxglove):
    named = topics_of(foxglove)
    assert named
    assert named - published() == set()


def test_foxglove_shows_every_sensor_of_the_shipped_sensor_file(foxglove):
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    images = {
        panel["imageMode"]["imageTopic"]: panel["imageMode"]["calibrationTopic"]
        for name, panel in foxglove["configById"].items()
        if name.startswith("Image!") and name != "Image!mosaic"
    }
    assert images == {c.compressed_topic: c.camera_info for c in sensors.cameras.values()}
    shown = set(foxglove["configById"]["3D!boxes"]["topics"])
    assert {radar.points for radar in sensors.radars.values()} <= shown


def test_foxglove_plots_every_stage_of_the_latency(foxglove):
    paths = [series["value"] for series in foxglove["configById"]["Plot!latency"]["paths"]]
    keys = [re.fullmatch(r'.*\.values\[:\]\{key=="(\w+)"\}\.value', path) for path in paths]
    assert {match[1] for match in keys if match} == stages()
    assert len(paths) == len(stages())


def test_rviz_names_only_topics_that_are_published(rviz):
    displays = rviz["Visualization Manager"]["Displays"]
    named = {item["Topic"]["Value"] for item in displays if "Topic" in item}
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    radars = {radar.points for radar in sensors.radars.values()}
    front = sensors.cameras["CAM_FRONT"].compressed_topic
    own = {f"{NODE}/debug/markers", f"{NODE}/debug/image_mosaic"}
    assert named == {*own, *radars, front}
    assert named <= published()


def test_rviz_uses_displays_that_come_with_it_for_what_their_topics_carry(rviz):
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    types = {camera.compressed_topic: "CompressedImage" for camera in sensors.cameras.values()}
    types |= {radar.points: "PointCloud2" for radar in sensors.radars.values()}
    outputs = (ROOT / "imkd_ros" / "node" / "outputs.py").read_text(encoding="utf-8")
    rows = re.findall(r'\((\w+), "(~/[a-z_/]+)", ', outputs)
    types |= {topic.replace("~", NODE, 1): kind for kind, topic in rows}
    manager = rviz["Visualization Manager"]
    for display in manager["Displays"]:
        if "Topic" in display:
            assert types[display["Topic"]["Value"]] in DISPLAYS[display["Class"]], display["Name"]
        else:
            assert DISPLAYS[display["Class"]] == set(), display["Name"]
        assert display["Enabled"] is True, display["Name"]
    used = [*rviz["Panels"], *manager["Tools"], manager["Views"]["Current"]]
    assert {item["Class"] for item in used} <= OTHERS


def test_rviz_shows_the_namespaces_of_the_markers(rviz):
    source = (ROOT / "imkd_ros" / "node" / "markers.py").read_text(encoding="utf-8")
    (boxes,) = [d for d in rviz["Visualization Manager"]["Displays"] if d["Name"] == "Boxes"]
    assert set(boxes["Namespaces"]) == set(re.findall(r'_marker\("(\w+)"', source))


def test_both_stand_in_the_frame_of_the_boxes(foxglove, rviz):
    parameters = yaml.safe_load((ROOT / "config" / "detector.param.yaml").read_text("utf-8"))
    frame = parameters["/**"]["ros__parameters"]["base_frame"]
    assert foxglove["configById"]["3D!boxes"]["followTf"] == frame
    assert rviz["Visualization Manager"]["Global Options"]["Fixed Frame"] == frame


def test_the_launch_file_starts_rviz_with_this_layout():
    launch = (ROOT / "launch" / "detector.launch.py").read_text(encoding="utf-8")
    assert f'"{Path(RVIZ).name}"' in launch
