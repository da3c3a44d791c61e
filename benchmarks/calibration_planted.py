# SPDX-License-Identifier: Apache-2.0
"""Drives for the judges of calibration, and errors planted into the calibration they are given.

Pictures and scans stay as they are: what is wrong is what the judge is told about them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np

from benchmarks.fault_drives import NODE_WIDTH_PX
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.data.nuscenes.reading import Reading
from imkd_core.data.point_clouds import RADAR_FILE_FIELDS, read_radar_pcd
from imkd_core.geometry import Float64, invert_transform, rigid_transform, transform_points
from imkd_core.health.calibration_camera import pair_of
from imkd_core.health.calibration_radar import Echoes, RadarSettings, echoes_of
from imkd_core.health.calibration_radar_map import MapSettings, StillScan, still_scan
from imkd_core.health.calibration_reprojection import ReprojectionSettings, places_of
from imkd_core.health.calibration_tracks import Grey, TrackSettings, small_grey
from imkd_core.health.calibration_turn import CameraSettings, Pair
from imkd_core.types import CameraImage, CameraModel, Frame, RadarCloud, SensorRig

_Stamped = TypeVar("_Stamped", CameraImage, RadarCloud)

#: Axes of the vehicle that a sensor is turned about.
AXES = ("roll", "pitch", "yaw")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One scan of a radar: (N,) azimuths and radial speeds, and its own (2,) velocity."""

    azimuth_rad: Float64
    radial_mps: Float64
    own_mps: Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """What the judges need of a drive.

    Attributes:
        rig: the true calibration.
        pairs: of each camera, those between which the vehicle moved enough.
        node_pairs: the same, of pictures as the node decodes them for the shipped student.
        scans: of each radar.
        seen: (N, 2) places, in the odometry's frame, of what the node would follow in pictures.
        still: what stands in them, the own motion taken out as it should be.
        period_s: between two pictures of a camera.
    """

    rig: SensorRig
    pairs: Mapping[str, tuple[Pair, ...]]
    node_pairs: Mapping[str, tuple[Pair, ...]]
    scans: Mapping[str, tuple[Scan, ...]]
    seen: Float64
    still: Mapping[str, tuple[StillScan, ...]]
    period_s: float


def open_drive(reader: NuScenes, scene: str) -> Drive:
    """Return a drive; every picture is followed to the next one once."""
    cameras, radars = _by_sensor(reader, scene, "camera"), _by_sensor(reader, scene, "radar")
    seconds = [
        (after.stamp_ns - before.stamp_ns) * 1e-9
        for readings in cameras.values()
        for before, after in pairwise(readings)
    ]
    return Drive(
        rig=SensorRig(
            cameras={name: camera_of(found[0]) for name, found in cameras.items()},
            radars={name: found[0].ego_from_sensor for name, found in radars.items()},
        ),
        pairs={name: tuple(_pairs(found)) for name, found in cameras.items()},
        node_pairs={name: tuple(_pairs(found, NODE_WIDTH_PX)) for name, found in cameras.items()},
        scans={name: tuple(_scans(found)) for name, found in radars.items()},
        seen=_seen(cameras),
        still={name: tuple(_still(found, reader)) for name, found in radars.items()},
        period_s=float(np.median(seconds)) if seconds else 0.0,
    )


def frames(reader: NuScenes, scene: str) -> Iterator[Frame]:
    """Yield a drive as the node has it: a frame for each picture of the first camera."""
    cameras, radars = _by_sensor(reader, scene, "camera"), _by_sensor(reader, scene, "radar")
    before_ns = 0
    for images in zip(*cameras.values(), strict=False):
        stamp_ns = max(image.stamp_ns for image in images)
        new = {
            name: [one for one in reversed(found) if before_ns < one.stamp_ns <= stamp_ns]
            for name, found in radars.items()
        }
        read = [*images, *(scan for scans in new.values() for scan in scans)]
        pose = images[0].global_from_ego
        odom = invert_transform(pose)
        yield Frame(
            stamp_ns=stamp_ns,
            cameras={image.sensor: image.image(NODE_WIDTH_PX) for image in images},
            radars={
                name: tuple(scan.radar_cloud(reader.radar_filter) for scan in scans)
                for name, scans in new.items()
            },
            reference_from_ego={one.stamp_ns: odom @ one.global_from_ego for one in read},
            odom_from_ego=pose,
        )
        before_ns = stamp_ns


def repeated(drive: Sequence[Frame], times: int) -> Iterator[Frame]:
    """Yield the frames of a drive so many times; stamps run on, the vehicle jumps back."""
    length_ns = drive[-1].stamp_ns - drive[0].stamp_ns + 100_000_000
    for shift_ns in range(0, times * length_ns, length_ns):
        for frame in drive:
            yield replace(
                frame,
                stamp_ns=frame.stamp_ns + shift_ns,
                cameras={n: _later(image, shift_ns) for n, image in frame.cameras.items()},
                radars={
                    n: tuple(_later(scan, shift_ns) for scan in scans)
                    for n, scans in frame.radars.items()
                },
                reference_from_ego={
                    stamp_ns + shift_ns: pose for stamp_ns, pose in frame.reference_from_ego.items()
                },
            )


def _later(reading: _Stamped, shift_ns: int) -> _Stamped:
    return replace(reading, stamp_ns=reading.stamp_ns + shift_ns)


def camera_of(reading: Reading) -> CameraModel:
    """Return the calibration of a camera's reading.

    Raises:
        TypeError: it is of another sensor.
    """
    if reading.camera is None:
        raise TypeError(f"'{reading.sensor}' is no camera")
    return reading.camera


def turned(camera: CameraModel, axis: str, degrees: float) -> CameraModel:
    """Return a camera calibrated as if it were turned about an axis of the vehicle."""
    vector = np.radians(degrees) * np.eye(3)[AXES.index(axis)]
    rotation = cv2.Rodrigues(vector)[0] @ camera.ego_from_cam[:3, :3]
    return replace(camera, ego_from_cam=rigid_transform(rotation, camera.ego_from_cam[:3, 3]))


def swapped(cameras: Mapping[str, CameraModel], one: str, other: str) -> dict[str, CameraModel]:
    """Return the cameras with two calibrations exchanged."""
    return {**cameras, one: cameras[other], other: cameras[one]}


def echoes(
    scans: Sequence[Scan], degrees: float, factor: float, settings: RadarSettings
) -> list[Echoes]:
    """Return what scans tell whose radar is turned against its calibration, its speeds scaled."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    found = [
        echoes_of(scan.azimuth_rad, factor * scan.radial_mps, turn @ scan.own_mps, settings)
        for scan in scans
    ]
    return [one for one in found if one is not None]


def laid_otherwise(scans: Sequence[StillScan], degrees: float) -> list[StillScan]:
    """Return scans whose radar is calibrated as if it were turned, counter-clockwise."""
    turn = rigid_transform(cv2.Rodrigues(np.radians(degrees) * np.eye(3)[2])[0], (0, 0, 0))
    return [replace(scan, odom_from_radar=scan.odom_from_radar @ turn) for scan in scans]


def _by_sensor(reader: NuScenes, scene: str, modality: str) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = {}
    for reading in reader.readings(scene):
        if reading.modality == modality:
            found.setdefault(reading.sensor, []).append(reading)
    return found


def _pairs(readings: Sequence[Reading], width_px: int | None = None) -> Iterator[Pair]:
    seen = ((reading, _grey(reading, width_px)) for reading in readings)
    for before, now in pairwise(seen):
        pair = _pair(before, now)
        if pair is not None:
            yield pair


def _grey(reading: Reading, width_px: int | None) -> Grey:
    return small_grey(reading.image(width_px).pixels, TrackSettings())


def _pair(before: tuple[Reading, Grey], now: tuple[Reading, Grey]) -> Pair | None:
    (was, first), (new, second) = before, now
    moved = invert_transform(new.global_from_ego) @ was.global_from_ego
    gap_s = (new.stamp_ns - was.stamp_ns) * 1e-9
    return pair_of(first, second, moved, gap_s, TrackSettings(), CameraSettings())


def _seen(cameras: Mapping[str, Sequence[Reading]]) -> Float64:
    """Return what the node sees, which follows one camera in turn in every second frame."""
    places, turns = [np.zeros((0, 2))], 2 * len(cameras)
    for turn, readings in enumerate(cameras.values()):
        for before, now in list(pairwise(readings))[2 * turn :: turns]:
            first, second = ((one, _grey(one, NODE_WIDTH_PX)) for one in (before, now))
            pair = _pair(first, second)
            if pair is not None:
                found = places_of(camera_of(now), pair, ReprojectionSettings())
                places.append(transform_points(now.global_from_ego, found)[:, :2])
    return np.concatenate(places)


def _scans(readings: Sequence[Reading]) -> Iterator[Scan]:
    for before, reading in pairwise(readings):
        points = read_radar_pcd(reading.path, max_points=reading.max_points)
        x, y, vx, vy = (
            points[:, RADAR_FILE_FIELDS.index(name)].astype(np.float64)
            for name in ("x", "y", "vx", "vy")
        )
        azimuth = np.arctan2(y, x)
        pose = reading.global_from_ego @ reading.ego_from_sensor
        moved_m = pose[:3, 3] - (before.global_from_ego @ before.ego_from_sensor)[:3, 3]
        seconds = (reading.stamp_ns - before.stamp_ns) * 1e-9
        yield Scan(
            azimuth_rad=azimuth,
            radial_mps=vx * np.cos(azimuth) + vy * np.sin(azimuth),
            own_mps=invert_transform(pose)[:2, :3] @ moved_m / seconds,
        )


def _still(readings: Sequence[Reading], reader: NuScenes) -> Iterator[StillScan]:
    for reading in readings:
        pose = reading.global_from_ego @ reading.ego_from_sensor
        yield still_scan(reading.radar_cloud(reader.radar_filter), pose, MapSettings())
