# SPDX-License-Identifier: Apache-2.0
"""Recordings with true boxes -> a training set in the nuScenes layout. No ROS is needed.

    convert([Path("drive-1"), Path("drive-2")], Path("data/mine"), topics, ImportOptions())
    nuscenes = NuScenes(Path("data/mine"), "v1.0-recorded")

One recording is one scene; every message of true boxes is a key frame. Topics, fields and frames
are those of the node's sensor file, and messages are read by the node's own converters, so what is
trained on is what the vehicle will see. Poses come from TF or odometry and intrinsics from
CameraInfo; lenses stay as they are, for `imkd_core.imaging` undistorts in training and on the
vehicle alike. The frame that stands still becomes nuScenes' global frame.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imkd_core.data.bags.key_frames import Placed, place_readings
from imkd_core.data.bags.recorded_dataset import DatasetWriter, reading_path
from imkd_core.data.bags.recorded_scene import (
    KeyFrame,
    Mount,
    RecordedScene,
    StoredFile,
    TrueObject,
)
from imkd_core.data.bags.recording import Bag, BagMessage, open_bag
from imkd_core.errors import ConfigError, DataError, SensorError
from imkd_core.geometry import (
    Float64,
    invert_transform,
    points_in_box,
    rigid_transform,
    rotate_vectors,
    transform_points,
)
from imkd_ros.bridge.convert import stamp_ns
from imkd_ros.bridge.ground_truth import TrueBoxes
from imkd_ros.bridge.storing import (
    FileContent,
    image_content,
    lidar_content,
    radar_content,
    write_content,
)
from imkd_ros.bridge.survey import LIDAR, Survey, Topics, offset_ns, survey

#: Called with (messages read, messages in all, name of the recording).
OnMessage = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How recordings become samples.

    Attributes:
        tolerance_s: a key frame takes no reading further away in time than this.
        with_camera_sweeps: images between key frames too; radar and LiDAR sweeps always are.
        lossless: raw images become PNG files, not JPEG files of quality 95.
        intensity_scale: the LiDAR's intensities times this are 0..255.

    Raises:
        ConfigError: an impossible number.
    """

    tolerance_s: float = 0.06
    with_camera_sweeps: bool = False
    lossless: bool = False
    intensity_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if not 0 <= self.tolerance_s <= 10:
            raise ConfigError(f"the tolerance must be 0 to 10 s, got {self.tolerance_s}")
        if not 0 < self.intensity_scale < 1e6:
            raise ConfigError(f"the intensity scale must be above 0, got {self.intensity_scale}")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was made of one recording.

    Attributes:
        scene: its name.
        key_frames: number of samples.
        objects: number of true boxes.
        absent: channel -> key frames without it.
        dropped: reason -> number of messages and key frames that could not be used.
    """

    scene: str
    key_frames: int
    objects: int
    absent: Mapping[str, int]
    dropped: Mapping[str, int]


def convert(
    bags: Sequence[Path],
    output: Path,
    topics: Topics,
    options: ImportOptions,
    on_message: OnMessage | None = None,
) -> list[Converted]:
    """Convert recordings to one data set; it appears when it is complete.

    Args:
        bags: recordings, each with true boxes.
        output: the dataroot to make; it must not be there.
        topics: what to take of them.
        options: how.
        on_message: for progress.

    Raises:
        DataError: a recording lacks something or is damaged, or the data set cannot be written.
        CalibrationError: a sensor's calibration or the vehicle's poses are missing.
    """
    categories = tuple(sorted({name for name in topics.classes.values() if name}))
    done = []
    with DatasetWriter(output, categories) as writer:
        for path, name in zip(bags, _scene_names(bags), strict=True):
            with open_bag(path) as bag:
                scene = _Scene(bag, name, topics, options, writer.root, on_message)
                recorded, report = scene.convert()
            writer.add(recorded)
            done.append(report)
    return done


@dataclass(eq=False)
class _Scene:
    """One recording on its way."""

    bag: Bag
    name: str
    topics: Topics
    options: ImportOptions
    root: Path
    on_message: OnMessage | None
    dropped: Counter[str] = field(default_factory=Counter)
    points_global: dict[int, dict[str, Float64]] = field(default_factory=dict)
    read: int = 0

    def convert(self) -> tuple[RecordedScene, Converted]:
        found = survey(self.bag, self.topics, self._tick)
        self.dropped = found.dropped
        truths = self._placed_truths(found)
        keys_ns = [truth.stamp_ns for truth, _ in truths]
        files = self._write_files(found, keys_ns)
        keys = tuple(
            self._key_frame(index, truth, pose, found) for index, (truth, pose) in enumerate(truths)
        )
        self._require_readings(found, files, len(keys))
        scene = RecordedScene(
            name=self.name,
            description=f"recorded: {self.bag.path.name}",
            mounts=found.mounts,
            keys=keys,
            files=tuple(files),
        )
        if self.on_message is not None:
            self.on_message(self.read, self.read, self.name)
        at_keys = Counter(file.channel for file in files if file.is_key)
        return scene, Converted(
            scene=self.name,
            key_frames=len(keys),
            objects=sum(len(key.objects) for key in keys),
            absent={
                mount.channel: len(keys) - at_keys[mount.channel]
                for mount in found.mounts
                if at_keys[mount.channel] < len(keys)
            },
            dropped=dict(self.dropped),
        )

    def _tick(self) -> None:
        self.read += 1
        if self.on_message is not None:
            total = max(2 * self.bag.message_count, self.read)
            self.on_message(self.read, total, self.name)

    def _placed_truths(self, found: Survey) -> list[tuple[TrueBoxes, Float64]]:
        """Return the truth of each key frame with the vehicle's pose; drop those without."""
        placed = []
        for truth in found.truths:
            pose = found.poses.pose_at(truth.stamp_ns)
            if pose is None:
                self.dropped["key frame without a pose of the vehicle"] += 1
            else:
                placed.append((truth, pose))
        if not placed:
            first, last = found.poses.span_ns or (0, 0)
            raise DataError(
                f"{self.bag.path}: the vehicle's poses ({first}..{last} ns) reach none of its "
                f"{len(found.truths)} true boxes' stamps; the two must use one clock"
            )
        return placed

    def _write_files(self, found: Survey, keys_ns: list[int]) -> list[StoredFile]:
        wanted = {
            mount.channel: {p.stamp_ns: p for p in self._place(mount, found, keys_ns)}
            for mount in found.mounts
        }
        mounts = {mount.channel: mount for mount in found.mounts}
        files = []
        for message in self.bag.messages(list(found.channel_of_topic)):
            channel = found.channel_of_topic[message.topic]
            file = self._take(message, mounts[channel], wanted[channel], found)
            if file is not None:
                files.append(file)
            self._tick()
        return files

    def _take(
        self, message: BagMessage, mount: Mount, wanted: dict[int, Placed], found: Survey
    ) -> StoredFile | None:
        """Write the file of a message that is wanted; None for others and broken ones."""
        try:
            decoded = self.bag.decode(message)
        except DataError:
            return None  # counted by the survey
        try:
            offset = offset_ns(self.topics.sensors, mount.channel)
            placed = wanted.pop(stamp_ns(decoded.header, mount.channel) + offset, None)
            if placed is None:
                return None
            content = self._content(decoded, mount, placed, found)
        except SensorError as error:
            self.dropped[f"{message.topic}: {error}"] += 1
            return None
        return self._write_file(content, mount, placed, found)

    def _content(self, message: Any, mount: Mount, placed: Placed, found: Survey) -> FileContent:
        if mount.camera is not None:
            return image_content(message, mount, self.options.lossless)
        if mount.modality == "lidar":
            return lidar_content(message, mount, self.options.intensity_scale)
        source = self.topics.sensors.radars[mount.channel]
        velocity_mps = None
        if not source.velocity_is_compensated:
            velocity_mps = found.motion.velocity_of(mount.ego_from_sensor, placed.stamp_ns)
        return radar_content(message, mount, source, velocity_mps)

    def _place(self, mount: Mount, found: Survey, keys_ns: list[int]) -> list[Placed]:
        """Return the readings of a sensor to write: those whose pose is known."""
        by_us = {stamp // 1000: stamp for stamp in reversed(found.stamps_ns[mount.channel])}
        known = [s for s in sorted(by_us.values()) if found.poses.pose_at(s) is not None]
        with_sweeps = mount.camera is None or self.options.with_camera_sweeps
        tolerance_ns = round(self.options.tolerance_s * 1e9)
        return list(place_readings(known, keys_ns, tolerance_ns, with_sweeps))

    def _write_file(
        self, content: FileContent, mount: Mount, placed: Placed, found: Survey
    ) -> StoredFile:
        filename = reading_path(
            mount.channel, self.name, placed.stamp_ns, content.suffix, placed.is_key
        )
        write_content(self.root / filename, content, mount)
        pose = _pose_at(found, placed.stamp_ns)
        if mount.camera is None and placed.is_key:
            points_global = transform_points(pose @ mount.ego_from_sensor, content.points)
            self.points_global.setdefault(placed.key, {})[mount.channel] = points_global
        return StoredFile(
            channel=mount.channel,
            stamp_ns=placed.stamp_ns,
            filename=filename,
            key=placed.key,
            is_key=placed.is_key,
            global_from_ego=pose,
        )

    def _key_frame(self, index: int, truth: TrueBoxes, pose: Float64, found: Survey) -> KeyFrame:
        ego_from_boxes = found.ego_from_truth[truth.frame_id]
        global_from_boxes = np.eye(4) if ego_from_boxes is None else pose @ ego_from_boxes
        points = self.points_global.pop(index, {})
        lidar = points.pop(LIDAR, None)
        radar = np.concatenate([np.zeros((0, 3)), *points.values()])
        objects = [
            _true_object(truth, i, global_from_boxes, lidar, radar) for i in range(len(truth.boxes))
        ]
        return KeyFrame(stamp_ns=truth.stamp_ns, global_from_ego=pose, objects=tuple(objects))

    def _require_readings(self, found: Survey, files: list[StoredFile], keys: int) -> None:
        """Refuse a recording of which a sensor gave nothing, or a key frame has no reading."""
        written = {file.channel for file in files if file.is_key}
        silent = [mount.channel for mount in found.mounts if mount.channel not in written]
        reasons = "; ".join(f"{count} x {text}" for text, count in self.dropped.items())
        if silent:
            raise DataError(
                f"{self.bag.path}: no key frame has a reading of {', '.join(silent)} within "
                f"{self.options.tolerance_s:g} s ({reasons or 'its stamps are elsewhere'}); mend "
                "the clock, raise --tolerance-s, or take the sensor out of the sensor file"
            )
        empty = keys - len({file.key for file in files if file.is_key})
        if empty:
            raise DataError(
                f"{self.bag.path}: {empty} of {keys} key frames have no reading of any sensor "
                f"within {self.options.tolerance_s:g} s ({reasons or 'gaps in the recording'}); "
                "raise --tolerance-s, or cut the recording"
            )


def _true_object(
    truth: TrueBoxes, i: int, global_from_boxes: Float64, lidar: Float64 | None, radar: Float64
) -> TrueObject:
    boxes = truth.boxes
    yaw = float(boxes.yaw_rad[i])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    pose = global_from_boxes @ rigid_transform(turn, boxes.center_m[i])
    size = boxes.size_m[i].astype(np.float64)
    vx, vy, _ = rotate_vectors(global_from_boxes, [*boxes.velocity_mps[i].astype(float), 0.0])
    told = int(truth.lidar_points[i])
    if told < 0:  # without LiDAR nobody can say; 1 keeps the box in training and evaluation
        told = 1 if lidar is None else _count(lidar, pose, size)
    return TrueObject(
        category=truth.categories[i],
        track=truth.tracks[i],
        global_from_box=pose,
        size_m=(float(size[0]), float(size[1]), float(size[2])),
        velocity_mps=(float(vx), float(vy)),
        lidar_points=told,
        radar_points=_count(radar, pose, size),
    )


def _pose_at(found: Survey, stamp: int) -> Float64:
    pose = found.poses.pose_at(stamp)
    if pose is None:
        raise DataError(f"no pose of the vehicle at {stamp} ns; record its poses throughout")
    return pose


def _count(points_global: Float64, global_from_box: Float64, size_m: Float64) -> int:
    points_box = transform_points(invert_transform(global_from_box), points_global)
    return int(points_in_box(points_box, np.zeros(3), size_m, 0.0).sum())


def _scene_names(bags: Sequence[Path]) -> list[str]:
    """Return the name of each recording, with a number where it stands twice."""
    if not bags:
        raise ConfigError("name one recording at least")
    names: list[str] = []
    for path in bags:
        stem = path.resolve().stem if path.suffix in (".mcap", ".db3") else path.resolve().name
        base = "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)
        number = 1
        name = base
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names
