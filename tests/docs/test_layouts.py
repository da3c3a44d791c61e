# SPDX-License-Identifier: Apache-2.0
"""Viewer layouts: Foxglove's and RViz's parse, and name only what is published."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imkd_ros.bridge.sensors import load_sensor_set
from tests.docs.facts import NODE, ROOT, private_topics, stages

FOXGLOVE = ROOT / "config" / "foxglove" / "imkd.json"
RVIZ = ROOT / "config" / "detector.rviz"


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
    for camera in sensors.cameras.values():
        topics |= {camera.raw_topic, camera.compressed_topic, camera.camera_info} - {""}
    return topics | {radar.points for radar in sensors.radars.values()}


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
    assert kinds == {"3D", "Image", "Plot", "DiagnosticSummary"}


def test_foxglove_names_only_topics_that_are_published(foxglove):
    named = topics_of(foxglove)
    assert named
    assert named - published() == set()


def test_foxglove_shows_every_sensor_of_the_shipped_sensor_file(foxglove):
    sensors = load_sensor_set(ROOT / "config" / "sensors.yaml")
    images = {
        panel["imageMode"]["imageTopic"]: panel["imageMode"]["calibrationTopic"]
        for name, panel in foxglove["configById"].items()
        if name.startswith("Image!")
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
    assert len(named) == 3
    assert named - published() == set()


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
