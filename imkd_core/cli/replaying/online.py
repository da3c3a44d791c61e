# SPDX-License-Identifier: Apache-2.0
"""A recording through the real graph: played over DDS, answered by the node, and read back."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from imkd_core.cli.proof.latency import read_stages
from imkd_core.cli.replaying.offline import plain_findings
from imkd_core.cli.replaying.one_bag import write_lines
from imkd_core.cli.replaying.online_findings import FaultsTold, read_faults
from imkd_core.cli.replaying.plan import ReplayPlan
from imkd_core.cli.replaying.summary import Ran
from imkd_core.cli.replaying.truth import RecordingTruth
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError, ImkdError
from imkd_core.evaluation.replay_frames import NO_FRAME, FrameRecord, frame_line
from imkd_core.evaluation.replay_report_files import FRAMES, TIMINGS
from imkd_core.health.degradation import FrameStatus, not_answered
from imkd_core.resources import bundle_folder, sensors_file
from imkd_core.runtime.bundle import Bundle, load_bundle
from imkd_core.types import Detections
from imkd_ros.bridge.recorded_status import read_status
from imkd_ros.bridge.recorded_truth import RecordedPoses, read_poses
from imkd_ros.bridge.sensors import SensorSet, load_sensor_set
from imkd_ros.replay import read_answers

STATUS_TOPIC = "/imkd_detector/output/status"

#: Level of a frame whose status did not reach the recording.
UNKNOWN = "not told"


class OnlineRunner:
    """Replays recordings through player, node and recorder, in processes of their own.

    Args:
        plan: how.

    Raises:
        ImkdError: the sensor file or the bundle is refused.
    """

    def __init__(self, plan: ReplayPlan) -> None:
        self._plan = plan
        settings = plan.settings
        self._bundle = load_bundle(bundle_folder(settings.text("model.bundle")))
        self._sensors = load_sensor_set(sensors_file(settings.text("sensors_file")))

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self._bundle

    @property
    def sensors(self) -> SensorSet:
        """The sensor set."""
        return self._sensors

    def close(self) -> None:
        """Do nothing: every run ends its processes."""

    def produce(self, folder: Path, path: Path, truth: RecordingTruth) -> Ran:
        """Write frames and timings of a recording; see `one_bag.Runner`."""
        with open_bag(path) as bag:
            span_ns = (bag.start_ns, bag.end_ns)
            poses = truth.poses or _poses_or_none(path, self._plan)
        begin_s = time.monotonic()
        recording, lost = self._play(folder, path)
        replay_s = time.monotonic() - begin_s
        statuses = read_statuses(recording, self._sensors, span_ns)
        answers = {
            found.stamp_ns: found
            for found in read_answers(recording, self._bundle.head.class_names)
        }
        told = read_faults(recording, self._sensors.names)
        frames = frames_of(statuses, answers, poses, told)
        write_lines(folder / FRAMES, (frame_line(frame) for frame in frames))
        stages = read_stages(recording)
        write_lines(
            folder / TIMINGS,
            (json.dumps({"stamp_ns": at, "stage_ms": stages[at]}) for at in sorted(stages)),
        )
        shutil.rmtree(folder / "logs", ignore_errors=True)
        return Ran(
            seconds=truth.seconds,
            replay_s=replay_s,
            dropped={"recorder": lost} if lost else {},
            data_notice=truth.data_notice,
            runs_on="the node's own process",
        )

    def _play(self, folder: Path, path: Path) -> tuple[Path, dict[str, int]]:
        """Return the recording of the node's outputs, and what the middleware lost of it."""
        from imkd_ros.graph.options import GraphOptions
        from imkd_ros.supervisor import run_graph

        recording = folder / "recording"
        rate = self._plan.rate
        result = run_graph(
            GraphOptions(
                bag=path,
                recording=recording,
                overrides=dict(self._plan.values),
                rate=1.0 if rate is None else rate,
                overwrite=True,
                log_folder=folder / "logs",
            )
        )
        if not result.is_ok:
            tails = "\n".join(f"--- {name}\n{tail}" for name, tail in result.log_tails.items())
            raise DataError(f"{path}: the graph failed: {result.failure}\n{tails}")
        return recording, {topic: count for topic, count in result.lost.items() if count}


def read_statuses(
    recording: Path, sensors: SensorSet, span_ns: tuple[int, int], topic: str = STATUS_TOPIC
) -> list[FrameStatus]:
    """Return what a recording says of frames, by rising stamp, one a stamp.

    Args:
        recording: of the node's outputs.
        sensors: the sensor set.
        span_ns: statuses of what is no frame count within this time alone, that of what was
            played; the node tells them before and after, too.
        topic: of the statuses.

    Raises:
        DataError: the recording is damaged or has no such topic.
        SensorError: a status is malformed.
    """
    names = (*sensors.cameras, *sensors.radars)
    found: dict[int, FrameStatus] = {}
    with open_bag(recording) as bag:
        for message in bag.messages([topic]):
            status = read_status(bag.decode(message), names)
            is_frame = not status.outcome.startswith(NO_FRAME)
            if is_frame or (
                span_ns[0] <= status.stamp_ns <= span_ns[1] and status.stamp_ns not in found
            ):
                found[status.stamp_ns] = status
    return [found[stamp_ns] for stamp_ns in sorted(found)]


def frames_of(
    statuses: list[FrameStatus],
    answers: Mapping[int, Detections],
    poses: RecordedPoses | None,
    told: FaultsTold,
) -> list[FrameRecord]:
    """Return what became of every frame, of what the node said and what it answered.

    An answer whose status did not arrive is one all the same; a status that tells of an answer
    which did not arrive is told as such.

    Args:
        statuses: by rising stamp.
        answers: stamp -> answer.
        poses: of the vehicle; None where they are not known.
        told: faults of sensors.
    """
    by_stamp = {status.stamp_ns: status for status in statuses}
    return [
        _frame(stamp_ns, by_stamp.get(stamp_ns), answers.get(stamp_ns), poses, told)
        for stamp_ns in sorted({*by_stamp, *answers})
    ]


def _frame(
    stamp_ns: int,
    status: FrameStatus | None,
    answer: Detections | None,
    poses: RecordedPoses | None,
    told: FaultsTold,
) -> FrameRecord:
    pose = None if poses is None else poses.at(stamp_ns)
    if status is None:
        return FrameRecord(stamp_ns=stamp_ns, level=UNKNOWN, odom_from_ego=pose, detections=answer)
    is_lost = (
        answer is None and FrameRecord(stamp_ns=stamp_ns, level="", outcome=status.outcome).is_given
    )
    return FrameRecord(
        stamp_ns=stamp_ns,
        level=status.level.value,
        outcome=not_answered("the recorder lost it") if is_lost else status.outcome,
        age_ms=status.age_ms,
        missing=status.missing,
        findings=plain_findings(told.of_frame(stamp_ns, status.missing)),
        odom_from_ego=pose,
        detections=answer,
    )


def _poses_or_none(path: Path, plan: ReplayPlan) -> RecordedPoses | None:
    """Return the poses of a recording; None where it loops, whose poses nobody can tell apart."""
    try:
        with open_bag(path) as bag:
            return read_poses(bag, plan.truth.topics)
    except ImkdError:
        return None
