# SPDX-License-Identifier: Apache-2.0
"""Faults that an integrator makes, planted in a copy of a healthy bag, and how the doctor tells.

for plant in PLANTS:
    checks = examine(planted(plant, bag, folder), plant, sensors)
    assert is_found(plant, checks)
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rosbags.interfaces import Qos, QosReliability

from imkd_core.cli.vehicle_checks import check_vehicle_model
from imkd_core.data.bags import bag_writer
from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make_point_cloud, read_point_cloud
from imkd_core.data.bags.recording import open_bag
from imkd_core.health.check import RED, Check
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.bridge.parameters import Value
from imkd_ros.doctor.judgement import judge
from imkd_ros.doctor.recording import observe_bag
from imkd_ros.doctor.wanted import wanted

LEFT, RIGHT = "/sensing/cam_front_left", "/sensing/cam_front_right"
FRONT, RADAR = "/sensing/cam_front", "/sensing/radar_front/points"

#: Topic, message, and share of the bag that has passed -> topics and messages instead of it.
Change = Callable[[str, Any, float], Iterable[tuple[str, Any]]]


def _as_it_is(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    return [(topic, message)]


@dataclass(frozen=True, kw_only=True)
class Plant:
    """One fault.

    Attributes:
        name: in the words of the issue.
        topics: whose messages are changed.
        change: what becomes of them.
        best_effort: topics that were offered so.
        parameters: of the node, by dotted name.
        sensors: of which one must be told; or another line of the table.
        found: words that must be in what was found.
        remedy: words that must be in the remedy.
    """

    name: str
    topics: tuple[str, ...] = ()
    change: Change = _as_it_is
    best_effort: tuple[str, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    sensors: tuple[str, ...]
    found: str
    remedy: str


def planted(plant: Plant, bag: Path, folder: Path) -> Path:
    """Return a copy of a bag with a fault in it; the bag itself where the fault is elsewhere.

    A copy that an earlier run left is written anew.
    """
    if not plant.topics and not plant.best_effort:
        return bag
    path = folder / plant.name.replace(" ", "_")
    shutil.rmtree(path, ignore_errors=True)
    with _offering(plant.best_effort), open_bag(bag) as source, BagWriter(path) as target:
        span_ns = max(source.end_ns - source.start_ns, 1)
        for message in source.messages():
            if message.topic not in plant.topics:
                target.write(message.topic, message.type_name, message.stamp_ns, message.cdr)
                continue
            passed = (message.stamp_ns - source.start_ns) / span_ns
            for topic, changed in plant.change(message.topic, source.decode(message), passed):
                target.write(topic, message.type_name, message.stamp_ns, changed)
    return path


def examine(
    bag: Path, parameters: Mapping[str, Value], with_model: bool = True, with_pictures: bool = True
) -> list[Check]:
    """Return the doctor's table of a bag.

    Args:
        bag: recording.
        parameters: of the node, by dotted name.
        with_model: whether model and provider are looked at.
        with_pictures: whether the images are decoded.
    """
    settings = read_settings(None, parameters)
    want = wanted(settings)
    checks = judge(observe_bag(bag, want, with_pictures), want)
    if with_model:
        checks += check_vehicle_model(settings, len(want.sensors.cameras), 0.0)
    return checks


def is_found(plant: Plant, checks: Iterable[Check]) -> bool:
    """Whether the table tells the fault, as one, of the right sensor and with its remedy."""
    return any(
        check.level == RED
        and check.name in plant.sensors
        and plant.found in check.found
        and plant.remedy in check.remedy
        for check in checks
    )


def _offering(best_effort: tuple[str, ...]) -> AbstractContextManager[Any]:
    """Let bags be written as if some topics had been offered as best effort.

    `BagWriter` knows no such offer, and nothing but this fault needs one: hence the patch.
    """
    usual = bag_writer._offered_qos

    def offered(topic: str) -> Qos:
        qos = usual(topic)
        lossy = topic in best_effort
        return qos._replace(reliability=QosReliability.BEST_EFFORT) if lossy else qos

    return patch.object(bag_writer, "_offered_qos", offered)


def _with_frame(frame: str) -> Change:
    def change(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
        return [(topic, replace(message, header=replace(message.header, frame_id=frame)))]

    return change


def _swapped(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    here, there = (LEFT, RIGHT) if topic.startswith(LEFT) else (RIGHT, LEFT)
    return [(topic.replace(here, there), message)]


def _swapped_by_cable(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    here, there = (LEFT, RIGHT) if topic.startswith(LEFT) else (RIGHT, LEFT)
    frame_id = f"{there.rsplit('/', 1)[-1]}_optical_frame"
    header = replace(message.header, frame_id=frame_id)
    return [(topic.replace(here, there), replace(message, header=header))]


def _nothing(_topic: str, _message: Any, _passed: float) -> Iterable[tuple[str, Any]]:
    return []


def _first_half(topic: str, message: Any, passed: float) -> Iterable[tuple[str, Any]]:
    return [(topic, message)] if passed < 0.5 else []


def _larger(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    size = {"width": message.width * 3, "height": message.height * 2}
    return [(topic, replace(message, **size))]


def _without_radar(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    left = [item for item in message.transforms if item.child_frame_id != "radar_front"]
    return [(topic, replace(message, transforms=left))]


def _older(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
    stamp = message.header.stamp
    header = replace(message.header, stamp=replace(stamp, sec=stamp.sec - 3))
    return [(topic, replace(message, header=header))]


def _columns(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    def changed(topic: str, message: Any, _: float) -> Iterable[tuple[str, Any]]:
        stamp = message.header.stamp
        columns = change(read_point_cloud(message))
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        return [(topic, make_point_cloud(stamp_ns, message.header.frame_id, columns))]

    return changed


def _millimetres(columns: dict[str, Any]) -> dict[str, Any]:
    scaled = {name: (columns[name] * 1000).astype(np.float32) for name in ("x", "y", "z")}
    return {**columns, **scaled}


def _renamed(columns: dict[str, Any]) -> dict[str, Any]:
    return {"vx_compensated" if name == "vx_comp" else name: v for name, v in columns.items()}


PLANTS = (
    Plant(
        name="wrong frame id",
        topics=(RADAR,),
        change=_with_frame("radar_frnt"),
        sensors=("RADAR_FRONT",),
        found="wrong frame id: TF has no frame 'radar_frnt'",
        remedy="did you mean radar_front?",
    ),
    Plant(
        name="swapped cameras",
        topics=tuple(
            f"{s}/{t}" for s in (LEFT, RIGHT) for t in ("camera_info", "image/compressed")
        ),
        change=_swapped,
        sensors=("CAM_FRONT_LEFT", "CAM_FRONT_RIGHT"),
        found="swapped cameras",
        remedy="exchange the topics of CAM_FRONT_",
    ),
    Plant(
        name="mm instead of m",
        topics=(RADAR,),
        change=_columns(_millimetres),
        sensors=("RADAR_FRONT",),
        found="millimetres instead of metres",
        remedy="divide by 1000",
    ),
    Plant(
        name="no CameraInfo",
        topics=(f"{FRONT}/camera_info",),
        change=_nothing,
        sensors=("CAM_FRONT",),
        found=f"no CameraInfo: nothing is published on {FRONT}/camera_info",
        remedy="correct the topic in the sensor file",
    ),
    Plant(
        name="wrong image size",
        topics=(f"{FRONT}/camera_info",),
        change=_larger,
        sensors=("CAM_FRONT",),
        found="wrong image size",
        remedy="publish the CameraInfo of this image size",
    ),
    Plant(
        name="best effort against reliable",
        best_effort=("/tf",),
        sensors=("/tf",),
        found="the QoS does not fit, so nothing arrives",
        remedy="publish /tf with RELIABLE QoS",
    ),
    Plant(
        name="missing TF",
        topics=("/tf_static",),
        change=_without_radar,
        sensors=("RADAR_FRONT",),
        found="missing TF: no frame 'radar_front'",
        remedy="start the vehicle description",
    ),
    Plant(
        name="stale clock",
        topics=(f"{FRONT}/image/compressed",),
        change=_older,
        sensors=("CAM_FRONT",),
        found="stale clock: its stamps are 3.0",
        remedy="synchronise the clocks",
    ),
    Plant(
        name="dead radar",
        topics=(RADAR,),
        change=_first_half,
        sensors=("RADAR_FRONT",),
        found="dead: it stopped",
        remedy="look at the driver's log, at the sensor's power and cable",
    ),
    Plant(
        name="wrong field name",
        topics=(RADAR,),
        change=_columns(_renamed),
        sensors=("RADAR_FRONT",),
        found="field 'vx_comp' is not there",
        remedy="did you mean fields.vx: vx_compensated",
    ),
    Plant(
        name="missing model",
        parameters={"model.bundle": "/no/such/bundle"},
        sensors=("model",),
        found="missing or broken",
        remedy="name the folder of a bundle in model.bundle",
    ),
    Plant(
        name="no provider",
        parameters={"model.provider": "CUDAExecutionProvider"},
        sensors=("provider",),
        found="CUDAExecutionProvider is not available",
        remedy="set model.provider to auto",
    ),
)

#: Two cables exchanged: nothing but the pictures tells.
CABLES = Plant(
    name="cables of two cameras",
    topics=(f"{LEFT}/image/compressed", f"{RIGHT}/image/compressed"),
    change=_swapped_by_cable,
    sensors=("CAM_FRONT_LEFT", "CAM_FRONT_RIGHT"),
    found="swapped: ",
    remedy="swap their topics, cables or transforms",
)
