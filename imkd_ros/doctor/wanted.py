# SPDX-License-Identifier: Apache-2.0
"""What the node would listen to: topics by their full ROS names, types, and QoS. No ROS in here."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from imkd_core.errors import ConfigError
from imkd_core.resources import sensors_file
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.sensors import SensorSet, load_sensor_set

#: Name of the node, as the launch file starts it.
NODE_NAME = "imkd_detector"

#: A name of a topic or frame that is at least so similar may be the one that was meant.
_SIMILAR = 0.6


class Role(str, Enum):
    """What a topic is for."""

    IMAGE = "image"
    COMPRESSED = "compressed image"
    CAMERA_INFO = "CameraInfo"
    POINTS = "points"
    TF = "TF"
    TF_STATIC = "fixed TF"
    ODOMETRY = "odometry"


#: Role -> type of the messages.
TYPES: Mapping[Role, str] = MappingProxyType(
    {
        Role.IMAGE: "sensor_msgs/msg/Image",
        Role.COMPRESSED: "sensor_msgs/msg/CompressedImage",
        Role.CAMERA_INFO: "sensor_msgs/msg/CameraInfo",
        Role.POINTS: "sensor_msgs/msg/PointCloud2",
        Role.TF: "tf2_msgs/msg/TFMessage",
        Role.TF_STATIC: "tf2_msgs/msg/TFMessage",
        Role.ODOMETRY: "nav_msgs/msg/Odometry",
    }
)


@dataclass(frozen=True, kw_only=True)
class WantedTopic:
    """One topic that the node listens to.

    Attributes:
        name: full name.
        given: name as the sensor file or the parameters write it.
        role: what it is for.
        sensor: that it belongs to; empty for TF and odometry.
    """

    name: str
    given: str
    role: Role
    sensor: str = ""

    @property
    def type_name(self) -> str:
        """Type of its messages."""
        return TYPES[self.role]

    @property
    def is_reliable(self) -> bool:
        """Whether the node asks for reliable delivery."""
        return self.role in (Role.TF, Role.TF_STATIC)

    @property
    def is_latched(self) -> bool:
        """Whether the node asks for what was sent before it came (transient local)."""
        return self.role is Role.TF_STATIC


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a vehicle has to give to the node.

    Attributes:
        sensors: the sensor set, with the names of topics as they stand in its file.
        topics: all that is listened to.
        node: full name of the node.
        base_frame: TF frame of the vehicle.
        ego_frame: TF frame that stands still; empty = no ego motion from TF.
        odometry_topic: that ego motion comes from, as the parameters write it; empty = TF.
        tolerance_ns: of stamps within a frame.
        deadline_ns: from a frame's first image until it goes out.
        dead_after_ns: silence after which a sensor is not waited for.
        use_sim_time: whether the node goes by /clock; None = not said.
    """

    sensors: SensorSet
    topics: tuple[WantedTopic, ...]
    node: str
    base_frame: str
    ego_frame: str
    odometry_topic: str
    tolerance_ns: int
    deadline_ns: int
    dead_after_ns: int
    use_sim_time: bool | None = None

    @property
    def has_ego_motion(self) -> bool:
        """Whether the node is to know how the vehicle moves."""
        return bool(self.odometry_topic or self.ego_frame)

    def of_sensor(self, sensor: str, *roles: Role) -> tuple[WantedTopic, ...]:
        """Return the topics of a sensor with one of some roles (any, where none is given)."""
        return tuple(
            t for t in self.topics if t.sensor == sensor and (not roles or t.role in roles)
        )

    def readings(self, sensor: str) -> tuple[WantedTopic, ...]:
        """Return the topics of a sensor's images or scans; two where a camera has rivals."""
        return self.of_sensor(sensor, Role.IMAGE, Role.COMPRESSED, Role.POINTS)

    def offset_ns(self, sensor: str) -> int:
        """Return what the sensor file adds to every stamp of a sensor."""
        if sensor in self.sensors.cameras:
            return self.sensors.cameras[sensor].stamp_offset_ns
        return self.sensors.radars[sensor].stamp_offset_ns


def wanted(
    settings: NodeSettings,
    namespace: str = "",
    remaps: Sequence[str] = (),
    use_sim_time: bool | None = None,
) -> Wanted:
    """Return what a node with these settings listens to.

    Args:
        settings: its parameters.
        namespace: that it is started in, such as "/front".
        remaps: "FROM:=TO" each, as for `ros2 run`.
        use_sim_time: whether it goes by /clock; None = not known.

    Raises:
        ConfigError: the sensor file, the namespace or a remapping is wrong.
    """
    sensors = load_sensor_set(sensors_file(settings.text("sensors_file")))
    names = Names(namespace, remaps)
    odometry = settings.text("ego_motion.odometry_topic")
    topics = [
        WantedTopic(name=names.full(topic), given=topic, role=role, sensor=sensor)
        for sensor, role, topic in _named(sensors, odometry)
    ]
    return Wanted(
        sensors=sensors,
        topics=tuple(topics),
        node=names.node,
        base_frame=settings.text("base_frame"),
        ego_frame="" if odometry else settings.text("ego_motion.frame"),
        odometry_topic=odometry,
        tolerance_ns=settings.nanoseconds("sync.tolerance_ms"),
        deadline_ns=settings.nanoseconds("sync.deadline_ms"),
        dead_after_ns=settings.nanoseconds("sync.dead_after_ms"),
        use_sim_time=use_sim_time,
    )


class Names:
    """ROS names as the node would resolve them.

    Args:
        namespace: of the node.
        remaps: "FROM:=TO" each.

    Raises:
        ConfigError: one of them is malformed.
    """

    def __init__(self, namespace: str = "", remaps: Sequence[str] = ()) -> None:
        parts = [part for part in namespace.split("/") if part]
        if not all(part.isidentifier() for part in parts):
            raise ConfigError(f"'{namespace}' is no ROS namespace; write for example /front")
        self._namespace = "".join(f"/{part}" for part in parts)
        self.node = f"{self._namespace}/{NODE_NAME}"
        self._remaps: dict[str, str] = {}
        for text in remaps:
            source, separator, target = text.partition(":=")
            if not separator or not source or not target:
                raise ConfigError(f"--remap takes FROM:=TO, got '{text}'")
            self._remaps[self._absolute(source)] = self._absolute(target)

    def full(self, topic: str) -> str:
        """Return the full name of a topic, after remapping."""
        name = self._absolute(topic)
        return self._remaps.get(name, name)

    def _absolute(self, topic: str) -> str:
        if topic.startswith("~"):
            return self.node + topic[1:]
        return topic if topic.startswith("/") else f"{self._namespace}/{topic}"


def near_names(name: str, known: Iterable[str], similar: float = _SIMILAR) -> list[str]:
    """Return up to three names that may have been meant, the most similar first.

    Args:
        name: that is not there.
        known: those that are.
        similar: 0 takes any name, 1 none but the same.
    """
    candidates = sorted(set(known) - {name})
    return difflib.get_close_matches(name, candidates, n=3, cutoff=similar)


def _named(sensors: SensorSet, odometry: str) -> Iterator[tuple[str, Role, str]]:
    """Yield sensor, role and name of every topic, as the settings write it."""
    for name, camera in sensors.cameras.items():
        yield name, Role.CAMERA_INFO, camera.camera_info
        for role, topic in (
            (Role.IMAGE, camera.raw_topic),
            (Role.COMPRESSED, camera.compressed_topic),
        ):
            if topic:
                yield name, role, topic
    for name, radar in sensors.radars.items():
        yield name, Role.POINTS, radar.points
    yield "", Role.TF, "/tf"
    yield "", Role.TF_STATIC, "/tf_static"
    if odometry:
        yield "", Role.ODOMETRY, odometry
