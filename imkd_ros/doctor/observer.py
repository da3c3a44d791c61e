# SPDX-License-Identifier: Apache-2.0
"""Messages of a graph or of a recording -> facts; the same for both. No ROS in here."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import CalibrationError, ImkdError
from imkd_core.geometry import Float64
from imkd_core.runtime.ego_motion import PoseBuffer
from imkd_core.runtime.transform_tree import TransformTree
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.doctor.cdr import read_header
from imkd_ros.doctor.facts import (
    CameraFacts,
    ClockFacts,
    Driven,
    Endpoint,
    FrameFacts,
    NodeFacts,
    Observation,
    Traffic,
)
from imkd_ros.doctor.pictures import PictureWatch
from imkd_ros.doctor.sensor_facts import CameraLog, RadarLog
from imkd_ros.doctor.wanted import Role, Wanted, WantedTopic

#: Returns the object of a serialised message; raises an `ImkdError` where that is not one.
Decode = Callable[[], Any]

#: Times of one clock -> those of another, (N,) nanoseconds.
ToClock = Callable[[NDArray[np.int64]], NDArray[np.int64]]

#: Images of a camera that are looked at beyond their headers, from the first on.
_IMAGES = 40

#: All poses of a recording are kept.
_ALL = 10**18

#: Kinds of reasons kept for each topic.
_MOST_KINDS = 8

#: Poses between two of which a speed is measured, at least so far apart.
_BASELINE_NS = 100_000_000


class TrafficLog:
    """Gathers arrivals and headers of one topic."""

    def __init__(self) -> None:
        self._arrivals_ns: list[int] = []
        self._stamps_ns: list[int] = []
        self._sizes: list[int] = []
        self._frames: dict[str, None] = {}
        self._unreadable: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Messages so far."""
        return len(self._arrivals_ns)

    def add(self, arrival_ns: int, cdr: bytes | memoryview, has_header: bool) -> None:
        """Take in a serialised message."""
        self._arrivals_ns.append(arrival_ns)
        self._sizes.append(len(cdr))
        if not has_header:
            return
        try:
            header = read_header(cdr)
        except ImkdError as error:
            self.refuse(str(error))
            self._stamps_ns.append(0)
            return
        self._stamps_ns.append(header.stamp_ns)
        if len(self._frames) < _MOST_KINDS:
            self._frames[header.frame_id] = None

    def refuse(self, reason: str) -> None:
        """Count a message that could not be read."""
        if reason in self._unreadable or len(self._unreadable) < _MOST_KINDS:
            self._unreadable[reason] += 1

    def traffic(self, convert: ToClock) -> Traffic:
        """Return what came, with times of arrival as `convert` makes them."""
        return Traffic(
            arrivals_ns=convert(np.array(self._arrivals_ns, dtype=np.int64)),
            stamps_ns=np.array(self._stamps_ns, dtype=np.int64),
            frame_ids=tuple(self._frames),
            median_bytes=int(np.median(self._sizes)) if self._sizes else 0,
            unreadable=dict(self._unreadable),
        )


class Observer:
    """Takes in the messages of the wanted topics, in any order; `observation` sums them up.

    Args:
        wanted: what the node would listen to.
        with_pictures: look at the pixels of an image of each camera now and then.
    """

    def __init__(self, wanted: Wanted, *, with_pictures: bool = False) -> None:
        self._wanted = wanted
        self._topics = {topic.name: topic for topic in wanted.topics}
        self._logs = {name: TrafficLog() for name in self._topics}
        self._tree = TransformTree()
        self._poses = PoseBuffer(keep_ns=_ALL, max_poses=_ALL)
        link = (wanted.ego_frame, wanted.base_frame)
        self._motion = EgoMotion(self._tree, *link, bool(wanted.odometry_topic), self._poses)
        self._cameras = {
            name: CameraLog(name, source.is_rectified)
            for name, source in wanted.sensors.cameras.items()
        }
        self._radars = {n: RadarLog(n, source) for n, source in wanted.sensors.radars.items()}
        self._images: Counter[str] = Counter()
        self._pictures = (
            PictureWatch(wanted.sensors.cameras, self._poses.pose_at) if with_pictures else None
        )
        self._refusals: Counter[str] = Counter()

    @property
    def topics(self) -> Mapping[str, WantedTopic]:
        """What is listened to, by its full name."""
        return self._topics

    def take(self, topic: str, arrival_ns: int, cdr: bytes | memoryview, decode: Decode) -> None:
        """Take in a message.

        Args:
            topic: one of `topics`.
            arrival_ns: when it came, by the clock of the node.
            cdr: the serialised message.
            decode: makes an object of it; called only where more than its header is wanted.
        """
        wanted = self._topics[topic]
        log = self._logs[topic]
        is_tf = wanted.role in (Role.TF, Role.TF_STATIC)
        log.add(arrival_ns, cdr, has_header=not is_tf)
        try:
            self._look(wanted, arrival_ns, decode)
        except ImkdError as error:
            log.refuse(str(error))

    def observation(
        self,
        source: str,
        span_ns: tuple[int, int],
        publishers: Mapping[str, tuple[Endpoint, ...]],
        subscribers: Mapping[str, tuple[Endpoint, ...]],
        clock: ClockFacts | None = None,
        node: NodeFacts | None = None,
        to_clock: ToClock | None = None,
        driven: Driven | None = None,
    ) -> Observation:
        """Return all that was seen; see `Observation`.

        Args:
            source: in words.
            span_ns: first and last moment.
            publishers: topic -> who publishes it.
            subscribers: topic -> who listens.
            clock: /clock; None for a recording.
            node: the detector; None for a recording.
            to_clock: turns (N,) times of arrival and the span into the clock that the node goes
                by; None where they are by it.
            driven: what pictures and scans show of a recording; of a graph they are looked at here.
        """
        convert = to_clock or _as_they_are
        traffic = {name: log.traffic(convert) for name, log in self._logs.items() if log.count}
        start_ns, end_ns = convert(np.array(span_ns, dtype=np.int64)).tolist()
        cameras = {name: log.facts() for name, log in self._cameras.items()}
        return Observation(
            source=source,
            seconds=(span_ns[1] - span_ns[0]) * 1e-9,
            start_ns=start_ns,
            end_ns=end_ns,
            publishers=publishers,
            subscribers=subscribers,
            traffic=traffic,
            cameras=cameras,
            radars={name: log.facts() for name, log in self._radars.items()},
            frames=self._frames(traffic, cameras),
            clock=clock,
            node=node,
            driven=driven or self._glances(),
        )

    def _glances(self) -> Driven | None:
        """Return what the pictures that came showed; None where none was looked at."""
        watch = self._pictures
        if watch is None:
            return None
        watch.close()
        if not watch.looks:
            return None
        return Driven(frames=watch.looks, findings=watch.findings, judged=None)

    def _look(self, wanted: WantedTopic, arrival_ns: int, decode: Decode) -> None:
        role, sensor = wanted.role, wanted.sensor
        if role in (Role.TF, Role.TF_STATIC):
            for item in decode().transforms:
                self._guarded(self._motion.on_transform, item, role is Role.TF_STATIC, arrival_ns)
        elif role is Role.ODOMETRY:
            self._guarded(self._motion.on_odometry, decode(), arrival_ns)
        elif role is Role.CAMERA_INFO:
            self._cameras[sensor].on_info(decode())
        elif role is Role.POINTS:
            self._radars[sensor].on_scan(decode())
        else:
            self._look_at_image(sensor, arrival_ns, decode)

    def _look_at_image(self, sensor: str, arrival_ns: int, decode: Decode) -> None:
        is_early = self._images[sensor] < _IMAGES
        is_due = self._pictures is not None and self._pictures.is_due(sensor, arrival_ns)
        if not is_early and not is_due:
            return
        message = decode()
        self._images[sensor] += 1
        is_whole = self._cameras[sensor].on_image(message)
        if is_whole and is_due and self._pictures is not None:
            self._pictures.add(sensor, arrival_ns, message)

    def _guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except ImkdError as error:
            if len(self._refusals) < _MOST_KINDS or str(error) in self._refusals:
                self._refusals[str(error)] += 1

    def _place(self, frame: str) -> Float64 | None:
        """Return (4, 4) `ego_from_frame`; None where TF does not lead there."""
        try:
            return self._tree.lookup(self._wanted.base_frame, frame, None)
        except CalibrationError:
            return None

    def _frames(
        self, traffic: Mapping[str, Traffic], cameras: Mapping[str, CameraFacts]
    ) -> FrameFacts:
        frame_of = self._frame_of(traffic, cameras)
        poses = {sensor: self._place(frame) for sensor, frame in frame_of.items()}
        return FrameFacts(
            frames=self._tree.frames,
            frame_of=frame_of,
            ego_from_sensor={name: pose for name, pose in poses.items() if pose is not None},
            refusals=dict(self._refusals),
            poses=len(self._poses),
            speed_mps=self._speed_mps(),
            jumps=self._poses.jumps,
            known_share=self._known_share(traffic),
        )

    def _frame_of(
        self, traffic: Mapping[str, Traffic], cameras: Mapping[str, CameraFacts]
    ) -> dict[str, str]:
        """Return the frames that the node would look up."""
        sensors = self._wanted.sensors
        frames = {
            name: source.frame_id or cameras[name].info_frame
            for name, source in sensors.cameras.items()
        }
        for name, radar in sensors.radars.items():
            named = [
                frame
                for topic in self._wanted.readings(name)
                if topic.name in traffic
                for frame in traffic[topic.name].frame_ids
            ]
            frames[name] = radar.frame_id or (named[-1] if named else "")
        return {name: frame.lstrip("/") for name, frame in frames.items() if frame}

    def _speed_mps(self) -> float:
        span = self._poses.span_ns
        if span is None or span[1] - span[0] < _BASELINE_NS:
            return float("nan")
        stamps = range(span[0], span[1], max(_BASELINE_NS, (span[1] - span[0]) // 200))
        twists = (self._poses.twist_at(stamp) for stamp in stamps)
        return max(
            (float(np.linalg.norm(t.linear_mps)) for t in twists if t is not None),
            default=float("nan"),
        )

    def _known_share(self, traffic: Mapping[str, Traffic]) -> float:
        """Return at which share of the readings' stamps the vehicle's pose is known."""
        sensors = self._wanted.sensors
        stamps: list[int] = []
        for name in sensors.cameras or sensors.radars:
            for topic in self._wanted.readings(name):
                if topic.name in traffic:
                    offset_ns = self._wanted.offset_ns(name)
                    stamps += (traffic[topic.name].stamps_ns + offset_ns).tolist()
        if not stamps:
            return float("nan")
        known = sum(self._poses.pose_at(stamp) is not None for stamp in stamps)
        return known / len(stamps)


def _as_they_are(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    return times_ns
