# SPDX-License-Identifier: Apache-2.0
"""A first look through a recording: calibration, poses, stamps and truth. No ROS in here.

Nothing of an image or a scan is kept but its stamp; `imkd_ros.bag_dataset` reads them again.
"""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from imkd_core.data.bags.recorded_scene import Mount
from imkd_core.data.bags.recording import Bag
from imkd_core.errors import CalibrationError, DataError, ImkdError
from imkd_core.geometry import Float64
from imkd_core.runtime.ego_motion import PoseBuffer
from imkd_core.runtime.transform_tree import TransformTree
from imkd_ros.bridge.calibration import CalibrationStore
from imkd_ros.bridge.convert import stamp_ns
from imkd_ros.bridge.ground_truth import TrueBoxes, read_boxes
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.sensors import CameraSource, SensorSet

#: Channel of the LiDAR in a data set: the name that nuScenes' readers look for.
LIDAR = "LIDAR_TOP"

TF_TOPIC = "/tf"
TF_STATIC_TOPIC = "/tf_static"

#: A recording keeps all of its poses.
_ALL = 10**18


@dataclass(frozen=True, kw_only=True)
class Topics:
    """What of a recording is taken, and where from.

    Attributes:
        sensors: topics, frames and fields of cameras and radars.
        truth: topic of `vision_msgs/Detection3DArray`.
        objects: topic of the objects table, with velocities; it may be absent, or empty.
        lidar: topic of a `PointCloud2`; empty = no LiDAR.
        base_frame: TF frame of the vehicle.
        ego_frame: TF frame that stands still.
        odometry: topic of `nav_msgs/Odometry`; empty = the vehicle's poses come from TF.
        classes: of `ground_truth.class_map`.
    """

    sensors: SensorSet
    truth: str
    objects: str
    lidar: str
    base_frame: str
    ego_frame: str
    odometry: str
    classes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """What a recording holds.

    Attributes:
        mounts: the sensors, calibrated; cameras and radars in the order of the sensor file.
        stamps_ns: channel -> stamps of its readings, rising, one each microsecond at most.
        channel_of_topic: topic that readings come on -> channel.
        truths: true boxes by rising stamp.
        poses: of the vehicle, in the frame that stands still.
        motion: the same, for velocities of sensors.
        ego_from_truth: frame of true boxes -> (4, 4); None for boxes in the frame that stands
            still.
        dropped: reason -> messages that could not be used.
    """

    mounts: tuple[Mount, ...]
    stamps_ns: Mapping[str, list[int]]
    channel_of_topic: Mapping[str, str]
    truths: tuple[TrueBoxes, ...]
    poses: PoseBuffer
    motion: EgoMotion
    ego_from_truth: Mapping[str, Float64 | None]
    dropped: Counter[str] = field(default_factory=Counter)


def survey(bag: Bag, topics: Topics, on_message: Callable[[], None]) -> Survey:
    """Look through a recording.

    Args:
        bag: open.
        topics: what to take.
        on_message: called after every message.

    Raises:
        DataError: a topic is missing or empty, time goes back, or the truth cannot be read.
        CalibrationError: a sensor's calibration or the vehicle's poses are missing.
    """
    return _Surveyor(bag, topics).run(on_message)


class _Surveyor:
    def __init__(self, bag: Bag, topics: Topics) -> None:
        self._bag, self._topics = bag, topics
        self._tree = TransformTree()
        self._poses = PoseBuffer(keep_ns=_ALL, max_poses=_ALL)
        self._motion = EgoMotion(
            self._tree, topics.ego_frame, topics.base_frame, bool(topics.odometry), self._poses
        )
        self._store = CalibrationStore(topics.sensors, self._tree, topics.base_frame)
        self._infos: dict[str, tuple[object, ...]] = {}
        self._stamps_ns: dict[str, list[int]] = defaultdict(list)
        self._lidar_frame = ""
        self._arrays: dict[int, Any] = {}
        self._tables: dict[int, Any] = {}
        self._dropped: Counter[str] = Counter()
        self._channels = _channels(bag, topics)
        self._handlers = self._make_handlers()

    def run(self, on_message: Callable[[], None]) -> Survey:
        for wanted in ({TF_STATIC_TOPIC}, set(self._handlers) - {TF_STATIC_TOPIC}):
            for message in self._bag.messages(wanted & set(self._bag.topics)):
                self._handle(message)
                on_message()
        if self._poses.jumps:
            raise DataError(
                f"{self._bag.path}: time goes back in its poses (a recording that was played in a "
                "loop, or two clocks); cut it where it does, and convert the parts"
            )
        truths = self._truths()
        return Survey(
            mounts=self._mounts(),
            stamps_ns=self._stamps_ns,
            channel_of_topic=self._channels,
            truths=truths,
            poses=self._checked_poses(),
            motion=self._motion,
            ego_from_truth={name: self._ego_from(name) for name in {t.frame_id for t in truths}},
            dropped=self._dropped,
        )

    def _handle(self, message: Any) -> None:
        topic = message.topic
        try:
            self._handlers[topic](self._bag.decode(message), message.stamp_ns)
        except ImkdError as error:
            if topic in (self._topics.truth, self._topics.objects):
                raise
            if isinstance(error, CalibrationError) and topic in self._info_topics:
                raise
            self._dropped[f"{topic}: {error}"] += 1

    def _make_handlers(self) -> dict[str, Callable[[Any, int], None]]:
        topics = self._topics
        handlers: dict[str, Callable[[Any, int], None]] = {
            TF_TOPIC: partial(self._on_transforms, False),
            TF_STATIC_TOPIC: partial(self._on_transforms, True),
            topics.truth: partial(self._on_truth, self._arrays),
        }
        if topics.objects:
            handlers[topics.objects] = partial(self._on_truth, self._tables)
        if topics.odometry:
            handlers[topics.odometry] = self._motion.on_odometry
        for topic, channel in self._channels.items():
            handlers[topic] = partial(self._on_reading, channel)
        for name, camera in topics.sensors.cameras.items():
            handlers[camera.camera_info] = partial(self._on_camera_info, name)
        self._info_topics = {c.camera_info for c in topics.sensors.cameras.values()}
        return handlers

    def _on_transforms(self, is_static: bool, message: Any, now_ns: int) -> None:
        for item in message.transforms:
            self._motion.on_transform(item, is_static, now_ns)

    def _on_truth(self, found: dict[int, Any], message: Any, _: int) -> None:
        found[stamp_ns(message.header, "ground truth")] = message

    def _on_reading(self, channel: str, message: Any, _: int) -> None:
        stamp = stamp_ns(message.header, channel) + offset_ns(self._topics.sensors, channel)
        if channel in self._topics.sensors.radars:
            self._store.on_radar_frame(channel, str(message.header.frame_id))
        elif channel == LIDAR:
            self._lidar_frame = str(message.header.frame_id)
        insort(self._stamps_ns[channel], stamp)

    def _on_camera_info(self, sensor: str, message: Any, _: int) -> None:
        self._store.on_camera_info(sensor, message)
        numbers = (message.width, message.height, tuple(message.k), tuple(message.d))
        if self._infos.setdefault(sensor, numbers) != numbers:
            raise CalibrationError(
                f"{self._bag.path}: the CameraInfo of '{sensor}' changes within the recording; cut "
                "it where it does, and convert the parts"
            )

    def _truths(self) -> tuple[TrueBoxes, ...]:
        return tuple(self._truth(*item) for item in sorted(self._arrays.items()))

    def _truth(self, stamp: int, message: Any) -> TrueBoxes:
        try:
            return read_boxes(message, self._tables.get(stamp), self._topics.classes)
        except ImkdError as error:
            raise DataError(
                f"{self._bag.path}, {self._topics.truth} at {stamp} ns: {error}"
            ) from None

    def _mounts(self) -> tuple[Mount, ...]:
        self._store.refresh()
        if self._store.missing:
            texts = (f"{name}: {text}" for name, text in self._store.missing.items())
            raise CalibrationError(f"{self._bag.path}: {'; '.join(texts)}")
        rig, radars = self._store.rig, self._topics.sensors.radars
        mounts = [
            Mount(channel=n, modality="camera", ego_from_sensor=c.ego_from_cam, camera=c)
            for n, c in rig.cameras.items()
        ]
        mounts += [
            Mount(
                channel=name,
                modality="radar",
                ego_from_sensor=pose,
                max_points=radars[name].max_points,
            )
            for name, pose in rig.radars.items()
        ]
        if self._topics.lidar:
            pose = self._tree.lookup(self._topics.base_frame, self._lidar_frame, None)
            mounts.append(Mount(channel=LIDAR, modality="lidar", ego_from_sensor=pose))
        return tuple(mounts)

    def _checked_poses(self) -> PoseBuffer:
        if len(self._poses) < 2:
            source = self._topics.odometry or (
                f"TF {self._topics.ego_frame} <- {self._topics.base_frame}"
            )
            raise CalibrationError(
                f"{self._bag.path} holds {len(self._poses)} poses of the vehicle ({source}); "
                "record them, or name their source with --ego-frame and --base-frame, or with "
                "--odometry"
            )
        return self._poses

    def _ego_from(self, frame_id: str) -> Float64 | None:
        """Return (4, 4) of a frame fixed to the vehicle; None for the frame that stands still."""
        if frame_id == self._topics.ego_frame:
            return None
        try:
            return self._tree.lookup(self._topics.base_frame, frame_id, 0)
        except CalibrationError as error:
            raise DataError(
                f"{self._bag.path}: the true boxes are in the frame '{frame_id}', which is neither "
                f"fixed to {self._topics.base_frame} nor {self._topics.ego_frame} ({error}); name "
                "the frame that stands still with --ego-frame"
            ) from None


def offset_ns(sensors: SensorSet, channel: str) -> int:
    """Return what is added to every stamp of a channel."""
    if channel in sensors.cameras:
        return sensors.cameras[channel].stamp_offset_ns
    return sensors.radars[channel].stamp_offset_ns if channel in sensors.radars else 0


def _channels(bag: Bag, topics: Topics) -> dict[str, str]:
    """Return the topic of each sensor's readings; refuse a recording that lacks one."""
    channels = {}
    missing = []
    for name, camera in topics.sensors.cameras.items():
        topic = _image_topic(bag, camera)
        channels[topic] = name
        missing += [t for t in (topic, camera.camera_info) if _is_absent(bag, t)]
    for name, radar in topics.sensors.radars.items():
        channels[radar.points] = name
        missing += [radar.points] if _is_absent(bag, radar.points) else []
    if topics.lidar:
        channels[topics.lidar] = LIDAR
    missing += [t for t in (topics.lidar, topics.odometry) if t and _is_absent(bag, t)]
    if missing:
        raise DataError(
            f"the bag {bag.path} has nothing on {', '.join(missing)}; it has "
            f"{', '.join(sorted(bag.topics)) or 'no topic'}. Name its topics in a sensor file of "
            "your own (--sensors), and take out of it what was not recorded"
        )
    if _is_absent(bag, topics.truth):
        raise DataError(
            f"the bag {bag.path} has no true boxes on {topics.truth}; name their topic with "
            "--truth, or add them: vision_msgs/Detection3DArray, one message a key frame"
        )
    return channels


def _image_topic(bag: Bag, camera: CameraSource) -> str:
    """Return the topic of a camera's images, compressed ones where there are both."""
    wanted = [topic for topic in (camera.compressed_topic, camera.raw_topic) if topic]
    return next((topic for topic in wanted if not _is_absent(bag, topic)), wanted[0])


def _is_absent(bag: Bag, topic: str) -> bool:
    return topic not in bag.topics or not bag.topics[topic].count
