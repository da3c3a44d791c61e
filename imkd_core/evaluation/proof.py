# SPDX-License-Identifier: Apache-2.0
"""Figures and goals of the proof on real input: one key frame, played again and again.

A wiring proof: a student fitted to the frame must give its boxes through the whole path, and must
lose them when the sensors are taken away. It says nothing about accuracy on other data.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.evaluation.matching import Matching, match_boxes, pair_errors
from imkd_core.evaluation.report import BoxRow, ClassRow, Control, Measure, StageLatency
from imkd_core.geometry import Float64, rotate_vectors, transform_points, wrap_angle, yaw_of
from imkd_core.types import Detections

#: Boxes count from this score on; a pair's centres are nearer than this.
MIN_SCORE = 0.3
MAX_DISTANCE_M = 1.0

#: A true object moves from this speed on.
MOVING_MPS = 0.5

#: Largest difference, in any number of any box, between the online and the offline path.
SAME_BOX = 1e-4


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a figure must reach: its name for a reader, its unit, and its bounds."""

    label: str
    unit: str = "fraction"
    at_least: float | None = None
    at_most: float | None = None


#: Figure -> goal.
GOALS: Mapping[str, Goal] = {
    "delivered_fraction": Goal(label="Frames answered", at_least=1.0, at_most=1.0),
    "recall_1m": Goal(label="Recall within 1 m", at_least=0.95),
    "precision_1m": Goal(label="Precision within 1 m", at_least=0.95),
    "center_error_max_m": Goal(label="Largest centre error", unit="m", at_most=0.3),
    "size_error_max": Goal(label="Largest size error (1 - IoU)", at_most=0.2),
    "yaw_error_max_rad": Goal(label="Largest yaw error", unit="rad", at_most=math.radians(10)),
    "moving_velocity_error_max_mps": Goal(
        label="Largest velocity error of moving cars", unit="m/s", at_most=1.0
    ),
    "online_offline_difference": Goal(
        label="Online against offline, any number", unit="", at_most=SAME_BOX
    ),
}

#: Control -> (its name for a reader, recall by part -> goal).
CONTROL_GOALS: Mapping[str, tuple[str, Mapping[str, Goal]]] = {
    "cameras_masked": ("All cameras masked", {"recall": Goal(label="recall", at_most=0.1)}),
    "cameras_permuted": ("Cameras permuted", {"recall": Goal(label="recall", at_most=0.2)}),
    "images_mirrored": ("Images mirrored", {"recall": Goal(label="recall", at_most=0.1)}),
    "camera_masked": (
        "One camera masked",
        {
            "recall_own": Goal(label="recall of what it alone sees", at_most=0.1),
            "recall_others": Goal(label="recall of the others", at_least=0.95),
        },
    ),
    "radar_masked": ("Radar masked", {"recall": Goal(label="recall")}),
    "radar_shifted": ("Radar shifted", {"recall": Goal(label="recall")}),
}


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How frames are put together, and what is asked of them.

    Attributes:
        over_frames: figures of every frame -> one figure each.
        goals: figure -> goal, for the figures of `GOALS`.
        control_goals: as `CONTROL_GOALS`.
    """

    over_frames: Callable[[Sequence[Mapping[str, float]]], dict[str, float]]
    goals: Mapping[str, Goal]
    control_goals: Mapping[str, tuple[str, Mapping[str, Goal]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTruth:
    """True boxes of a frame in its ego frame, and which of them recall counts."""

    boxes: Detections
    is_required: NDArray[np.bool_]
    lidar_points: NDArray[np.int64]


def moved_boxes(dst_from_src: Float64, boxes: Detections, stamp_ns: int) -> Detections:
    """Return boxes of frame `src` in frame `dst`, upright, under another stamp."""
    yaw_rad = wrap_angle(boxes.yaw_rad + yaw_of(dst_from_src))
    return Detections(
        stamp_ns=stamp_ns,
        class_names=boxes.class_names,
        center_m=transform_points(dst_from_src, boxes.center_m).astype(np.float32),
        size_m=boxes.size_m,
        yaw_rad=yaw_rad.astype(np.float32),
        velocity_mps=rotate_vectors(dst_from_src, boxes.velocity_mps).astype(np.float32),
        scores=boxes.scores,
        labels=boxes.labels,
    )


def match_frame(found: Detections, truth: FrameTruth) -> Matching:
    """Match one frame's boxes by the rules of the proof."""
    return match_boxes(
        found,
        truth.boxes,
        max_distance_m=MAX_DISTANCE_M,
        min_score=MIN_SCORE,
        is_required=truth.is_required,
    )


def frame_figures(found: Detections, truth: FrameTruth) -> dict[str, float]:
    """Return the figures of one frame, by the names of `GOALS`.

    Errors are the largest over the required boxes that were found; NaN without any.
    """
    matching = match_frame(found, truth)
    required = truth.is_required[matching.pairs[:, 1]]
    pairs = matching.pairs[required]
    looked_at = found.select(np.flatnonzero(found.scores >= MIN_SCORE))
    true_boxes = truth.boxes.select(pairs[:, 1])
    errors = pair_errors(looked_at.select(pairs[:, 0]), true_boxes)
    speed_mps = np.linalg.norm(true_boxes.velocity_mps, axis=1)
    is_moving_car = (speed_mps > MOVING_MPS) & (np.array(true_boxes.names, np.str_) == "car")
    return {
        "recall_1m": matching.recall,
        "precision_1m": matching.precision,
        "center_error_max_m": _largest(errors.center_m),
        "size_error_max": _largest(errors.size),
        "yaw_error_max_rad": _largest(errors.yaw_rad),
        "moving_velocity_error_max_mps": _largest(errors.velocity_mps[is_moving_car]),
    }


def worst_figures(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the worst of each figure over all frames: smallest fractions, largest errors."""
    worst = {}
    for name in frames[0] if frames else ():
        values = [frame[name] for frame in frames]
        is_error = GOALS[name].at_most is not None
        worst[name] = float(max(values) if is_error else min(values))
    return worst


def mean_figures(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over the frames that have it; NaN where none has."""
    means = {}
    for name in frames[0] if frames else ():
        known = [frame[name] for frame in frames if not math.isnan(frame[name])]
        means[name] = sum(known) / len(known) if known else math.nan
    return means


def largest_difference(first: Detections, second: Detections) -> float:
    """Return the largest difference of any number of any box; infinite for other boxes.

    Boxes are compared one by one in their order, which is by score; stamps must be equal.
    """
    if first.stamp_ns != second.stamp_ns or first.names != second.names:
        return float("inf")
    columns = ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores")
    pairs = [(getattr(first, name), getattr(second, name)) for name in columns]
    return max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)


def measures(
    figures: Mapping[str, float], notes: Mapping[str, str], goals: Mapping[str, Goal] = GOALS
) -> tuple[Measure, ...]:
    """Return the figures with their goals."""
    return tuple(
        _measure(goal, figures.get(name), notes.get(name, "")) for name, goal in goals.items()
    )


def _measure(goal: Goal, value: float | None, note: str = "") -> Measure:
    return Measure(
        name=goal.label,
        value=value,
        unit=goal.unit,
        at_least=goal.at_least,
        at_most=goal.at_most,
        note=note,
    )


def control_recalls(
    found: Detections, truth: FrameTruth, is_own: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the recall of a control: of all required boxes, of a camera's own, of the others."""
    is_found = match_frame(found, truth).is_found
    own, others = truth.is_required & is_own, truth.is_required & ~is_own
    parts = {"recall": truth.is_required, "recall_own": own, "recall_others": others}
    return {name: float(is_found[part].mean()) for name, part in parts.items() if part.any()}


def control_entry(
    name: str,
    description: str,
    recalls: Mapping[str, float],
    control_goals: Mapping[str, tuple[str, Mapping[str, Goal]]] = CONTROL_GOALS,
) -> Control:
    """Return a control with the goals that it has."""
    title, goals = control_goals[name]
    return Control(
        name=title,
        question=description,
        measures=tuple(_measure(goal, recalls.get(part)) for part, goal in goals.items()),
    )


#: One frame that was fitted: the worst frame counts, and every goal must be met.
STRICT = Judging(over_frames=worst_figures, goals=GOALS, control_goals=CONTROL_GOALS)

#: A drive that nobody trained on: means over frames; only the path itself has goals.
OBSERVED = Judging(
    over_frames=mean_figures,
    goals={
        name: goal
        if name in ("delivered_fraction", "online_offline_difference")
        else Goal(label=goal.label.replace("Largest", "Mean of the largest"), unit=goal.unit)
        for name, goal in GOALS.items()
    },
    control_goals={
        name: (title, {part: Goal(label=goal.label) for part, goal in goals.items()})
        for name, (title, goals) in CONTROL_GOALS.items()
    },
)


def box_rows(found: Detections, truth: FrameTruth) -> tuple[BoxRow, ...]:
    """Return a row for each required or found true box and each extra box, nearest first."""
    matching = match_frame(found, truth)
    looked_at = found.select(np.flatnonzero(found.scores >= MIN_SCORE))
    found_distance = np.linalg.norm(looked_at.center_m[:, :2], axis=1)
    true_distance = np.linalg.norm(truth.boxes.center_m[:, :2], axis=1)
    rows = [
        BoxRow(
            class_name=truth.boxes.names[j],
            outcome="found",
            distance_m=float(true_distance[j]),
            score=float(looked_at.scores[i]),
            center_error_m=float(matching.errors.center_m[k]),
            size_error_m=float(matching.errors.size_m[k]),
            yaw_error_rad=_known(matching.errors.yaw_rad[k]),
            velocity_error_mps=_known(matching.errors.velocity_mps[k]),
            lidar_points=int(truth.lidar_points[j]),
        )
        for k, (i, j) in enumerate(matching.pairs)
    ]
    rows += [
        BoxRow(
            class_name=truth.boxes.names[j],
            outcome="missed",
            distance_m=float(true_distance[j]),
            lidar_points=int(truth.lidar_points[j]),
        )
        for j in np.flatnonzero(truth.is_required & ~matching.is_found)
    ]
    rows += [
        BoxRow(
            class_name=looked_at.names[i],
            outcome="extra",
            distance_m=float(found_distance[i]),
            score=float(looked_at.scores[i]),
        )
        for i in np.flatnonzero(~matching.is_right)
    ]
    return tuple(sorted(rows, key=lambda row: row.distance_m))


def class_rows(found: Detections, truth: FrameTruth) -> tuple[ClassRow, ...]:
    """Return a row for each class that has a required true box or an extra box."""
    matching = match_frame(found, truth)
    true_names = np.array(matching.class_of_truth, np.str_)
    extra_names = np.array(matching.class_of_detection, np.str_)[~matching.is_right]
    rows = []
    for name in truth.boxes.class_names:
        wanted = truth.is_required & (true_names == name)
        extra = int((extra_names == name).sum())
        if wanted.any() or extra:
            found_count = int((wanted & matching.is_found).sum())
            rows.append(
                ClassRow(
                    class_name=name, true_boxes=int(wanted.sum()), found=found_count, extra=extra
                )
            )
    return tuple(rows)


def latency_rows(stages: Sequence[Mapping[str, float]]) -> tuple[StageLatency, ...]:
    """Return the percentiles of each stage over the frames, in the order of the first frame."""
    names = dict.fromkeys(name for frame in stages for name in frame)
    rows = []
    for name in names:
        values = [frame[name] for frame in stages if name in frame]
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        rows.append(
            StageLatency(stage=name, p50_ms=float(p50), p95_ms=float(p95), p99_ms=float(p99))
        )
    return tuple(rows)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _largest(values: Float64) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else float("nan")
