# SPDX-License-Identifier: Apache-2.0
"""From a network's outputs to detections: thresholds, ranges and circle suppression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.config import HeadSpec
from imkd_core.errors import BackendError, ConfigError
from imkd_core.geometry import Float64
from imkd_core.types import Detections

#: Columns of the output `boxes`: metres and metres a second in the ego frame of the reference
#: time; the sine and cosine need not have length 1.
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "sin_yaw", "cos_yaw", "vx", "vy")

_OUTPUTS = ("scores", "labels", "boxes", "i_cam", "i_rad")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What is reported, per class.

    Attributes:
        score: class -> least score; `default_score` for a class that is not named.
        max_range_m: class -> largest distance of a centre from the ego origin in the xy plane;
            unlimited for a class that is not named.
        default_score: least score of the classes not named; the head's when None.
        max_boxes: boxes reported at most, the best first; the head's when None.

    Raises:
        ConfigError: a score is outside 0..1, or a range or number is not positive.
    """

    score: Mapping[str, float] = field(default_factory=dict)
    max_range_m: Mapping[str, float] = field(default_factory=dict)
    default_score: float | None = None
    max_boxes: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers and freeze the mappings."""
        for name, value in {"the other classes": self.default_score or 0.0, **self.score}.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"thresholds.score of '{name}' must be 0..1, got {value}")
        for name, value in self.max_range_m.items():
            if not value > 0:
                raise ConfigError(
                    f"thresholds.max_range_m of '{name}' must be a positive number of metres, "
                    f"got {value}"
                )
        if self.max_boxes is not None and self.max_boxes < 1:
            raise ConfigError(f"thresholds.max_boxes must be positive, got {self.max_boxes}")
        object.__setattr__(self, "score", MappingProxyType(dict(self.score)))
        object.__setattr__(self, "max_range_m", MappingProxyType(dict(self.max_range_m)))

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Refuse thresholds of classes that the model does not know.

        Raises:
            ConfigError: naming them.
        """
        unknown = sorted({*self.score, *self.max_range_m} - {*class_names})
        if unknown:
            raise ConfigError(
                f"thresholds name unknown classes {', '.join(unknown)}; the model knows "
                f"{', '.join(class_names)}"
            )


def decode_boxes(
    outputs: Mapping[str, NDArray[np.generic]],
    head: HeadSpec,
    stamp_ns: int,
    thresholds: Thresholds | None = None,
) -> Detections:
    """Return the objects among the network's candidates, best first.

    Args:
        outputs: scores [M], labels [M], boxes [M, 10] as `BOX_FIELDS`, i_cam [Y, X], i_rad [Y, X].
        head: what the model gives.
        stamp_ns: the frame's reference time.
        thresholds: what to report; the head's score threshold and no range limit when None.

    Raises:
        BackendError: an output is missing, misshapen, not finite, or impossible.
        ConfigError: a threshold names a class that the model does not know.
    """
    thresholds = thresholds or Thresholds()
    thresholds.check_classes(head.class_names)
    scores, labels, boxes = _checked(outputs, head)
    names = head.class_names
    default = thresholds.default_score
    default = head.score_threshold if default is None else default
    least_score = np.array([thresholds.score.get(name, default) for name in names])
    max_range_m = np.array([thresholds.max_range_m.get(name, np.inf) for name in names])
    is_wanted = scores >= least_score.astype(np.float32)[labels]
    is_wanted &= np.hypot(boxes[:, 0], boxes[:, 1]) <= max_range_m[labels]
    wanted = np.flatnonzero(is_wanted)
    radius_m = [head.nms_radius_m[name] for name in names]
    kept = wanted[circle_nms(boxes[wanted, :2], scores[wanted], labels[wanted], radius_m)]
    kept = kept[: thresholds.max_boxes or head.max_boxes]
    if not (boxes[kept, 3:6] > 0).all():
        raise BackendError("the model returned a box without a positive size; frame suppressed")
    return Detections(
        stamp_ns=stamp_ns,
        class_names=names,
        center_m=boxes[kept, 0:3],
        size_m=boxes[kept, 3:6],
        yaw_rad=np.arctan2(boxes[kept, 6], boxes[kept, 7]),
        velocity_mps=boxes[kept, 8:10],
        scores=scores[kept],
        labels=labels[kept],
        reliability={
            "camera": np.asarray(outputs["i_cam"], dtype=np.float32),
            "radar": np.asarray(outputs["i_rad"], dtype=np.float32),
        },
    )


def _checked(
    outputs: Mapping[str, NDArray[np.generic]], head: HeadSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return scores, labels and boxes after the checks that decoding relies on."""
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise BackendError(f"the model returned no {', '.join(missing)}")
    for name in _OUTPUTS:
        if not np.isfinite(outputs[name]).all():
            raise BackendError(
                f"the model returned a value that is not finite in '{name}'; frame suppressed"
            )
    scores = np.asarray(outputs["scores"], dtype=np.float32)
    labels = np.asarray(outputs["labels"], dtype=np.int64)
    boxes = np.asarray(outputs["boxes"], dtype=np.float32)
    n = len(scores)
    if scores.shape != (n,) or labels.shape != (n,) or boxes.shape != (n, len(BOX_FIELDS)):
        raise BackendError(
            f"the model returned scores {scores.shape}, labels {labels.shape} and boxes "
            f"{boxes.shape}; expected (M,), (M,) and (M, {len(BOX_FIELDS)})"
        )
    if n and (labels.min() < 0 or labels.max() >= len(head.class_names)):
        raise BackendError(f"the model returned a label outside 0..{len(head.class_names) - 1}")
    if n and (scores.min() < 0 or scores.max() > 1):
        raise BackendError("the model returned a score outside 0..1")
    return scores, labels, boxes


def circle_nms(
    center_xy: ArrayLike, scores: ArrayLike, labels: ArrayLike, radius_m: Sequence[float]
) -> NDArray[np.int64]:
    """Suppress boxes that are closer than a radius to a better kept box of their class.

    Args:
        center_xy: (N, 2) centres in metres.
        scores: (N,) of equal scores the earlier box is the better one.
        labels: (N,) classes.
        radius_m: per class; effective metres (mmdet3d's numbers are squared). 0 keeps all.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    center = np.asarray(center_xy, dtype=np.float64).reshape(-1, 2)[order]
    label = np.asarray(labels, dtype=np.int64)[order]
    better, worse = _close_pairs(center, label, np.asarray(radius_m, dtype=np.float64)[label])
    is_kept = np.ones(len(order), dtype=np.bool_)
    rivals, starts = np.unique(better, return_index=True)
    ends = np.append(starts, len(better))[1:]
    for rival, start, end in zip(rivals.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if is_kept[rival]:
            is_kept[worse[start:end]] = False
    return order[is_kept]


def _close_pairs(
    center: Float64, label: NDArray[np.int64], radius_m: Float64
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs (better, worse), sorted, of one class that are closer than its radius.

    Boxes are sorted along x, each class in a stretch of its own, so that only pairs within a
    radius along x are looked at: a matrix of all pairs is ten times slower.
    """
    if len(center) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    stretch_m = np.ptp(center[:, 0]) + radius_m.max() + 1.0
    along = center[:, 0] + label * stretch_m
    by_x = np.argsort(along, kind="stable")
    along = along[by_x]
    reach = np.searchsorted(along, along + radius_m[by_x] + 1e-6, side="right")
    count = reach - np.arange(len(along)) - 1
    left = np.repeat(np.arange(len(along)), count)
    first_pair = np.repeat(np.cumsum(count) - count, count)
    right = left + 1 + np.arange(len(left)) - first_pair
    i, j = by_x[left], by_x[right]
    gap = center[i] - center[j]
    is_close = (gap[:, 0] ** 2 + gap[:, 1] ** 2 < radius_m[i] ** 2) & (label[i] == label[j])
    better, worse = np.minimum(i, j)[is_close], np.maximum(i, j)[is_close]
    by_rank = np.argsort(better, kind="stable")
    return better[by_rank], worse[by_rank]
