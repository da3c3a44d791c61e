# SPDX-License-Identifier: Apache-2.0
"""Writes one drive: sensor files in the nuScenes layout, and the rows of its tables."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.data.nuscenes.writing import Row, linked, pose_fields, token_of
from imkd_core.data.point_writing import write_lidar_bin, write_radar_pcd
from imkd_core.errors import DataError
from imkd_core.evaluation.results import write_atomic
from imkd_core.geometry import Float64, transform_points
from imkd_core.simulation.annotations import Sighting, annotation_rows, sight
from imkd_core.simulation.camera import cameras as camera_sensor
from imkd_core.simulation.ranging import lidar as lidar_sensor
from imkd_core.simulation.ranging import radar as radar_sensor
from imkd_core.simulation.rig import lidar_mount, make_cameras, make_radars
from imkd_core.simulation.schedule import (
    CHANNELS,
    FIRST_KEY_US,
    KEY_PERIOD_US,
    LIDAR,
    Measurement,
    key_count,
    measurements,
)
from imkd_core.simulation.tables import calibration_token, drive_rows_path
from imkd_core.simulation.world.drive import Drive

JPEG_QUALITY = 90

#: Time stamp at which the first drive of a data set begins; each has an hour of its own.
EPOCH_US = 1_700_000_000_000_000
DRIVE_PERIOD_US = 3_600_000_000


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What is written of a drive.

    Attributes:
        size_px: width and height of images.
        with_camera_sweeps: images between key frames too.
    """

    size_px: tuple[int, int] = (1600, 900)
    with_camera_sweeps: bool = False


class DriveWriter:
    """Writes the files of one drive to a folder and collects its rows.

    Args:
        drive: what to measure.
        folder: in which `samples` and `sweeps` are made.
        options: what is written.
        start_us: stamp of the drive's time 0.
    """

    def __init__(self, drive: Drive, folder: Path, options: WriteOptions, start_us: int) -> None:
        self._drive, self._folder, self._options = drive, folder, options
        self._start_us = start_us
        self._cameras = make_cameras(options.size_px)
        self._radars, self._lidar = make_radars(), lidar_mount()
        self._keys = key_count(drive.duration_s)
        self._returns: dict[tuple[str, int], Float64] = {}
        self._readings: list[Row] = []
        self._poses: list[Row] = []

    def write(self, on_key: Callable[[int, int], None] | None = None) -> dict[str, object]:
        """Write all files; return table name -> rows, and "condition".

        Args:
            on_key: called with (key frames written, key frames in all).

        Raises:
            DataError: a file cannot be written.
        """
        samples = [token_of("sample", self._drive.name, key) for key in range(self._keys)]
        pending = {name: self._plan(name) for name in CHANNELS}
        sightings: list[list[Sighting]] = []
        for key in range(self._keys):
            for found in pending.values():
                for measurement in found:
                    if measurement.key == key:
                        self._measure(measurement)
            sightings.append(self._sight(key))
            if on_key is not None:
                on_key(key + 1, self._keys)
        for found in pending.values():
            self._add_rows(found, samples)
        instances, annotations = annotation_rows(self._drive.name, samples, sightings)
        return {
            "condition": self._drive.condition.name,
            "scene": [self._scene(samples)],
            "sample": self._samples(samples),
            "sample_data": self._readings,
            "ego_pose": self._poses,
            "instance": instances,
            "sample_annotation": annotations,
        }

    def _plan(self, channel: str) -> tuple[Measurement, ...]:
        is_camera = channel in self._cameras
        sweeps = self._options.with_camera_sweeps or not is_camera
        return measurements(channel, self._keys, sweeps)

    def _measure(self, measurement: Measurement) -> None:
        """Write one file; of key frames, keep where the returns are."""
        channel, time_s = measurement.channel, measurement.time_us * 1e-6
        path = self._folder / self._filename(measurement)
        rng = np.random.default_rng(
            (self._drive.seed, CHANNELS.index(channel) + 1, measurement.time_us)
        )
        snapshot = self._drive.snapshot(time_s)
        if channel in self._cameras:
            camera = self._cameras[channel]
            pose = snapshot.global_from_ego @ camera.ego_from_cam
            write_atomic(path, _as_jpeg(camera_sensor.render(snapshot, camera, pose, rng)))
            return
        if channel == LIDAR:
            pose = snapshot.global_from_ego @ self._lidar
            points = lidar_sensor.scan(snapshot, pose, rng)
            write_lidar_bin(path, points)
            found = points[:, :3]
        else:
            pose = snapshot.global_from_ego @ self._radars[channel]
            yaw_rate = self._drive.ego.pose(time_s)[3]
            records = radar_sensor.scan(snapshot, pose, rng, yaw_rate)
            write_radar_pcd(path, records)
            found = np.column_stack([records[name] for name in ("x", "y", "z")])
        if measurement.is_key:
            self._returns[channel, measurement.key] = transform_points(pose, found)

    def _sight(self, key: int) -> list[Sighting]:
        snapshot = self._drive.snapshot((FIRST_KEY_US + key * KEY_PERIOD_US) * 1e-6)
        radar = [self._returns.pop((name, key)) for name in self._radars]
        lidar = self._returns.pop((LIDAR, key))
        return sight(snapshot, self._cameras, lidar, np.concatenate(radar))

    def _add_rows(self, found: tuple[Measurement, ...], samples: list[str]) -> None:
        """Add the rows of `sample_data` and `ego_pose` of one channel."""
        names = [token_of("sample_data", self._drive.name, m.channel, m.time_us) for m in found]
        for measurement, token, link in zip(found, names, linked(names), strict=True):
            stamp_us = self._start_us + measurement.time_us
            is_camera = measurement.channel in self._cameras
            width, height = self._options.size_px if is_camera else (0, 0)
            pose = self._drive.ego_pose(measurement.time_us * 1e-6)
            self._poses.append({"token": token, "timestamp": stamp_us, **pose_fields(pose)})
            self._readings.append(
                {
                    "token": token,
                    "sample_token": samples[measurement.key],
                    "ego_pose_token": token,
                    "calibrated_sensor_token": calibration_token(
                        measurement.channel, self._options.size_px
                    ),
                    "timestamp": stamp_us,
                    "fileformat": "jpg" if is_camera else "pcd",
                    "is_key_frame": measurement.is_key,
                    "height": height,
                    "width": width,
                    "filename": self._filename(measurement),
                    **link,
                }
            )

    def _filename(self, measurement: Measurement) -> str:
        channel = measurement.channel
        folder = "samples" if measurement.is_key else "sweeps"
        suffix = {"C": "jpg", "R": "pcd", "L": "pcd.bin"}[channel[0]]
        stamp_us = self._start_us + measurement.time_us
        return f"{folder}/{channel}/{self._drive.name}__{channel}__{stamp_us}.{suffix}"

    def _scene(self, samples: list[str]) -> Row:
        return {
            "token": token_of("scene", self._drive.name),
            "log_token": token_of("log"),
            "nbr_samples": len(samples),
            "first_sample_token": samples[0],
            "last_sample_token": samples[-1],
            "name": self._drive.name,
            "description": self._drive.description,
        }

    def _samples(self, samples: list[str]) -> list[Row]:
        first_us = self._start_us + FIRST_KEY_US
        return [
            {
                "token": token,
                "timestamp": first_us + key * KEY_PERIOD_US,
                **link,
                "scene_token": token_of("scene", self._drive.name),
            }
            for key, (token, link) in enumerate(zip(samples, linked(samples), strict=True))
        ]


def write_drive(
    drive: Drive,
    output: Path,
    options: WriteOptions,
    number: int,
    on_key: Callable[[int, int], None] | None = None,
) -> None:
    """Write a drive to a dataroot: files first, in a hidden folder, its rows last.

    A drive counts as written when `drives/<scene>.json` is there.

    Args:
        drive: what to write.
        output: the dataroot.
        options: what of it.
        number: of the drive in the data set, for its time stamps.
        on_key: called with (key frames written, key frames in all).

    Raises:
        DataError: the disk is full or not writable.
    """
    hidden = output / f".{drive.name}-part"
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        start_us = EPOCH_US + number * DRIVE_PERIOD_US
        rows = DriveWriter(drive, hidden, options, start_us).write(on_key)
        for source in sorted(path for path in hidden.rglob("*") if path.is_file()):
            target = output / source.relative_to(hidden)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        write_atomic(drive_rows_path(output, drive.name), json.dumps(rows).encode())
    except OSError as error:
        raise DataError(
            f"cannot write {output} ({error.strerror}); free some space and run the same command "
            "again: finished drives are kept"
        ) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _as_jpeg(image: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return encoded.tobytes()
