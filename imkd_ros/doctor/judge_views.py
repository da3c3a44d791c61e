# SPDX-License-Identifier: Apache-2.0
"""What of the surroundings the sensors cover, by azimuth. Pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imkd_core.health.check import AMBER, GREEN, Check
from imkd_core.types import CameraModel
from imkd_ros.doctor.facts import Observation
from imkd_ros.doctor.judge_sensors import view_deg
from imkd_ros.doctor.wanted import Wanted

#: Gaps that are told: between two cameras, and between two radars, degrees.
_CAMERA_GAP_DEG, _RADAR_GAP_DEG = 10, 60

#: A sensor that looks steeper than this, as sine, has no azimuth.
_STEEP = 0.9


def judge_views(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield which azimuths cameras and radars cover, and the gaps between them.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    poses = observation.frames.ego_from_sensor
    seen = np.zeros(360, dtype=np.bool_)
    for name in wanted.sensors.cameras:
        model = observation.cameras[name].model
        if model is not None and name in poses:
            seen |= _covered(poses[name][:3, 2], *_half_views_rad(model))
    yield from _judge("cameras' view", seen, len(wanted.sensors.cameras), _CAMERA_GAP_DEG)
    seen = np.zeros(360, dtype=np.bool_)
    for name in wanted.sensors.radars:
        low, high = observation.radars[name].azimuth_rad
        if name in poses and np.isfinite(low):
            seen |= _covered(poses[name][:3, 0], high, -low)
    yield from _judge("radars' view", seen, len(wanted.sensors.radars), _RADAR_GAP_DEG)


def gaps_deg(seen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the azimuths that nothing covers: (from, to) counter-clockwise, within +-180.

    Args:
        seen: (360,) by degree, counter-clockwise from straight ahead.
    """
    if not seen.any():
        return [(-180, 180)]
    start = int(np.argmax(seen))
    turned = np.roll(seen, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], turned.astype(np.int8), [1]])))
    pairs = edges.reshape(-1, 2) + start
    return [(_within(int(low)), _within(int(high))) for low, high in pairs]


def _within(degrees: int) -> int:
    return (degrees + 180) % 360 - 180


def _half_views_rad(model: CameraModel) -> tuple[float, float]:
    """Return the angle of view to the left and to the right of the axis."""
    share = (float(model.pixel_from_cam[0, 2]) + 0.5) / model.width_px
    whole = np.radians(view_deg(model))
    return float(whole * share), float(whole * (1 - share))


def _covered(axis: NDArray[np.float64], left_rad: float, right_rad: float) -> NDArray[np.bool_]:
    """Return (360,) which azimuths lie between the two edges of a view."""
    if abs(float(axis[2])) > _STEEP:
        return np.zeros(360, dtype=np.bool_)
    middle = np.degrees(np.arctan2(axis[1], axis[0]))
    off = (np.arange(360) + 0.5 - middle + 180) % 360 - 180
    covered: NDArray[np.bool_] = (off <= np.degrees(left_rad)) & (off >= -np.degrees(right_rad))
    return covered


def _judge(name: str, seen: NDArray[np.bool_], sensors: int, tolerated_deg: int) -> Iterator[Check]:
    if not sensors:
        return
    degrees = int(seen.sum())
    if not degrees:
        return  # of no sensor both place and view are known, which is told of each
    found = gaps_deg(seen)
    wide = [gap for gap in found if (gap[1] - gap[0]) % 360 > tolerated_deg]
    texts = ", ".join(f"{low} to {high}" for low, high in found)
    told = f"{degrees} of 360 degrees" + (f"; not {texts} (left is positive)" if found else "")
    if not wide:
        yield Check(name=name, level=GREEN, found=told)
        return
    yield Check(
        name=name,
        level=AMBER,
        found=told,
        remedy="nothing to do if the vehicle is built so; else see which sensor above is missing",
    )
