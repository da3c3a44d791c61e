# SPDX-License-Identifier: Apache-2.0
"""Whether the calibration can be, and sensors look where their names say. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.health.calibration_rig import rig_findings
from imkd_core.health.check import GREEN, RED, Check
from imkd_core.health.faults import AGAINST_NAME
from imkd_core.types import SensorRig
from imkd_ros.doctor.facts import Driven, Observation
from imkd_ros.doctor.findings import told_of
from imkd_ros.doctor.wanted import Wanted


def judge_rig(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield what cannot be of poses and intrinsics.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    rig = rig_of(observation, wanted)
    findings = rig_findings(rig)
    against = [finding.sensor for finding in findings if finding.fault == AGAINST_NAME]
    told: set[str] = set()
    for one, two in combinations(dict.fromkeys(against), 2):
        if not told & {one, two} and _are_swapped(rig, one, two):
            told |= {one, two}
            yield _swapped(rig, one, two)
    for finding in findings:
        if finding.fault != AGAINST_NAME or finding.sensor not in told:
            yield told_of(finding)


def judge_driven(driven: Driven, wanted: Wanted) -> Iterator[Check]:
    """Yield what pictures and scans show, and a line on what was looked at.

    Args:
        driven: what was seen of frames.
        wanted: with the sensors.
    """
    for finding in driven.findings:
        yield told_of(finding)
    if driven.judged is None:
        found = f"looked at {driven.frames} times: black, frozen, over-exposed, covered, blurred"
        yield Check(name="pictures", level=GREEN, found=found)
        return
    wrong = {finding.sensor for finding in driven.findings}
    well = [name for name in wanted.sensors.names if name in driven.judged - wrong]
    names = ", ".join(well) or "not known of any sensor (it takes some seconds of a drive)"
    if len(well) == len(wanted.sensors.names):
        names = "all sensors"
    yield Check(
        name="calibration",
        level=GREEN,
        found=f"{driven.frames} frames looked at; seen to fit the vehicle's motion: {names}",
    )


def rig_of(observation: Observation, wanted: Wanted) -> SensorRig:
    """Return the sensors of which both intrinsics and pose are known."""
    poses = observation.frames.ego_from_sensor
    models = {name: facts.model for name, facts in observation.cameras.items()}
    return SensorRig(
        cameras={
            name: replace(model, ego_from_cam=poses[name])
            for name in wanted.sensors.cameras
            if (model := models[name]) is not None and name in poses
        },
        radars={name: poses[name] for name in wanted.sensors.radars if name in poses},
    )


def view_axis(pose: Float64, is_camera: bool) -> Float64:
    """Return (3,) the direction a sensor looks in the vehicle's frame.

    Args:
        pose: (4, 4) `ego_from_sensor`.
        is_camera: it is an optical frame, z forward; else x is forward.
    """
    axis: Float64 = pose[:3, 2 if is_camera else 0]
    return axis


def _are_swapped(rig: SensorRig, one: str, two: str) -> bool:
    """Whether both would look where their names say, were their poses exchanged."""
    if one in rig.cameras and two in rig.cameras:
        first, second = rig.cameras[one], rig.cameras[two]
        cameras = {
            one: replace(first, ego_from_cam=second.ego_from_cam),
            two: replace(second, ego_from_cam=first.ego_from_cam),
        }
        exchanged = SensorRig(cameras=cameras, radars={})
    elif one in rig.radars and two in rig.radars:
        radars = {one: rig.radars[two], two: rig.radars[one]}
        exchanged = SensorRig(cameras={}, radars=radars)
    else:
        return False
    return all(finding.fault != AGAINST_NAME for finding in rig_findings(exchanged))


def _swapped(rig: SensorRig, one: str, two: str) -> Check:
    is_camera = one in rig.cameras
    poses: Mapping[str, Float64] = rig.radars
    if is_camera:
        poses = {name: camera.ego_from_cam for name, camera in rig.cameras.items()}
    looks = [_words(view_axis(poses[name], is_camera)) for name in (one, two)]
    return Check(
        name=one,
        level=RED,
        found=f"swapped {'cameras' if is_camera else 'radars'}: by TF {one} looks {looks[0]} and "
        f"{two} {looks[1]}",
        remedy=f"exchange the topics of {one} and {two} in the sensor file, or correct their "
        "frames (cover one and see which topic changes)",
    )


def _words(axis: Float64) -> str:
    """Say a direction: "to the left (90 degrees)"."""
    degrees = float(np.degrees(np.arctan2(axis[1], axis[0])))
    names = ("forward", "to the left", "backward", "to the right")
    return f"{names[round(degrees / 90) % 4]} ({degrees:.0f} degrees)"
