# SPDX-License-Identifier: Apache-2.0
"""Message -> converter -> synchroniser -> `PendingFrame`, with rig and ego motion in force.

The part that the node and the offline replay share, so that both answer a bag alike. No ROS and
no clock in here: messages are read by their fields (rclpy's and the bag library's alike) and the
caller says what time it is.

    pipeline = Pipeline(sensors, settings)      # `assembly.pipeline_settings` makes the settings
    for topic, message, log_time_ns in bag:
        for pending in pipeline.on_message(topic, message, log_time_ns):
            detector.set_rig(pipeline.rig)
            frame = pending.finish()        # waits for its images
            if frame is not None:
                detections = detector.detect(frame)

Between messages, call `poll(now_ns)` no later than `next_deadline_ns`: frames whose deadline has
passed go out with what is there. At the end of a bag, `flush()` gives what still waits.
`topics` says which topics to feed: those of the sensor set, as they stand in it, `/tf`,
`/tf_static` and the odometry topic where one is set. Others are ignored.

An image counts with its stamp as soon as its header was checked; its pixels are decoded later, in
`decode_threads` threads and by `finish`. One that turns out to be corrupt then is dropped and
masked, and one that no frame needs any more is not decoded.

A message that cannot be used is dropped and counted in `tally` with a text that says what to do;
nothing is raised for it. Where time goes back (a bag that starts again), what waits is given out,
and everything but the calibration is forgotten. `take_unmade` tells the frames that were due and
did not come about.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from imkd_core.errors import CalibrationError, ImkdError
from imkd_core.health.degradation import MISSING_UNCALIBRATED
from imkd_core.runtime.slots import DROP_RESET, Slot, Unmade
from imkd_core.runtime.synchronizer import SlotSynchronizer
from imkd_core.runtime.transform_tree import TransformTree
from imkd_core.types import CameraImage, RadarCloud, SensorRig
from imkd_ros.bridge.calibration import CalibrationStore
from imkd_ros.bridge.decoding import DecodePool, PendingFrame, PendingImage
from imkd_ros.bridge.message_filters_sync import MessageFiltersSynchronizer
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.pipeline_settings import PipelineSettings
from imkd_ros.bridge.readers import Readers
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.bridge.tally import FRAMES, NO_MOTION, REFUSALS, UNMADE, Tally
from imkd_ros.bridge.waiting import Moved, PoseWait

TF_TOPIC = "/tf"
TF_STATIC_TOPIC = "/tf_static"

#: Frames that did not come about, kept until they are taken; the oldest are forgotten.
_MOST_UNMADE = 64


class Pipeline:
    """Turns messages into frames; the module's docstring shows how.

    Args:
        sensors: the sensor set.
        settings: how messages become frames.
        look_ahead: called with each image that a thread of the pool decoded.

    Raises:
        ConfigError: `message_filters` is asked for and not installed.
    """

    def __init__(
        self,
        sensors: SensorSet,
        settings: PipelineSettings,
        look_ahead: Callable[[CameraImage], None] | None = None,
    ) -> None:
        self._sensors = sensors
        self._settings = settings
        self._sync: SlotSynchronizer | MessageFiltersSynchronizer = (
            SlotSynchronizer(settings.sync)
            if settings.method == "slots"
            else MessageFiltersSynchronizer(settings.sync)
        )
        self._tree = TransformTree()
        self._calibration = CalibrationStore(sensors, self._tree, settings.base_frame)
        self._motion = EgoMotion(
            self._tree, settings.ego_frame, settings.base_frame, bool(settings.odometry_topic)
        )
        self._wait = PoseWait(self._motion, self._lacks_calibration)
        self._unmade: deque[Unmade] = deque(maxlen=_MOST_UNMADE)
        self._events: list[str] = []
        self._jumps = 0
        self._missing: Mapping[str, str] = {}
        self._handlers = self._make_handlers()
        self.tally = Tally()
        self._readers = Readers(
            sensors, self._calibration, self._motion, self.tally, settings.decode_width_px
        )
        self._pool = DecodePool(settings.decode_threads, look_ahead)

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics that are listened to, as they stand in the sensor set."""
        return tuple(self._handlers)

    @property
    def rig(self) -> SensorRig:
        """The rig in force for the frames just returned; the same object while unchanged."""
        return self._calibration.rig

    @property
    def uncalibrated(self) -> Mapping[str, str]:
        """Sensor -> what is missing of its calibration and what to start."""
        return self._calibration.missing

    @property
    def missing(self) -> Mapping[str, str]:
        """Sensor -> why it is not in the last frame."""
        return self._missing

    @property
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Sensor (or `tally.FRAMES`) -> reason -> count of what was dropped."""
        drops = dict(self.tally.drops)
        own = {key: n for key, n in self._sync.counters.items() if n and key not in REFUSALS}
        return {**drops, FRAMES: {**own, **drops.get(FRAMES, {})}}

    @property
    def next_deadline_ns(self) -> int | None:
        """When `poll` must be called at the latest; None while nothing waits."""
        times_ns = (self._wait.next_look_ns, self._sync.next_deadline_ns)
        return min((time_ns for time_ns in times_ns if time_ns is not None), default=None)

    def take_events(self) -> list[str]:
        """Return what changed since the last call (rig, time), one line each."""
        events, self._events = self._events, []
        return events

    def take_unmade(self) -> list[Unmade]:
        """Return the frames since the last call that were due and did not come about."""
        taken = [
            Unmade(stamp_ns, UNMADE.get(reason, reason))
            for stamp_ns, reason in (*self._sync.take_unmade(), *self._unmade)
        ]
        self._unmade.clear()
        return taken

    def refresh_calibration(self) -> None:
        """Bring `rig` and `uncalibrated` up to date, also while no frame comes."""
        text = self._calibration.refresh()
        if text:
            self._events.append(text)

    def on_message(self, topic: str, message: Any, now_ns: int) -> list[PendingFrame]:
        """Take in one message and return the frames that are finished by now, oldest first.

        Args:
            topic: one of `topics`; a message of another is ignored.
            message: the deserialised message; only read.
            now_ns: time of arrival (online: the node's clock; offline: the bag's log time).
        """
        handler = self._handlers.get(topic)
        if handler is None:
            return []
        due_ns = self._sync.due_ns
        slots = handler(message, now_ns)
        return self._frames(slots, now_ns, due_ns)

    def poll(self, now_ns: int) -> list[PendingFrame]:
        """Return the frames whose deadline has passed by now, oldest first."""
        due_ns = self._sync.due_ns
        return self._frames(self._sync.poll(now_ns), now_ns, due_ns)

    def flush(self) -> list[PendingFrame]:
        """Return everything that still waits; for the end of a recording."""
        frames: list[PendingFrame] = []
        last_ns = None
        while (due_ns := self.next_deadline_ns) not in (None, last_ns):
            frames += self.poll(due_ns)
            last_ns = due_ns
        return frames

    def reset(self) -> None:
        """Forget readings and ego motion; calibration and counters stay."""
        self._sync.reset()
        self._unmade += [Unmade(slot.stamp_ns, DROP_RESET) for slot in self._wait.clear()]
        self._motion.clear()
        self._events.append("reset: readings and ego motion forgotten")

    def close(self) -> None:
        """End the decoding threads; frames that are out can still be finished."""
        self._pool.close()

    def _make_handlers(self) -> dict[str, Callable[[Any, int], list[Slot]]]:
        handlers: dict[str, Callable[[Any, int], list[Slot]]] = {
            TF_TOPIC: partial(self._on_transforms, False),
            TF_STATIC_TOPIC: partial(self._on_transforms, True),
        }
        for name, camera in self._sensors.cameras.items():
            for topic in filter(None, (camera.raw_topic, camera.compressed_topic)):
                handlers[topic] = partial(self._on_image, name)
            handlers[camera.camera_info] = partial(self._on_camera_info, name)
        for name, radar in self._sensors.radars.items():
            handlers[radar.points] = partial(self._on_points, name)
        if self._settings.odometry_topic:
            handlers[self._settings.odometry_topic] = self._on_odometry
        return handlers

    def _on_image(self, sensor: str, message: Any, now_ns: int) -> list[Slot]:
        image = self._readers.image(sensor, message)
        return [] if image is None else self._offer(sensor, image, now_ns)

    def _on_points(self, sensor: str, message: Any, now_ns: int) -> list[Slot]:
        self._calibration.on_radar_frame(sensor, str(message.header.frame_id))
        needs_pose = not self._sensors.radars[sensor].velocity_is_compensated
        if needs_pose and sensor not in self.rig.radars:
            self.refresh_calibration()  # no frame may come without its scans
        cloud = self._readers.scan(sensor, message)
        return [] if cloud is None else self._offer(sensor, cloud, now_ns)

    def _on_camera_info(self, sensor: str, message: Any, now_ns: int) -> list[Slot]:
        try:
            self._calibration.on_camera_info(sensor, message)
        except CalibrationError as error:
            self.tally.drop(sensor, "bad camera_info", str(error))
        return self._sync.poll(now_ns)

    def _on_transforms(self, is_static: bool, message: Any, now_ns: int) -> list[Slot]:
        for item in message.transforms:
            self._on_transform(item, is_static, now_ns)
        return self._sync.poll(now_ns)

    def _on_transform(self, item: Any, is_static: bool, now_ns: int) -> None:
        try:
            self._motion.on_transform(item, is_static, now_ns)
        except ImkdError as error:
            link = f"{item.header.frame_id} <- {item.child_frame_id}"
            self.tally.drop("tf", "bad transform", f"transform {link} refused: {error}")

    def _on_odometry(self, message: Any, now_ns: int) -> list[Slot]:
        try:
            self._motion.on_odometry(message, now_ns)
        except ImkdError as error:
            self.tally.drop("odometry", "bad odometry", f"odometry refused: {error}")
        return self._sync.poll(now_ns)

    def _offer(self, sensor: str, reading: PendingImage | RadarCloud, now_ns: int) -> list[Slot]:
        slots = self._sync.push(sensor, reading.stamp_ns, reading, now_ns)
        is_refused = False
        for name, stamp_ns, reason in self._sync.take_refused():
            text = f"{name}: reading of {stamp_ns / 1e9:.3f} s dropped: {REFUSALS[reason]}"
            self.tally.drop(name, reason, text)
            is_refused |= (name, stamp_ns) == (sensor, reading.stamp_ns)
        if not is_refused:
            self.tally.accept(sensor, reading.stamp_ns, now_ns)
            if isinstance(reading, PendingImage):
                self._pool.submit(reading)
        return slots

    def _frames(self, slots: list[Slot], now_ns: int, due_ns: int | None) -> list[PendingFrame]:
        """Return the frames of slots whose ego motion is known, or whose time is up."""
        has_jumped = self._sync.jumps > self._jumps
        if due_ns is None or has_jumped:  # or that was a time before
            due_ns = now_ns + self._settings.sync.deadline_ns
        look_ns = min(now_ns + self._settings.pose_wait_ns, due_ns)
        self._wait.add(slots, due_ns, look_ns)
        moved = self._of_before(now_ns) if has_jumped else []
        if not moved and self._wait.next_look_ns is None:
            return []
        self.refresh_calibration()
        found = [self._frame(one) for one in (*moved, *self._wait.ready(now_ns))]
        return [frame for frame in found if frame is not None]

    def _of_before(self, now_ns: int) -> list[Moved]:
        """Time went back: return what waited for it, and forget where the vehicle was."""
        self._jumps = self._sync.jumps
        self._events.append("time went back (a bag that starts again?): readings forgotten")
        moved = self._wait.of_before(self._jumps, now_ns)
        self._motion.begin_anew(now_ns)
        return moved

    def _lacks_calibration(self, slot: Slot) -> bool:
        return any(name in self.uncalibrated for name in slot.readings)

    def _frame(self, moved: Moved) -> PendingFrame | None:
        """Return the frame of the calibrated sensors of a slot; None where none is."""
        slot, uncalibrated = moved.slot, self.uncalibrated
        if moved.lacks_motion and self._motion.is_wanted:
            self.tally.drop(FRAMES, NO_MOTION, self._no_motion_text())
        readings = {name: got for name, got in slot.readings.items() if name not in uncalibrated}
        missing = {**slot.missing}
        for name in slot.readings:
            if name in uncalibrated:
                self.tally.drop(name, "uncalibrated", f"{name}: {uncalibrated[name]}")
                missing[name] = MISSING_UNCALIBRATED
        self._missing = MappingProxyType(missing)
        if not readings:
            text = "; ".join(f"{name}: {why}" for name, why in uncalibrated.items())
            self.tally.drop(FRAMES, "uncalibrated", f"no sensor is calibrated yet; {text}")
            self._unmade.append(Unmade(slot.stamp_ns, "none of its sensors is calibrated"))
            return None
        return PendingFrame(
            stamp_ns=slot.stamp_ns,
            cameras={n: readings[n] for n in self._sensors.cameras if n in readings},
            radars={n: readings[n] for n in self._sensors.radars if n in readings},
            reference_from_ego=moved.motion,
            odom_from_ego=moved.odom_from_ego,
            missing=self._missing,
        )

    def _no_motion_text(self) -> str:
        source = self._settings.odometry_topic or (
            f"TF {self._settings.ego_frame} <- {self._settings.base_frame}"
        )
        return (
            f"no ego motion for the stamps of a frame from {source}; start the odometry, or set "
            "ego_motion.frame to '' for a vehicle that stands still"
        )
