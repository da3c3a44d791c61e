# SPDX-License-Identifier: Apache-2.0
"""The sensor set of a vehicle: one YAML file -> frozen values. No ROS in here.

    cameras:
      CAM_FRONT:                       # the name everywhere: masks, diagnostics, pictures
        image: /front/image            # default ~/input/cam_front/image
        camera_info: /front/camera_info
        transport: auto                # raw, compressed, or auto
    radars:
      RADAR_FRONT:
        points: /front_radar/points
        fields: {vx: vx_comp, vy: vy_comp}
        keep: {dyn_prop: [0, 1, 2, 3, 4, 5, 6]}

The order of the cameras is the order of the model's input.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from imkd_core.errors import ConfigError
from imkd_core.mapping import from_mapping, require

#: How images arrive. With `auto` the topic and the topic with `/compressed` behind it are both
#: listened to, and the first to deliver stays.
TRANSPORTS = ("auto", "raw", "compressed")

#: Suffix that image_transport gives the topic of compressed images.
COMPRESSED_SUFFIX = "/compressed"

#: Sensors of one kind that a set may hold; a typing error must not open a thousand topics.
MAX_SENSORS = 32

_MAX_OFFSET_MS = 1000.0


#: A ROS 2 topic name: absolute, relative, or private to the node.
_TOPIC = re.compile(r"(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


def check_topic(name: str, topic: str) -> None:
    """Refuse what ROS would not take as a topic name; empty is fine.

    Raises:
        ConfigError: naming the setting `name`.
    """
    require(
        not topic or (_TOPIC.fullmatch(topic) is not None and "__" not in topic),
        f"{name} must be a topic name such as /front/image or ~/input/front, got '{topic}'",
    )


def _check_offset(name: str, offset_ms: float) -> None:
    require(
        abs(offset_ms) <= _MAX_OFFSET_MS,
        f"{name}.stamp_offset_ms must be within +-{_MAX_OFFSET_MS:g} ms, got {offset_ms}",
    )


@dataclass(frozen=True, kw_only=True)
class CameraSource:
    """Where one camera's messages come from.

    Attributes:
        image: topic of `Image` or `CompressedImage`; empty = `~/input/<name>/image`.
        camera_info: topic of `CameraInfo`; empty = `~/input/<name>/camera_info`.
        transport: one of `TRANSPORTS`.
        frame_id: optical frame; empty = the `frame_id` of CameraInfo.
        is_rectified: images are rectified: P of CameraInfo holds, K and D do not.
        stamp_offset_ms: added to every stamp (a driver that stamps 40 ms late takes -40).
    """

    image: str = ""
    camera_info: str = ""
    transport: str = "auto"
    frame_id: str = ""
    is_rectified: bool = False
    stamp_offset_ms: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown transport and an offset that cannot be meant."""
        require(
            self.transport in TRANSPORTS,
            f"transport must be one of {', '.join(TRANSPORTS)}, got '{self.transport}'",
        )
        _check_offset("camera", self.stamp_offset_ms)
        check_topic("image", self.image)
        check_topic("camera_info", self.camera_info)

    @property
    def stamp_offset_ns(self) -> int:
        """`stamp_offset_ms` in nanoseconds."""
        return round(self.stamp_offset_ms * 1e6)

    @property
    def raw_topic(self) -> str:
        """Topic of `sensor_msgs/Image`; empty where none is listened to."""
        if self.transport == "compressed" or self._names_compressed:
            return ""
        return self.image

    @property
    def compressed_topic(self) -> str:
        """Topic of `sensor_msgs/CompressedImage`; empty where none is listened to."""
        if self.transport == "raw":
            return ""
        if self.transport == "compressed" or self._names_compressed:
            return self.image
        return self.image + COMPRESSED_SUFFIX

    @property
    def _names_compressed(self) -> bool:
        return self.transport == "auto" and self.image.endswith(COMPRESSED_SUFFIX)


@dataclass(frozen=True, kw_only=True)
class RadarFields:
    """Names of a PointCloud2's fields; metres, metres a second, dBsm, seconds.

    Attributes:
        x, y: position in the radar frame.
        z: height; empty = 0 for every return.
        rcs: radar cross-section; empty = unknown, taken as 0 dBsm.
        vx, vy: measured velocity as a vector in the radar frame.
        radial: radial speed (positive = receding), for a radar without vx and vy.
        age: seconds before the header's stamp; empty = 0.
    """

    x: str = "x"
    y: str = "y"
    z: str = "z"
    rcs: str = "rcs"
    vx: str = "vx_comp"
    vy: str = "vy_comp"
    radial: str = ""
    age: str = ""

    def __post_init__(self) -> None:
        """Refuse a map without a position or with two descriptions of velocity."""
        require(bool(self.x and self.y), "fields.x and fields.y must name fields")
        require(
            bool(self.vx) == bool(self.vy),
            "fields.vx and fields.vy go together: name both, or neither and fields.radial",
        )
        require(
            bool(self.vx) != bool(self.radial),
            "name either fields.vx and fields.vy or fields.radial (with vx: '' and vy: '')",
        )


@dataclass(frozen=True, kw_only=True)
class RadarSource:
    """Where one radar's scans come from and how they are read.

    Attributes:
        points: topic of `PointCloud2`; empty = `~/input/<name>/points`.
        frame_id: radar frame; empty = the `frame_id` of the scans.
        fields: names of the fields.
        velocity_scale: the driver's velocities times this are metres a second, positive =
            receding for `fields.radial` (km/h: 0.27778; approaching positive: -1).
        velocity_is_compensated: own motion is already taken out of the velocities. Where it is
            not, ego motion must be known and is taken out here.
        keep: field -> integer values that a return must have one of to be used.
        stamp_offset_ms: added to every stamp.
        max_points: larger clouds are refused before they are read.
    """

    points: str = ""
    frame_id: str = ""
    fields: RadarFields = field(default_factory=RadarFields)
    velocity_scale: float = 1.0
    velocity_is_compensated: bool = True
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stamp_offset_ms: float = 0.0
    max_points: int = 20_000

    def __post_init__(self) -> None:
        """Refuse an offset or a cap that cannot be meant."""
        _check_offset("radar", self.stamp_offset_ms)
        check_topic("points", self.points)
        require(
            0 < abs(self.velocity_scale) <= 10,
            f"velocity_scale must be within +-10 and not 0, got {self.velocity_scale}",
        )
        require(
            1 <= self.max_points <= 1_000_000,
            f"max_points must be 1..1000000, got {self.max_points}",
        )

    @property
    def stamp_offset_ns(self) -> int:
        """`stamp_offset_ms` in nanoseconds."""
        return round(self.stamp_offset_ms * 1e6)

    @cached_property
    def needed_fields(self) -> tuple[str, ...]:
        """Names of all fields that a scan must have."""
        return tuple(sorted({name for name in asdict(self.fields).values() if name} | {*self.keep}))


@dataclass(frozen=True, kw_only=True)
class SensorSet:
    """All sensors of a vehicle, by name; the order of `cameras` is that of the model's input."""

    cameras: Mapping[str, CameraSource]
    radars: Mapping[str, RadarSource]

    def __post_init__(self) -> None:
        """Refuse an empty set, too large a set, and names or topics that stand twice."""
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))
        object.__setattr__(self, "radars", MappingProxyType(dict(self.radars)))
        require(bool(self.names), "the sensor set is empty: name at least one camera or radar")
        for kind, sources in (("cameras", self.cameras), ("radars", self.radars)):
            require(len(sources) <= MAX_SENSORS, f"{kind}: at most {MAX_SENSORS} sensors")
        twice = sorted(set(self.cameras) & set(self.radars))
        require(not twice, f"{twice} stand under both cameras and radars; use different names")
        topics = [topic for source in self.cameras.values() for topic in _camera_topics(source)]
        topics += [source.points for source in self.radars.values()]
        doubled = sorted({topic for topic in topics if topics.count(topic) > 1})
        require(not doubled, f"topics {doubled} stand twice; each topic belongs to one sensor")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all sensors, cameras first."""
        return (*self.cameras, *self.radars)


def _camera_topics(source: CameraSource) -> list[str]:
    topics = (source.raw_topic, source.compressed_topic, source.camera_info)
    return [topic for topic in topics if topic]


Source = TypeVar("Source", CameraSource, RadarSource)


def sensor_set_from_mapping(raw: Any, origin: str = "sensor set") -> SensorSet:
    """Build a `SensorSet` from the mapping of a YAML file.

    Args:
        raw: mapping with `cameras` and `radars`, each name -> mapping or nothing.
        origin: what to call the source in messages.

    Raises:
        ConfigError: naming the dotted key and what is allowed there.
    """
    require(isinstance(raw, Mapping), f"{origin} must hold 'cameras' and 'radars', got {raw!r}")
    unknown = sorted(str(key) for key in set(raw) - {"cameras", "radars"})
    require(not unknown, f"{origin}: unknown keys {unknown}; known: cameras, radars")
    try:
        return SensorSet(
            cameras=_sources(raw, "cameras", CameraSource, ("image", "camera_info")),
            radars=_sources(raw, "radars", RadarSource, ("points",)),
        )
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _sources(
    raw: Mapping[str, Any], kind: str, cls: type[Source], topics: tuple[str, ...]
) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    group = raw.get(kind) or {}
    require(isinstance(group, Mapping), f"{kind} must be a mapping of names, got {group!r}")
    for name, values in group.items():
        path = f"{kind}.{name}"
        require(
            isinstance(name, str) and name.replace("_", "a").isalnum(),
            f"{path}: a sensor's name holds letters, digits and underscores only",
        )
        values = {} if values is None else values
        require(isinstance(values, Mapping), f"{path} must be a mapping, got {values!r}")
        defaults = {topic: f"~/input/{name.lower()}/{topic}" for topic in topics}
        given = {key: value for key, value in values.items() if key not in topics or value}
        try:
            sources[name] = from_mapping(cls, {**defaults, **given}, path)
        except ConfigError as error:
            text = str(error)
            raise ConfigError(text if path in text else f"{path}: {text}") from None
    return sources


def load_sensor_set(path: Path) -> SensorSet:
    """Read a sensor file.

    Raises:
        ConfigError: the file is missing, is not YAML, or describes an impossible sensor set.
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the sensor file {path} ({error.strerror}); set sensors_file to a YAML "
            "file such as config/sensors.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the sensor file {path} is not YAML: {error}") from None
    return sensor_set_from_mapping(raw, str(path))
