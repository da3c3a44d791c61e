# SPDX-License-Identifier: Apache-2.0
r"""What a replay says of every frame, and what was true: values, and lines of JSON.

    file.write(f"{frame_line(one)}\n")            # of frames.jsonl, a line a frame
    frames = read_frames(path, class_names)

`replay_report_files` says what the files of a replay are and what a line of frames.jsonl holds;
here each line also has "odom_from_ego": 16 numbers, row by row, or null. A line of truth.jsonl:

    {"stamp_ns": ..., "odom_from_ego": [...], "boxes": [{"class": "car", "center_m": ...,
     "size_m": ..., "yaw_rad": ..., "velocity_mps": [vx, vy] or [null, null],
     "attribute": "vehicle.moving" or "", "points": 7 or -1 where nobody counted}, ...]}

Numbers are written in full, so that what is read is what was written, and no time that a machine
took is in here: the same recording gives the same bytes.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError, SensorError
from imkd_core.evaluation.boxes import ATTRIBUTES
from imkd_core.geometry import Float64
from imkd_core.types import Detections

_T = TypeVar("_T")

#: Outcomes of frames of which boxes, or an empty array of boxes, are given out; the same words as
#: in `imkd_core.health.degradation`.
ANSWERED = "answered"
EMPTY = "empty: "

#: Beginning of the outcome of what is no frame: nothing came that one could be made of.
NO_FRAME = "no frame: "

#: What reading a line of another make raises.
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, SensorError)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRecord:
    """What became of one frame.

    Attributes:
        stamp_ns: reference time.
        level: of degradation.
        outcome: "answered", "empty: policy blind", or why there are no boxes.
        age_ms: used sensor -> reference time minus the stamp of its newest reading.
        missing: sensor -> why it was not used.
        findings: faults of sensors that still send, as in the file.
        odom_from_ego: (4, 4) pose of the vehicle; None where it is not known.
        detections: what was given out; None where nothing was.
    """

    stamp_ns: int
    level: str
    outcome: str = ANSWERED
    age_ms: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()
    odom_from_ego: Float64 | None = None
    detections: Detections | None = None

    @property
    def is_given(self) -> bool:
        """Whether, by its outcome, boxes or an empty array of boxes were given out."""
        return self.outcome == ANSWERED or self.outcome.startswith(EMPTY)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueFrame:
    """What was true at one moment.

    Attributes:
        boxes: in the ego frame of their stamp, classes `NUSCENES_CLASSES`; velocity NaN where it
            is not known.
        attributes: (N,) int64 index into `ATTRIBUTES`, -1 where there is none.
        points: (N,) int64 returns of LiDAR (and radar) on each; -1 where nobody counted.
        odom_from_ego: (4, 4) pose of the vehicle; None where it is not known.

    Raises:
        DataError: lengths disagree.
    """

    boxes: Detections
    attributes: NDArray[np.int64]
    points: NDArray[np.int64]
    odom_from_ego: Float64 | None = None

    def __post_init__(self) -> None:
        """Check the lengths."""
        if {len(self.attributes), len(self.points)} != {len(self.boxes)}:
            raise DataError("true boxes: the lengths of the columns disagree")

    @property
    def stamp_ns(self) -> int:
        """The moment."""
        return self.boxes.stamp_ns


def box_mappings(detections: Detections) -> list[dict[str, Any]]:
    """Return boxes as plain values; velocities that are unknown are None."""
    return [
        {"class": name, "score": round(score, 6), **geometry}
        for name, score, geometry in zip(
            detections.names, detections.scores.tolist(), _geometries(detections), strict=True
        )
    ]


def frame_line(frame: FrameRecord) -> str:
    """Return a frame as a line of frames.jsonl, without its end."""
    boxes = [] if frame.detections is None else box_mappings(frame.detections)
    return json.dumps(
        {
            "stamp_ns": frame.stamp_ns,
            "boxes": boxes,
            "status": {
                "level": str(frame.level),
                "outcome": frame.outcome,
                "age_ms": dict(frame.age_ms),
                "missing": dict(frame.missing),
            },
            "findings": [dict(one) for one in frame.findings],
            "odom_from_ego": _plain_pose(frame.odom_from_ego),
        },
        allow_nan=False,
    )


def truth_line(truth: TrueFrame) -> str:
    """Return what was true as a line of truth.jsonl, without its end."""
    boxes = [
        {
            "class": name,
            **geometry,
            "attribute": ATTRIBUTES[attribute] if attribute >= 0 else "",
            "points": points,
        }
        for name, geometry, attribute, points in zip(
            truth.boxes.names,
            _geometries(truth.boxes),
            truth.attributes.tolist(),
            truth.points.tolist(),
            strict=True,
        )
    ]
    pose = _plain_pose(truth.odom_from_ego)
    return json.dumps(
        {"stamp_ns": truth.stamp_ns, "odom_from_ego": pose, "boxes": boxes}, allow_nan=False
    )


def read_frames(path: Path, class_names: Sequence[str]) -> list[FrameRecord]:
    """Read frames.jsonl.

    Args:
        path: of the file.
        class_names: of the model.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    return _read(path, lambda line: _frame(line, tuple(class_names)))


def read_truth(path: Path) -> list[TrueFrame]:
    """Read truth.jsonl.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    return _read(path, _truth)


def _read(path: Path, parse: Callable[[Any], _T]) -> list[_T]:
    found: list[_T] = []
    try:
        found.extend(parse(json.loads(text)) for text in path.read_bytes().splitlines())
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); replay the recording again"
        ) from None
    except _DAMAGE as error:
        raise DataError(
            f"{path}, line {len(found) + 1} is damaged ({error}); replay the recording again"
        ) from None
    return found


def _frame(line: Mapping[str, Any], class_names: tuple[str, ...]) -> FrameRecord:
    status, stamp_ns = line["status"], int(line["stamp_ns"])
    scores = [box["score"] for box in line["boxes"]]
    frame = FrameRecord(
        stamp_ns=stamp_ns,
        level=str(status["level"]),
        outcome=str(status["outcome"]),
        age_ms={str(name): float(value) for name, value in status["age_ms"].items()},
        missing={str(name): str(why) for name, why in status["missing"].items()},
        findings=tuple(line["findings"]),
        odom_from_ego=_read_pose(line["odom_from_ego"]),
    )
    if not frame.is_given:
        return frame
    return replace(frame, detections=_boxes(stamp_ns, line["boxes"], scores, class_names))


def _truth(line: Mapping[str, Any]) -> TrueFrame:
    boxes = line["boxes"]
    attributes = [ATTRIBUTES.index(box["attribute"]) if box["attribute"] else -1 for box in boxes]
    return TrueFrame(
        boxes=_boxes(int(line["stamp_ns"]), boxes, [1.0] * len(boxes), NUSCENES_CLASSES),
        attributes=np.array(attributes, np.int64),
        points=np.array([box["points"] for box in boxes], np.int64),
        odom_from_ego=_read_pose(line["odom_from_ego"]),
    )


def _geometries(boxes: Detections) -> list[dict[str, Any]]:
    """Return what all boxes share, a mapping a box; by columns, for there are hundreds a frame."""
    columns = (boxes.center_m, boxes.size_m, boxes.yaw_rad, boxes.velocity_mps)
    return [
        {
            "center_m": center_m,
            "size_m": size_m,
            "yaw_rad": yaw_rad,
            "velocity_mps": [value if value == value else None for value in velocity_mps],
        }
        for center_m, size_m, yaw_rad, velocity_mps in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def _boxes(
    stamp_ns: int,
    boxes: Sequence[Mapping[str, Any]],
    scores: Iterable[float],
    class_names: tuple[str, ...],
) -> Detections:
    def column(name: str, *axes: int) -> NDArray[np.float32]:
        return np.array([box[name] for box in boxes], np.float32).reshape(len(boxes), *axes)

    return Detections(
        stamp_ns=stamp_ns,
        class_names=class_names,
        center_m=column("center_m", 3),
        size_m=column("size_m", 3),
        yaw_rad=column("yaw_rad"),
        velocity_mps=column("velocity_mps", 2),
        scores=np.array(list(scores), np.float32),
        labels=np.array([class_names.index(box["class"]) for box in boxes], np.int64),
    )


def _plain_pose(pose: Float64 | None) -> list[float] | None:
    return None if pose is None else np.asarray(pose, np.float64).reshape(-1).tolist()


def _read_pose(values: Sequence[float] | None) -> Float64 | None:
    return None if values is None else np.array(values, np.float64).reshape(4, 4)
