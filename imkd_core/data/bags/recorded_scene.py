# SPDX-License-Identifier: Apache-2.0
"""One recording as values, and as the rows of nuScenes tables.

Beyond what nuScenes has, a sample names the ego pose of its own time (`ego_pose_token`), which is
the reference where there is no LiDAR; a camera's calibration its distortion; a radar's sensor
record how many returns its scans may hold. `nuscenes` reads all three, the devkit ignores them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imkd_core.data.nuscenes.writing import Row, linked, pose_fields, token_of
from imkd_core.geometry import Float64
from imkd_core.types import CameraModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Mount:
    """One sensor of the vehicle.

    Attributes:
        channel: its name in the data set.
        modality: "camera", "radar" or "lidar".
        ego_from_sensor: (4, 4).
        camera: calibration of a camera.
        max_points: returns that a radar scan may hold; 0 for other sensors.
    """

    channel: str
    modality: str
    ego_from_sensor: Float64
    camera: CameraModel | None = None
    max_points: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredFile:
    """One file of one sensor.

    Attributes:
        channel: the sensor.
        stamp_ns: of the measurement; tables hold microseconds.
        filename: below the dataroot.
        key: index of the key frame it belongs to, or that comes next.
        is_key: whether it is that key frame's.
        global_from_ego: (4, 4) at its own stamp.
    """

    channel: str
    stamp_ns: int
    filename: str
    key: int
    is_key: bool
    global_from_ego: Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueObject:
    """One true box of a key frame.

    Attributes:
        category: of nuScenes ("vehicle.car").
        track: the same text at every key frame where the same object is; "" = not tracked.
        global_from_box: (4, 4), x along its length.
        size_m: length, width, height.
        velocity_mps: (2,) in the global frame; NaN where it is not known.
        lidar_points, radar_points: returns in it.
    """

    category: str
    track: str
    global_from_box: Float64
    size_m: tuple[float, float, float]
    velocity_mps: tuple[float, float]
    lidar_points: int
    radar_points: int


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyFrame:
    """A moment for which the truth is known: its stamp, ego pose (4, 4) and objects."""

    stamp_ns: int
    global_from_ego: Float64
    objects: tuple[TrueObject, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedScene:
    """One recording.

    Attributes:
        name: unique in the data set.
        description: a few words.
        mounts: sensors, in the order in which a sample lists them.
        keys: key frames by rising stamp, one at least.
        files: what lies on disk.
    """

    name: str
    description: str
    mounts: tuple[Mount, ...]
    keys: tuple[KeyFrame, ...]
    files: tuple[StoredFile, ...]


def scene_rows(scene: RecordedScene) -> tuple[dict[str, list[Row]], dict[str, list[float]]]:
    """Return table name -> rows of a scene, and annotation token -> velocity (`velocities.json`).

    Objects of one track are chained where none of them has a velocity of its own, so that readers
    derive it from neighbours; where one has, they are not, and the given velocities hold.
    """
    samples = [token_of("sample", scene.name, key) for key in range(len(scene.keys))]
    readings, poses = _reading_rows(scene, samples)
    instances, annotations, velocities = _annotation_rows(scene, samples)
    sample_rows = []
    for key, token, link in zip(scene.keys, samples, linked(samples), strict=True):
        pose_token = token_of("ego_pose", scene.name, token)
        stamp_us = key.stamp_ns // 1000
        poses.append(
            {"token": pose_token, "timestamp": stamp_us, **pose_fields(key.global_from_ego)}
        )
        head = {"token": token, "timestamp": stamp_us, "scene_token": token_of("scene", scene.name)}
        sample_rows.append({**head, **link, "ego_pose_token": pose_token})
    rows = {
        "scene": [_scene_row(scene, samples)],
        "sample": sample_rows,
        "sample_data": readings,
        "ego_pose": poses,
        "instance": instances,
        "sample_annotation": annotations,
        "calibrated_sensor": [_calibration_row(scene.name, mount) for mount in scene.mounts],
    }
    return rows, velocities


def sensor_row(mount: Mount) -> Row:
    """Return the row of the table `sensor`; the same for all scenes with this channel."""
    row = {
        "token": token_of("sensor", mount.channel),
        "channel": mount.channel,
        "modality": mount.modality,
    }
    return {**row, "max_points": mount.max_points} if mount.max_points else row


def _scene_row(scene: RecordedScene, samples: list[str]) -> Row:
    return {
        "token": token_of("scene", scene.name),
        "log_token": token_of("log"),
        "nbr_samples": len(samples),
        "first_sample_token": samples[0],
        "last_sample_token": samples[-1],
        "name": scene.name,
        "description": scene.description,
    }


def _calibration_row(scene: str, mount: Mount) -> Row:
    camera = mount.camera
    row = {
        "token": token_of("calibrated_sensor", scene, mount.channel),
        "sensor_token": token_of("sensor", mount.channel),
        **pose_fields(mount.ego_from_sensor),
        "camera_intrinsic": [] if camera is None else camera.pixel_from_cam.tolist(),
    }
    if camera is not None and any(camera.distortion):
        row["distortion_model"] = camera.distortion_model
        row["distortion"] = list(camera.distortion)
    return row


def _reading_rows(scene: RecordedScene, samples: list[str]) -> tuple[list[Row], list[Row]]:
    """Return the rows of `sample_data` and of `ego_pose`, sensor by sensor."""
    readings: list[Row] = []
    poses: list[Row] = []
    for mount in scene.mounts:
        files = sorted(
            (file for file in scene.files if file.channel == mount.channel),
            key=lambda file: file.stamp_ns,
        )
        tokens = [token_of("sample_data", scene.name, mount.channel, f.stamp_ns) for f in files]
        for file, token, link in zip(files, tokens, linked(tokens), strict=True):
            stamp_us = file.stamp_ns // 1000
            poses.append(
                {"token": token, "timestamp": stamp_us, **pose_fields(file.global_from_ego)}
            )
            readings.append(
                {
                    "token": token,
                    "sample_token": samples[file.key],
                    "ego_pose_token": token,
                    "calibrated_sensor_token": token_of(
                        "calibrated_sensor", scene.name, mount.channel
                    ),
                    "timestamp": stamp_us,
                    "fileformat": "pcd" if mount.camera is None else file.filename.split(".")[-1],
                    "is_key_frame": file.is_key,
                    "height": 0 if mount.camera is None else mount.camera.height_px,
                    "width": 0 if mount.camera is None else mount.camera.width_px,
                    "filename": file.filename,
                    **link,
                }
            )
    return readings, poses


def _annotation_rows(
    scene: RecordedScene, samples: list[str]
) -> tuple[list[Row], list[Row], dict[str, list[float]]]:
    """Return the rows of `instance` and `sample_annotation`, these in the order of the boxes."""
    instances: list[Row] = []
    placed: list[tuple[int, int, Row]] = []
    velocities: dict[str, list[float]] = {}
    for name, track in _tracks(scene.keys).items():
        tokens = [token_of("sample_annotation", scene.name, name, key) for key, _, _ in track]
        given = [(t, list(o.velocity_mps)) for t, (_, _, o) in zip(tokens, track, strict=True)]
        known = {token: mps for token, mps in given if np.isfinite(mps).all()}
        velocities |= known
        links = [row for t in tokens for row in linked([t])] if known else linked(tokens)
        instance = token_of("instance", scene.name, name)
        instances.append(
            {
                "token": instance,
                "category_token": token_of("category", track[0][2].category),
                "nbr_annotations": len(tokens),
                "first_annotation_token": tokens[0],
                "last_annotation_token": tokens[-1],
            }
        )
        for (key, number, item), token, link in zip(track, tokens, links, strict=True):
            head = {"token": token, "sample_token": samples[key], "instance_token": instance}
            placed.append((key, number, {**head, **_box_fields(item), **link}))
    placed.sort(key=lambda entry: entry[:2])
    return instances, [row for _, _, row in placed], velocities


def _box_fields(item: TrueObject) -> Row:
    length, width, height = item.size_m
    return {
        "visibility_token": "",
        "attribute_tokens": [],
        **pose_fields(item.global_from_box),
        "size": [width, length, height],
        "num_lidar_pts": item.lidar_points,
        "num_radar_pts": item.radar_points,
    }


def _tracks(
    keys: Iterable[KeyFrame],
) -> dict[tuple[object, ...], list[tuple[int, int, TrueObject]]]:
    """Return the objects of each track: index of the key frame, number in it, object."""
    tracks: dict[tuple[object, ...], list[tuple[int, int, TrueObject]]] = defaultdict(list)
    for index, key in enumerate(keys):
        for number, item in enumerate(key.objects):
            name = ("track", item.track, item.category) if item.track else ("lone", index, number)
            tracks[name].append((index, number, item))
    return tracks
