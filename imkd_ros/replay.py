# SPDX-License-Identifier: Apache-2.0
"""Offline replay: a bag through the node's own pipeline and detector, without DDS and ROS.

    settings = read_settings(None, {"model.bundle": "models/imkd_tiny"})
    with Replay(settings) as replay:
        for frame, detections in replay.run(Path("drive")):
            ...
        for outcome in replay.outcomes(Path("drive")):      # frames that were not answered, too
            outcome.status.level, outcome.status.outcome

The time of arrival of a message is the bag's log time, so the same bag gives the same frames every
time, as fast as the machine goes, and with any number of decoding threads. (Whether a corrupt image
that no frame needed is counted depends on them.) No frame is skipped: the node skips one when a
newer one comes before it is answered.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.box_messages import make_box_array, make_objects_table
from imkd_core.data.bags.recording import Bag, BagMessage, open_bag
from imkd_core.errors import DataError, ImkdError
from imkd_core.evaluation.replay_frames import box_mappings
from imkd_core.geometry import Float64
from imkd_core.health.degradation import Action, FrameStatus, not_answered
from imkd_core.health.faults import Finding
from imkd_core.resources import bundle_folder, sensors_file
from imkd_core.runtime.backends import open_backend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.detector import Detector
from imkd_core.types import Detections, Frame, SensorRig
from imkd_ros.bridge.assembly import backend_settings, capped, pipeline_settings, thresholds
from imkd_ros.bridge.calibration_watch import CalibrationWatch
from imkd_ros.bridge.convert_out import COVARIANCE_DIAGONAL, from_objects_cloud
from imkd_ros.bridge.decoding import PendingFrame
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.policy import judge, policy_of
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import load_sensor_set

#: Topics of the answers in a bag, by their names on the node with its default name.
DETECTIONS_TOPIC = "/imkd_detector/output/detections"
OBJECTS_TOPIC = "/imkd_detector/output/objects"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of one frame.

    Attributes:
        status: level, outcome, sensors used and missing.
        findings: faults of sensors that still send, and of the calibration.
        odom_from_ego: (4, 4) pose of the vehicle; None where it is not known.
        frame: what the detector saw; None where nothing of it could be used.
        detections: what is given out; None where nothing is.
        error: why the model could not answer; None where it did, or was not asked.
    """

    status: FrameStatus
    findings: tuple[Finding, ...] = ()
    odom_from_ego: Float64 | None = None
    frame: Frame | None = None
    detections: Detections | None = None
    error: ImkdError | None = None


class Replay:
    """A detector that answers bags; a context manager that gives the model back.

    Args:
        settings: the node's parameters; `parameter_file.read_settings` reads them from a file.
        report: is told what runs the model, where that is left to the bundle or another backend
            takes over, and how the building of an engine proceeds.

    Attributes:
        bundle: the model.
        sensors: the sensor set.
        class_names: of the model, in label order.
        unreadable: topic -> messages of the last bag that could not be decoded.

    Raises:
        ImkdError: the sensor file, the bundle or the backend is refused, as by the node.
    """

    def __init__(self, settings: NodeSettings, report: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self.sensors = load_sensor_set(sensors_file(settings.text("sensors_file")))
        self.bundle = load_bundle(bundle_folder(settings.text("model.bundle")))
        self._limits = thresholds(settings, self.bundle)
        wanted = backend_settings(settings, len(self.sensors.cameras))
        self._backend = open_backend(self.bundle, wanted, report)
        self._policy = policy_of(settings)
        self._pipeline = self._new_pipeline()
        self._watch = self._new_watch()
        self._calibration = CalibrationWatch(settings.flag("health.watch_calibration"))
        self.class_names = self.bundle.head.class_names
        self.unreadable: Counter[str] = Counter()

    @property
    def runs_on(self) -> str:
        """What runs the model, in words."""
        return self._backend.name

    @property
    def rig(self) -> SensorRig:
        """Calibration in force for the frame just yielded."""
        return self._pipeline.rig

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Faults of the sensors and the calibration of the frame just yielded."""
        return (*self._watch.findings, *self._calibration.findings)

    @property
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Sensor (or "frames") -> reason -> what was dropped of the last bag."""
        return self._pipeline.counters

    def run(self, path: Path) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame of a bag that was answered with its answer, in the order of time.

        Raises:
            DataError: the bag is missing, damaged, or has no topic of the sensor file.
            BackendError: the model cannot take a frame.
        """
        for outcome in self.outcomes(path):
            if outcome.error is not None:
                raise outcome.error
            if outcome.frame is not None and outcome.detections is not None:
                yield outcome.frame, outcome.detections

    def outcomes(self, path: Path) -> Iterator[Outcome]:
        """Yield what became of each frame of a bag, answered or not, in the order of time.

        Raises:
            DataError: the bag is missing, damaged, or has no topic of the sensor file.
        """
        self._pipeline.close()
        self._pipeline = self._new_pipeline()
        self._watch = self._new_watch()
        self._calibration.reset()
        self.unreadable.clear()
        detector = Detector(
            self.bundle,
            self._backend,
            self._pipeline.rig,
            self._limits,
            remembers=self._settings.flag("model.memory"),
        )
        with open_bag(path) as bag:
            for pending in self._frames(bag):
                yield self._outcome(detector, pending)

    def _outcome(self, detector: Detector, pending: PendingFrame) -> Outcome:
        """Answer a frame as the node does."""
        detector.set_rig(self._pipeline.rig)
        judged = judge(pending, self._watch, self.sensors, self._policy)
        known = Outcome(
            status=judged.status,
            findings=self.findings,
            odom_from_ego=pending.odom_from_ego,
            frame=judged.frame,
        )
        try:
            detections = judged.answered(detector.detect, self.class_names)
        except ImkdError as error:
            status = dataclasses.replace(judged.status, outcome=not_answered(str(error)))
            return dataclasses.replace(known, status=status, error=error)
        if detections is not None:
            detections = capped(detections, self._settings.count("post.max_boxes"))
        if judged.action == Action.PUBLISH and judged.frame is not None:
            self._calibration.look(judged.frame, self._pipeline.rig)
        return dataclasses.replace(known, findings=self.findings, detections=detections)

    def close(self) -> None:
        """Give the model back."""
        self._pipeline.close()
        self._backend.close()

    def __enter__(self) -> "Replay":
        """Return self."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the model back."""
        self.close()

    def _new_pipeline(self) -> Pipeline:
        settings = pipeline_settings(self._settings, self.sensors, self.bundle.inputs)
        return Pipeline(self.sensors, settings)

    def _new_watch(self) -> SensorWatch:
        return SensorWatch(self._pipeline.tally, self._settings.flag("health.mask_bad_sensors"))

    def _frames(self, bag: Bag) -> Iterator[PendingFrame]:
        for message in bag.messages(self._topics(bag)):
            yield from self._due_frames(message.stamp_ns)
            decoded = self._decode(bag, message)
            if decoded is not None:
                yield from self._pipeline.on_message(message.topic, decoded, message.stamp_ns)
        yield from self._pipeline.flush()

    def _due_frames(self, now_ns: int) -> Iterator[PendingFrame]:
        """Yield the frames whose deadline passes before `now_ns`, each at its deadline."""
        last_ns = -1
        due_ns = self._pipeline.next_deadline_ns
        while due_ns is not None and last_ns < due_ns < now_ns:
            yield from self._pipeline.poll(due_ns)
            last_ns, due_ns = due_ns, self._pipeline.next_deadline_ns

    def _topics(self, bag: Bag) -> list[str]:
        sensors = set(self._pipeline.topics) - {"/tf", "/tf_static"}
        if not sensors & set(bag.topics):
            raise DataError(
                f"the bag {bag.path} has none of the topics of the sensor file; it has "
                f"{', '.join(sorted(bag.topics)) or 'none'}. Name its topics in a sensor file of "
                "your own (parameter sensors_file)"
            )
        return [topic for topic in self._pipeline.topics if topic in bag.topics]

    def _decode(self, bag: Bag, message: BagMessage) -> Any:
        """Return a message; None where it is broken, as DDS would not deliver it either."""
        try:
            return bag.decode(message)
        except DataError:
            self.unreadable[message.topic] += 1
            return None


def as_mapping(detections: Detections) -> dict[str, Any]:
    """Return one frame's answer as plain values; velocities that are unknown are None."""
    stages = {name: round(value, 3) for name, value in detections.stage_ms.items()}
    boxes = box_mappings(detections)
    return {"stamp_ns": detections.stamp_ns, "boxes": boxes, "stage_ms": stages}


def write_jsonl(answers: Iterable[Detections], path: Path) -> int:
    """Write one line of JSON a frame; return the number of frames.

    Raises:
        DataError: the file cannot be written.
    """
    count = 0
    try:
        with path.open("w", encoding="utf-8") as file:
            for detections in answers:
                file.write(json.dumps(as_mapping(detections)) + "\n")
                count += 1
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; name another file") from error
    return count


def write_bag(
    answers: Iterable[Detections],
    path: Path,
    *,
    frame_id: str = "base_link",
    overwrite: bool = False,
) -> int:
    """Write answers as the recorder would have: boxes and objects; return the number of frames.

    Raises:
        DataError: the bag cannot be written.
    """
    count = 0
    with BagWriter(path, overwrite=overwrite) as bag:
        for detections in answers:
            boxes = make_box_array(detections, frame_id, variances=COVARIANCE_DIAGONAL)
            table = make_objects_table(detections, frame_id)
            stamp_ns = detections.stamp_ns
            bag.write(DETECTIONS_TOPIC, "vision_msgs/msg/Detection3DArray", stamp_ns, boxes)
            bag.write(OBJECTS_TOPIC, "sensor_msgs/msg/PointCloud2", stamp_ns, table)
            count += 1
    return count


def read_answers(
    path: Path, class_names: tuple[str, ...], topic: str = OBJECTS_TOPIC
) -> list[Detections]:
    """Return the answers in a recording, from its objects table, in the order of their stamps.

    Raises:
        DataError: the bag is missing or damaged, or has no such topic.
        SensorError: a table is malformed, or names a class that `class_names` has not.
    """
    with open_bag(path) as bag:
        answers = [from_objects_cloud(bag.decode(m), class_names) for m in bag.messages([topic])]
    return sorted(answers, key=lambda detections: detections.stamp_ns)
