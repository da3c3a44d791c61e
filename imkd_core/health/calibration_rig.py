# SPDX-License-Identifier: Apache-2.0
"""What can be told of a calibration from its numbers alone, before a sensor has sent anything.

Only what hardly any vehicle can have is told: a camera frame that is not the optical one, lengths
that are no metres, two sensors in one place, a lens that does not fit its picture, a left sensor
on the right side. Names are free; of them, only the words front, back, rear, left and right count.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.health.faults import (
    AGAINST_NAME,
    SAME_PLACE,
    WRONG_AXES,
    WRONG_LENS,
    WRONG_SCALE,
    Finding,
)
from imkd_core.types import CameraModel, SensorRig

_WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True, kw_only=True)
class RigSettings:
    """Limits.

    Attributes:
        far_m: no sensor of a vehicle is farther from the base frame.
        near_m: and not all of several are nearer.
        deep_m: none is farther below the base frame.
        up: a camera that looks up more steeply (sine of the angle) looks at the sky.
        straight_up: and where it looks straight up, that axis is the one of its housing.
        down: and one that looks down more steeply at the ground.
        upright: the least share of "down" that the y axis of a picture must have.
        level: a radar whose x axis is steeper (sine) is not mounted so.
        same_m: poses that differ by less, and same_rad: by less, are one.
        same_rad: see `same_m`.
        least_view_rad, most_view_rad: horizontal field of view of a camera, of which the latter
            counts without fisheye model; most_fisheye_rad: with it.
        most_fisheye_rad: see `most_view_rad`.
        squareness: the ratio of the focal lengths lies between this and its inverse.
        middle: the principal point lies within this share of the width from either side.
        side_m: a sensor farther from the middle line is on one side.
    """

    far_m: float = 20.0
    near_m: float = 0.05
    deep_m: float = 2.0
    up: float = float(np.sin(np.radians(50.0)))
    straight_up: float = float(np.sin(np.radians(70.0)))
    down: float = float(np.sin(np.radians(75.0)))
    upright: float = 0.25
    level: float = 0.5
    same_m: float = 1e-3
    same_rad: float = float(np.radians(0.1))
    least_view_rad: float = float(np.radians(8.0))
    most_view_rad: float = float(np.radians(165.0))
    most_fisheye_rad: float = float(np.radians(230.0))
    squareness: float = 0.6
    middle: float = 0.25
    side_m: float = 0.2


def rig_findings(
    rig: SensorRig, since_ns: int = 0, settings: RigSettings | None = None
) -> tuple[Finding, ...]:
    """Return what cannot be, sensor by sensor; nothing of a sound rig.

    Args:
        rig: as calibrated, before any resizing or cropping of the pictures.
        since_ns: stamp for the findings.
        settings: limits.
    """
    limits = settings or RigSettings()
    poses = {name: camera.ego_from_cam for name, camera in rig.cameras.items()} | dict(rig.radars)
    found = [*_of_scale(poses, limits)]
    for name, camera in rig.cameras.items():
        found += [(name, WRONG_AXES, text) for text in _of_camera_axes(camera, limits)]
        found += [(name, WRONG_LENS, text) for text in _of_lens(camera, limits)]
    for name, pose in rig.radars.items():
        found += [(name, WRONG_AXES, text) for text in _of_radar_axes(pose, limits)]
    found += _of_twins({n: camera.ego_from_cam for n, camera in rig.cameras.items()}, limits)
    found += _of_twins(dict(rig.radars), limits)
    wrong = {name for name, fault, _ in found if fault in (WRONG_AXES, WRONG_SCALE)}
    for name, pose in poses.items():
        if name not in wrong:
            forward = pose[:3, 2] if name in rig.cameras else pose[:3, 0]
            found += [(name, AGAINST_NAME, text) for text in _of_name(name, pose, forward, limits)]
    return tuple(
        Finding(
            sensor=name,
            fault=fault,
            since_ns=since_ns,
            is_certain=fault in (WRONG_AXES, WRONG_SCALE),
            detail=text,
        )
        for name, fault, text in found
    )


def _of_scale(poses: dict[str, Float64], limits: RigSettings) -> Iterator[tuple[str, str, str]]:
    away_m = {name: float(np.linalg.norm(pose[:3, 3])) for name, pose in poses.items()}
    for name, distance_m in away_m.items():
        if distance_m > limits.far_m:
            yield name, WRONG_SCALE, f"it lies {distance_m:.0f} m from the base frame"
        elif poses[name][2, 3] < -limits.deep_m:
            yield name, WRONG_SCALE, f"it lies {-poses[name][2, 3]:.1f} m below the base frame"
    if len(away_m) > 1 and max(away_m.values()) < limits.near_m:
        text = f"all sensors lie within {limits.near_m:.2f} m of the base frame"
        for name in away_m:
            yield name, WRONG_SCALE, text


def _of_camera_axes(camera: CameraModel, limits: RigSettings) -> Iterator[str]:
    rotation = camera.ego_from_cam[:3, :3]
    forward_up, image_down = float(rotation[2, 2]), -float(rotation[2, 1])
    if -limits.down < forward_up < limits.up and image_down > limits.upright:
        return
    if forward_up > limits.straight_up:
        yield "its frame is that of its housing (x forward, z up)"
    elif image_down < -limits.upright:
        yield "its picture stands on its head"
    elif abs(forward_up) >= limits.up:
        yield f"it looks at the {'sky' if forward_up > 0 else 'ground'}"
    else:
        yield "its picture lies on its side"


def _of_radar_axes(pose: Float64, limits: RigSettings) -> Iterator[str]:
    if abs(float(pose[2, 0])) > limits.level:
        yield f"it looks {'up' if pose[2, 0] > 0 else 'down'}, away from the road"
    elif abs(float(pose[2, 2])) < limits.level:
        yield "its scan stands upright instead of level"


def _of_lens(camera: CameraModel, limits: RigSettings) -> Iterator[str]:
    k, width, height = camera.pixel_from_cam, camera.width_px, camera.height_px
    is_fisheye = camera.distortion_model == "equidistant"
    view_rad = width / k[0, 0] if is_fisheye else 2 * np.arctan(width / (2 * k[0, 0]))
    most_rad = limits.most_fisheye_rad if is_fisheye else limits.most_view_rad
    if not limits.least_view_rad <= view_rad <= most_rad:
        yield (
            f"a focal length of {k[0, 0]:.0f} px for {width} px of width would see "
            f"{np.degrees(view_rad):.0f} degrees"
        )
    elif not limits.squareness <= k[0, 0] / k[1, 1] <= 1 / limits.squareness:
        yield f"its focal lengths {k[0, 0]:.0f} and {k[1, 1]:.0f} px differ"
    is_amid = limits.middle <= (k[0, 2] + 0.5) / width <= 1 - limits.middle
    if not is_amid or not 0 <= k[1, 2] < height:
        yield (
            f"its principal point ({k[0, 2]:.0f}, {k[1, 2]:.0f}) does not lie in the middle of "
            f"{width} x {height} px"
        )


def _of_twins(poses: dict[str, Float64], limits: RigSettings) -> Iterator[tuple[str, str, str]]:
    for (one, first), (other, second) in combinations(poses.items(), 2):
        away_m = float(np.linalg.norm(first[:3, 3] - second[:3, 3]))
        cosine = (float(np.trace(first[:3, :3].T @ second[:3, :3])) - 1) / 2
        if away_m < limits.same_m and cosine > np.cos(limits.same_rad):
            yield one, SAME_PLACE, f"the pose of '{other}'"
            yield other, SAME_PLACE, f"the pose of '{one}'"


def _of_name(name: str, pose: Float64, forward: Float64, limits: RigSettings) -> Iterator[str]:
    """Yield contradictions; a side needs both the place and the direction against it."""
    words = set(_WORDS.findall(name.lower()))
    for word, sign in (("left", 1.0), ("right", -1.0)):
        place_m, looks = sign * float(pose[1, 3]), sign * float(forward[1])
        is_other = (place_m < -limits.side_m and looks < 0.1) or (looks < -0.5 and place_m < 0.05)
        if word in words and is_other:
            yield f"it sits or looks {'right' if sign > 0 else 'left'}"
    for word, sign in (("front", 1.0), ("back", -1.0), ("rear", -1.0)):
        if word in words and sign * float(forward[0]) < -0.5:
            yield f"it looks {'back' if sign > 0 else 'ahead'}"
