# SPDX-License-Identifier: Apache-2.0
"""Whether what cameras and radars say can be: sizes, calibration, fields, units, returns. Pure."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from imkd_core.health.check import AMBER, RED, Check
from imkd_core.health.faults import CERTAIN, EMPTY, Finding
from imkd_core.imaging import fits_calibration
from imkd_core.types import CameraModel
from imkd_ros.bridge.convert import MAX_RANGE_M
from imkd_ros.bridge.sensors import RadarSource
from imkd_ros.doctor.facts import CameraFacts, Observation, RadarFacts
from imkd_ros.doctor.findings import told_of
from imkd_ros.doctor.wanted import Role, Wanted, near_names

#: Share of returns beyond the limits that is told.
_IMPLAUSIBLE_SHARE = 0.2

#: No car's radar sees so many metres away with one return in twenty, or so near with nearly all.
_FAR_M, _NEAR_M = 350.0, 2.0

#: One return in twenty faster than this, metres a second, hints at km/h.
_FAST_MPS = 60.0

#: One cross-section in twenty above this, dBsm, hints at another unit.
_BRIGHT_DBSM = 60.0

#: A field that is so similar may be the one that was meant.
_FIELD_SIMILAR = 0.65

#: Names that drivers give to the fields of a radar; a wrong one may mean one of the same row.
_SYNONYMS = (
    ("vx_comp", "vx", "v_x", "velocity_x", "vel_x", "vx_rel"),
    ("vy_comp", "vy", "v_y", "velocity_y", "vel_y", "vy_rel"),
    ("radial", "doppler", "v_r", "vr", "radial_speed", "radial_velocity", "range_rate", "velocity"),
    ("rcs", "RCS", "radar_cross_section", "amplitude", "power", "intensity", "snr"),
    ("age", "time_offset", "t", "time", "timestamp"),
)


def judge_sensors(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield what is wrong with what sensors send.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    for name in wanted.sensors.cameras:
        topics = wanted.of_sensor(name, Role.CAMERA_INFO)
        facts = observation.cameras[name]
        yield from _judge_info(name, facts, topics[0].name if topics else "")
        yield from _judge_images(name, facts)
    for name, source in wanted.sensors.radars.items():
        yield from _judge_radar(name, observation.radars[name], source)


def view_deg(camera: CameraModel) -> float:
    """Return the horizontal angle of view, degrees; lens distortion is not looked at."""
    fx, cx = float(camera.pixel_from_cam[0, 0]), float(camera.pixel_from_cam[0, 2])
    left, right = (cx + 0.5) / fx, (camera.width_px - 0.5 - cx) / fx
    if camera.distortion_model == "equidistant":
        return float(np.degrees(left + right))
    return float(np.degrees(np.arctan(left) + np.arctan(right)))


def _judge_info(name: str, facts: CameraFacts, topic: str) -> Iterator[Check]:
    if facts.info_refusal and facts.model is None:
        yield Check(
            name=name,
            level=RED,
            found=facts.info_refusal,
            remedy=f"load the camera's calibration into its driver, which publishes it on {topic}",
        )
    elif facts.info_refusal:
        yield Check(
            name=name,
            level=AMBER,
            found=f"some CameraInfo is refused: {facts.info_refusal}",
            remedy=f"look for a second publisher of {topic}",
        )


def _judge_images(name: str, facts: CameraFacts) -> Iterator[Check]:
    for reason, count in facts.refusals.items():
        yield Check(
            name=name,
            level=RED,
            found=f"{count} images are refused: {reason}",
            remedy="mend the driver's settings, or look for lost packets",
        )
    if facts.model is None:
        return
    calibrated = f"{facts.model.width_px} x {facts.model.height_px} px"
    for width, height in facts.sizes_px:
        if not fits_calibration(width, height, facts.model):
            yield Check(
                name=name,
                level=RED,
                found=f"wrong image size: its images have {width} x {height} px, its CameraInfo "
                f"is for {calibrated}",
                remedy="publish the CameraInfo of this image size, or set the driver to the size "
                "that was calibrated",
            )
    if len(facts.sizes_px) > 1:
        sizes = ", ".join(f"{width} x {height}" for width, height in facts.sizes_px)
        yield Check(
            name=name,
            level=AMBER,
            found=f"its images have several sizes: {sizes} px",
            remedy="look for a second publisher of its topic",
        )


def _judge_radar(name: str, facts: RadarFacts, source: RadarSource) -> Iterator[Check]:
    for reason, count in facts.refusals.items():
        yield Check(
            name=name,
            level=RED,
            found=f"{count} scans are refused: {reason}",
            remedy=_fields_remedy(facts, source),
        )
    if not len(facts.returns):
        return
    yield from _judge_returns(name, facts)
    yield from _judge_units(name, facts, source)


def _fields_remedy(facts: RadarFacts, source: RadarSource) -> str:
    """Return which fields may have been meant."""
    guesses, taken = [], set(asdict(source.fields).values())
    for what in source.fields.__dataclass_fields__:
        wanted = getattr(source.fields, what)
        if not wanted or wanted in facts.fields:
            continue
        row = next((row for row in _SYNONYMS if what in row or wanted in row), ())
        free = [item for item in facts.fields if item not in taken]
        found = near_names(wanted, free, _FIELD_SIMILAR) or [i for i in free if i in row]
        if found:
            guesses.append(f"fields.{what}: {found[0]}")
    if guesses:
        return f"did you mean {', '.join(guesses)} (sensor file)? See docs/vehicle/radars.md"
    return "set the radar's fields in the sensor file, as docs/vehicle/radars.md shows"


def _judge_returns(name: str, facts: RadarFacts) -> Iterator[Check]:
    for fault, since_ns in facts.faults.items():
        if fault == EMPTY and facts.returns.any():
            continue  # told below, with what leaves the returns out
        is_certain = fault in CERTAIN
        yield told_of(Finding(sensor=name, fault=fault, since_ns=since_ns, is_certain=is_certain))
    total, kept = int(facts.returns.sum()), int(facts.kept.sum())
    filtered = facts.dropped.get("filtered", 0)
    if total and not kept and filtered > total // 2:
        yield Check(
            name=name,
            level=RED,
            found=f"its filter leaves none of {total} returns",
            remedy="correct 'keep' of the radar in the sensor file",
        )


def _judge_units(name: str, facts: RadarFacts, source: RadarSource) -> Iterator[Check]:
    low, middle, high = facts.range_m
    total = max(int(facts.returns.sum()), 1)
    implausible = facts.dropped.get("implausible", 0) / total
    if high > MAX_RANGE_M and middle > _FAR_M:
        yield Check(
            name=name,
            level=RED,
            found=f"millimetres instead of metres: half of its returns are beyond {middle:.0f} m",
            remedy=f"let the driver give '{source.fields.x}' and '{source.fields.y}' in metres "
            "(divide by 1000)",
        )
    elif high > _FAR_M or (high < _NEAR_M and total > 1):
        yield Check(
            name=name,
            level=AMBER,
            found=f"its returns are {low:.1f} to {high:.1f} m away: no radar of a car sees so",
            remedy="let the driver give positions in metres; look at fields.x and fields.y",
        )
    elif implausible > _IMPLAUSIBLE_SHARE:
        yield Check(
            name=name,
            level=RED,
            found=f"{100 * implausible:.0f} % of its returns cannot be (beyond 1000 m, 150 m/s or "
            "100 dBsm) and are left out",
            remedy="look at the units of its driver: velocity_scale, and fields of the sensor file",
        )
    if facts.speed_mps[2] > _FAST_MPS:
        yield Check(
            name=name,
            level=AMBER,
            found=f"one return in twenty is faster than {facts.speed_mps[2]:.0f} m/s",
            remedy="look whether its speeds are km/h: velocity_scale: 0.27778",
        )
    if facts.rcs_dbsm[2] > _BRIGHT_DBSM:
        yield Check(
            name=name,
            level=AMBER,
            found=f"one cross-section in twenty is above {facts.rcs_dbsm[2]:.0f} dBsm",
            remedy="let the driver give dBsm; or leave the field out with fields.rcs: ''",
        )
