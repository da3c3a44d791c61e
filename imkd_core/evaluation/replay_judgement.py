# SPDX-License-Identifier: Apache-2.0
"""What a replay found against what was true: nuScenes metrics of recordings and of their parts.

    drives = [judged_drive("monday", frames, truths, "rain"), ...]
    judgement = judge(drives)
    judgement.metrics.nds, judgement.by_level

A detector answers at the stamps of its sensors, and the truth has its own: each true moment is
judged by the answer that is nearest in time, its boxes moved on by their own velocity and by the
vehicle's motion. A true moment without an answer within `MAX_GAP_NS` counts as one where nothing
was found. Parts of a fleet are those of `tables`, and by the level of degradation and the sensors
that were missing in the frame nearest to each true moment, answered or not.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import BoxTable, check_classes, found_boxes, global_yaw
from imkd_core.evaluation.drive_hits import DriveHits, match_drives
from imkd_core.evaluation.nuscenes_metrics import (
    DetectionMetrics,
    DetectionRules,
    counted,
    evaluate,
)
from imkd_core.evaluation.replay_frames import FrameRecord, TrueFrame
from imkd_core.evaluation.tables import (
    SliceFigures,
    SpeedFigures,
    by_label,
    by_range,
    by_speed,
    light_of,
    plain_values,
    weather_of,
)
from imkd_core.geometry import Float64, transform_points

#: An answer farther from a true moment than this does not count for it.
MAX_GAP_NS = 200_000_000

#: Level of a true moment without any frame, and weather of a recording that does not tell it.
NO_FRAME = "no frame"
NOT_TOLD = "not told"


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedDrive:
    """One recording, ready to be judged.

    Attributes:
        name: of the recording.
        stamps_ns: (S,) true moments.
        found, truth: boxes that count; `sample` is the index of the true moment.
        levels, lost: (S,) level of degradation, and missing sensors with commas ("none").
        weather, light: of the recording.
        unanswered: true moments without an answer.
    """

    name: str
    stamps_ns: tuple[int, ...]
    found: BoxTable
    truth: BoxTable
    levels: tuple[str, ...]
    lost: tuple[str, ...]
    weather: str
    light: str
    unanswered: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Figures of all true moments of some recordings.

    Attributes:
        metrics: of all.
        by_range, by_weather, by_light, by_level, by_lost, by_speed: of parts.
        unanswered: true moments without an answer.
    """

    metrics: DetectionMetrics
    by_range: tuple[SliceFigures, ...]
    by_weather: tuple[SliceFigures, ...]
    by_light: tuple[SliceFigures, ...]
    by_level: tuple[SliceFigures, ...]
    by_lost: tuple[SliceFigures, ...]
    by_speed: tuple[SpeedFigures, ...]
    unanswered: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; numbers that JSON cannot say are None; no curves."""
        told: dict[str, Any] = plain_values(self)
        return told


def judged_drive(
    name: str,
    frames: Sequence[FrameRecord],
    truths: Sequence[TrueFrame],
    description: str = "",
    rules: DetectionRules | None = None,
) -> JudgedDrive:
    """Return a recording, ready to be judged.

    Args:
        name: of the recording.
        frames: what became of its frames, by rising stamp.
        truths: what was true, by rising stamp.
        description: words that tell weather and light; "" where there are none.
        rules: of the task.

    Raises:
        DataError: stamps do not rise (a recording that loops).
        ConfigError: a class is not one of the nuScenes task.
    """
    rules = rules or DetectionRules()
    _require_rising(name, [frame.stamp_ns for frame in frames])
    _require_rising(name, [truth.stamp_ns for truth in truths])
    answers = [frame for frame in frames if frame.detections is not None]
    for frame in answers[:1]:
        check_classes(frame.detections.class_names if frame.detections else ())
    found, levels, lost = [], [], []
    for sample, truth in enumerate(truths):
        answer = _nearest(answers, truth.stamp_ns)
        if answer is not None:
            found.append(_found(answer, truth, sample, rules))
        status = _nearest(frames, truth.stamp_ns)
        levels.append(NO_FRAME if status is None else status.level)
        lost.append(_lost(status))
    return JudgedDrive(
        name=name,
        stamps_ns=tuple(truth.stamp_ns for truth in truths),
        found=counted(BoxTable.joined(found), rules),
        truth=counted(BoxTable.joined([_true(one, i) for i, one in enumerate(truths)]), rules),
        levels=tuple(levels),
        lost=tuple(lost),
        weather=weather_of(description) if description else NOT_TOLD,
        light=light_of(description) if description else NOT_TOLD,
        unanswered=len(truths) - len(found),
    )


def judge(drives: Sequence[JudgedDrive], rules: DetectionRules | None = None) -> Judgement:
    """Return the figures of some recordings together."""
    rules = rules or DetectionRules()
    found, truth = joined(drives)
    samples = sum(len(drive.stamps_ns) for drive in drives)

    def parts(column: Mapping[str, Sequence[str]]) -> tuple[SliceFigures, ...]:
        labels = [label for drive in drives for label in column[drive.name]]
        return by_label(found, truth, labels, rules)

    return Judgement(
        metrics=evaluate(found, truth, samples, rules),
        by_range=by_range(found, truth, samples, rules),
        by_weather=parts({one.name: [one.weather] * len(one.stamps_ns) for one in drives}),
        by_light=parts({one.name: [one.light] * len(one.stamps_ns) for one in drives}),
        by_level=parts({one.name: one.levels for one in drives}),
        by_lost=parts({one.name: one.lost for one in drives}),
        by_speed=by_speed(found, truth, rules),
        unanswered=sum(drive.unanswered for drive in drives),
    )


def joined(drives: Sequence[JudgedDrive]) -> tuple[BoxTable, BoxTable]:
    """Return found and true boxes of some recordings, their samples numbered one after another."""
    found, truth, first = [], [], 0
    for drive in drives:
        found.append(replace(drive.found, sample=drive.found.sample + first))
        truth.append(replace(drive.truth, sample=drive.truth.sample + first))
        first += len(drive.stamps_ns)
    return BoxTable.joined(found), BoxTable.joined(truth)


def hits_of(drives: Sequence[JudgedDrive | None]) -> DriveHits | None:
    """Return which detections are right; None where no recording has true moments.

    Args:
        drives: one a recording; None for one without truth, which counts with no true moment.
    """
    known = [(row, one) for row, one in enumerate(drives) if one is not None and one.stamps_ns]
    if not known:
        return None
    found, truth = joined([one for _, one in known])
    of_sample = [number for number, (_, one) in enumerate(known) for _ in one.stamps_ns]
    hits = match_drives(found, truth, of_sample)
    rows = np.array([row for row, _ in known], np.int64)
    samples = np.zeros(len(drives), np.int64)
    true_boxes = np.zeros((len(drives), len(NUSCENES_CLASSES)), np.int64)
    samples[rows], true_boxes[rows] = hits.samples, hits.truth
    return replace(hits, samples=samples, truth=true_boxes, drive=rows[hits.drive])


def _require_rising(name: str, stamps_ns: Sequence[int]) -> None:
    if any(later <= before for before, later in pairwise(stamps_ns)):
        raise DataError(
            f"{name}: stamps go back (a recording that loops, or two clocks), so that answers and "
            "truth cannot be told apart; cut it where they do, and replay the parts"
        )


def _nearest(frames: Sequence[FrameRecord], stamp_ns: int) -> FrameRecord | None:
    """Return the frame nearest to a moment; None without one within `MAX_GAP_NS`."""
    index = bisect_left(frames, stamp_ns, key=lambda frame: frame.stamp_ns)
    near = frames[max(index - 1, 0) : index + 1]
    best = min(near, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
    return None if best is None or abs(best.stamp_ns - stamp_ns) > MAX_GAP_NS else best


def _lost(status: FrameRecord | None) -> str:
    if status is None:
        return "all"
    return ", ".join(sorted(status.missing)) or "none"


def _poses(answer: FrameRecord, truth: TrueFrame) -> tuple[Float64, Float64]:
    """Return the poses of an answer and of a true moment in a frame that stands still.

    Where one of them is not known, the vehicle is taken to stand.
    """
    if answer.odom_from_ego is None or truth.odom_from_ego is None:
        return _of(truth), _of(truth)
    return answer.odom_from_ego, truth.odom_from_ego


def _of(truth: TrueFrame) -> Float64:
    return np.eye(4) if truth.odom_from_ego is None else truth.odom_from_ego


def _found(answer: FrameRecord, truth: TrueFrame, sample: int, rules: DetectionRules) -> BoxTable:
    """Return an answer's boxes where they are at a true moment."""
    boxes = answer.detections
    if boxes is None:
        return BoxTable.empty()
    at_answer, at_truth = _poses(answer, truth)
    seconds = np.float32((truth.stamp_ns - answer.stamp_ns) * 1e-9)
    center_m = boxes.center_m.copy()
    center_m[:, :2] += np.nan_to_num(boxes.velocity_mps) * seconds
    rows = found_boxes(replace(boxes, center_m=center_m), sample, at_answer, rules.max_boxes)
    return replace(rows, ego_distance_m=_distance(rows.center_m, at_truth))


def _true(truth: TrueFrame, sample: int) -> BoxTable:
    pose, boxes = _of(truth), truth.boxes
    center_m = transform_points(pose, boxes.center_m.astype(np.float64))
    return BoxTable(
        sample=np.full(len(boxes), sample),
        label=boxes.labels,
        center_m=center_m,
        size_m=boxes.size_m.astype(np.float64),
        yaw_rad=global_yaw(pose, boxes.yaw_rad.astype(np.float64)),
        velocity_mps=boxes.velocity_mps.astype(np.float64) @ pose[:2, :2].T,
        score=np.ones(len(boxes)),
        attribute=truth.attributes,
        points=truth.points,
        ego_distance_m=_distance(center_m, pose),
    )


def _distance(center_m: Float64, pose: Float64) -> Float64:
    return np.asarray(np.linalg.norm(center_m[:, :2] - pose[:2, 3], axis=1))
