# SPDX-License-Identifier: Apache-2.0
"""docs/vehicle.md and the pages below it say only what holds: names, defaults, commands, messages.

What the pages write `like this` is a name: of a parameter, a topic, a file, a key of the sensor
file. What stands in a fenced block is a command, a file or a picture of one.
"""

import argparse
import importlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml

from imkd_core.__main__ import VERBS
from imkd_core.types import DISTORTION_MODELS
from imkd_ros.bridge.convert import ENCODINGS
from imkd_ros.bridge.parameters import SPECS, NodeSettings
from imkd_ros.bridge.sensors import (
    CameraSource,
    RadarFields,
    RadarSource,
    sensor_set_from_mapping,
)
from imkd_ros.bridge.tally import REFUSALS
from tests.docs.facts import FILLED, NODE, ROOT, launch_arguments, private_topics, texts

PAGES = [ROOT / "docs" / "vehicle.md", *sorted((ROOT / "docs" / "vehicle").glob("*.md"))]
SENSORS = ROOT / "docs" / "vehicle" / "sensors.md"
GROUPS = sorted({name.split(".")[0] for name in SPECS if "." in name})
FOLDERS = ("config/", "docs/", "imkd_core/", "imkd_ros/", "launch/", "models/", "tests/", "tools/")

#: Programs of others that the pages call.
FOREIGN = {"ros2", "sudo", "docker", "phc2sys", "ptp4l", "chronyc", "export", "pip", "colcon"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language=language, text=text) for language, text in found]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def names(page: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    return [name.strip() for name in re.findall(r"`([^`\n]+)`", prose(page))]


def rows(page: Path, title: str) -> list[list[str]]:
    """Cells of the rows of the table below a heading."""
    (section,) = re.findall(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", prose(page), re.MULTILINE | re.DOTALL
    )
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def commands(page: Path) -> list[str]:
    """Command lines of the blocks, and those between backticks."""
    joined = [
        re.sub(r"\\\n\s*", "", block.text) for block in blocks(page) if block.language == "bash"
    ]
    lines = [line.split("  #")[0].strip() for text in joined for line in text.splitlines()]
    spoken = [name for name in names(page) if name.startswith(("imkd ", "ros2 ", "bag_"))]
    spoken = [name for name in spoken if len(name.split()) > 2]  # `imkd replay` is a name
    return [line for line in [*lines, *spoken] if line and not line.startswith("#")]


def parser_of(verb: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"imkd_core.cli.{VERBS[verb][0]}")
    parser = argparse.ArgumentParser(prog=verb, exit_on_error=False)
    module.add_arguments(parser)
    return parser


def test_there_are_pages_and_all_are_reached_from_the_first():
    assert len(PAGES) >= 4
    linked = re.findall(r"\]\(vehicle/(\w+\.md)", PAGES[0].read_text("utf-8"))
    assert {page.name for page in PAGES[1:]} == set(linked)


@by_page
def test_links_lead_to_files_and_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose(page)):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), target
        titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"


@by_page
def test_parameters_exist(page):
    dotted = re.compile(rf"({'|'.join(GROUPS)})\.[a-z_.]+")
    named = {m[0] for name in names(page) if (m := dotted.match(name)) and "/" not in name}
    files = {name for name in named if name.endswith((".yaml", ".json", ".onnx"))}
    assert named - files - set(SPECS) == set()


@by_page
def test_topics_of_the_node_exist(page):
    text = page.read_text("utf-8")
    named = set(re.findall(r"~/(?!input/|\.)[a-z]+/[a-z_/]+|~/reset", text))
    named |= {f"~{topic}" for topic in re.findall(rf"{NODE}(/[a-z_/]+)", text)}
    lifecycle = {"~/get_state", "~/change_state"}
    assert named - private_topics() - lifecycle == set()


@by_page
def test_files_exist(page):
    paths = {name.split(" ")[0] for name in names(page) if name.startswith(FOLDERS)}
    missing = [path for path in paths if not list(ROOT.glob(path.rstrip("/").split(":")[0]))]
    assert missing == []


@by_page
def test_commands_of_imkd_are_understood(page):
    for line in commands(page):
        words = shlex.split(line)
        if words[0] != "imkd":
            continue
        assert words[1] in VERBS, line
        if "--help" in words:
            continue
        try:
            parser_of(words[1]).parse_args(words[2:])
        except (argparse.ArgumentError, SystemExit) as error:
            pytest.fail(f"{line}: {error}")


@by_page
def test_other_commands_are_ours_or_well_known(page):
    ours = re.findall(r'"(\w+) = imkd', (ROOT / "setup.py").read_text("utf-8"))
    known = {*FOREIGN, *ours, "python"}
    assert [line for line in commands(page) if line.split()[0] not in known] == []
    for line in commands(page):
        if line.startswith(("ros2 run imkd_ros", "python -m imkd_ros.")):
            name = line.split()[3] if line.startswith("ros2") else line.split()[2].partition(".")[2]
            module = ROOT.joinpath("imkd_ros", *name.split(".")).with_suffix(".py")
            assert name in ours or module.is_file(), line


@by_page
def test_launch_arguments_exist(page):
    text = page.read_text("utf-8")
    named = set(re.findall(r"\b([a-z_]+):=", text))
    assert named - launch_arguments() == set()


@by_page
def test_yaml_blocks_are_taken(page):
    for block in blocks(page):
        if block.language != "yaml":
            continue
        raw = yaml.safe_load(block.text)
        if "/**" in raw:
            flat = NodeSettings(values=flattened("", raw["/**"]["ros__parameters"]))
            assert flat.values
        else:
            assert sensor_set_from_mapping(raw).names


def flattened(prefix, values):
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flattened(f"{prefix}{key}.", value)
        else:
            found[f"{prefix}{key}"] = value
    return found


def test_the_sensor_file_is_told_line_by_line():
    for title, kind in (
        ("A camera", CameraSource),
        ("A radar", RadarSource),
        ("Fields of a radar", RadarFields),
    ):
        told = {key for row in rows(SENSORS, title) for key in re.findall(r"`(\w+)`", row[0])}
        assert told == {item.name for item in fields(kind)}, title


def written(value: object) -> str:
    """How the tables write a default."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, Mapping):
        return "none"
    return f"`{value}`" if value != "" else "empty"


def test_defaults_of_the_sensor_file_are_those_of_the_code():
    sensors = sensor_set_from_mapping({"cameras": {"CAM": None}, "radars": {"RADAR": None}})
    camera, radar = sensors.cameras["CAM"], sensors.radars["RADAR"]
    for title, source, name in (
        ("A camera", camera, "cam"),
        ("A radar", radar, "radar"),
        ("Fields of a radar", radar.fields, ""),
    ):
        for key, default, _ in rows(SENSORS, title):
            if key != "`fields`":
                wanted = written(getattr(source, key.strip("`")))
                assert default.replace("<name>", name) == wanted, key


def test_defaults_of_parameters_are_those_of_the_code():
    told = rows(PAGES[0], "Parameters that a vehicle changes")
    assert len(told) >= 10
    assert {name: default for name, default, _ in told} == {
        name: written(SPECS[name.strip("`")].default) for name, *_ in told
    }


def test_live_parameters_are_named():
    text = prose(ROOT / "docs" / "vehicle" / "operation.md")
    (sentence,) = re.findall(r"may be changed while the node runs: (.*?)\.\s", text, re.DOTALL)
    live = {name for name, spec in SPECS.items() if spec.is_live}
    assert set(re.findall(r"`([^`]+)`", sentence)) == live


def messages(page: Path) -> list[str]:
    """Messages that a page quotes: the first cells of its tables of messages."""
    tables = re.findall(r"^\| message \|.*\n\|.*\n((?:\|.*\n)+)", prose(page), re.MULTILINE)
    return re.findall(r"^\| `([^`]+)` \|", "".join(tables), re.MULTILINE)


def test_quoted_messages_are_those_of_the_code():
    quoted = messages(ROOT / "docs" / "vehicle" / "troubleshooting.md")
    assert len(quoted) >= 25
    missing = [text for text in quoted if not any(is_said(text, whole) for whole in texts())]
    assert missing == []


@by_page
def test_phrases_are_those_of_the_code(page):
    keys = {item.name for kind in (CameraSource, RadarSource, RadarFields) for item in fields(kind)}
    wrong = []
    for phrase in (name for name in names(page) if " " in name):
        first, _, rest = phrase.partition(": ")
        if phrase in commands(page) or phrase.split()[0] in {*FOREIGN, "imkd"}:
            continue
        if first.endswith("imkd_detector") or first == "dropped":  # a status, a counter
            is_right = rest.removeprefix("returns ") in texts() or rest == FILLED
        else:
            is_right = first in {*keys, *SPECS} or any(
                is_said(phrase.removeprefix("returns "), whole) for whole in texts()
            )
        wrong += [] if is_right else [phrase]
    assert wrong == []


def is_said(quoted: str, whole: str) -> bool:
    """Whether a text holds what is quoted; `FILLED` in the quotation is whatever is filled in."""
    return quoted.strip(FILLED).strip() in whole


def test_reasons_for_which_readings_are_dropped_are_those_of_the_code():
    table = rows(ROOT / "docs" / "vehicle" / "troubleshooting.md", "Readings are dropped")
    told = {name for row in table for name in re.findall(r"`([^`]+)`", row[0])}
    assert set(REFUSALS) <= told
    assert {name for name in told if name.removeprefix("returns ") not in texts()} == set()


def test_the_guide_names_every_radar_map():
    text = (ROOT / "docs" / "vehicle" / "radars.md").read_text("utf-8")
    maps = sorted((ROOT / "config" / "radars").glob("*.yaml"))
    assert [path.name for path in maps if f"config/radars/{path.name}" not in text] == []


def test_topics_are_told_with_their_types():
    outputs = (ROOT / "imkd_ros" / "node" / "outputs.py").read_text("utf-8")
    types = dict(re.findall(r'\("?(\w+)"?, "(~/[a-z_/]+)"', outputs))
    told = {row[0].strip("`"): row[1] for row in rows(SENSORS, "Topics and QoS")}
    assert types
    assert [topic for kind, topic in types.items() if f"/{kind}`" not in told[topic]] == []


def test_encodings_and_distortion_models_are_all_told():
    text = prose(SENSORS)
    (sentence,) = re.findall(r"Encodings of raw images: (.*?)\.", text, re.DOTALL)
    assert re.findall(r"`(\w+)`", sentence) == list(ENCODINGS)
    assert [name for name in DISTORTION_MODELS if f"`{name}`" not in text] == []


def test_every_topic_of_the_node_is_told():
    text = SENSORS.read_text("utf-8")
    told = [f"{topic}<camera>" if topic.endswith("/") else topic for topic in private_topics()]
    assert [topic for topic in sorted(told) if f"`{topic}`" not in text] == []
