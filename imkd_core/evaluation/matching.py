# SPDX-License-Identifier: Apache-2.0
"""One-to-one matching of found and true boxes, and the errors of the pairs.

As in the nuScenes detection task: detections, best score first, each take the nearest free true
box of their class whose centre is nearer than a limit in the bird's-eye view.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.geometry import Float64, wrap_angle
from imkd_core.types import Detections

#: A barrier looks the same from both sides (nuscenes-devkit).
HALF_TURN_CLASSES = ("barrier",)

#: Classes without a heading: their yaw error is undefined (nuscenes-devkit).
ROUND_CLASSES = ("traffic_cone",)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairErrors:
    """Errors of matched pairs; all (P,) float64, in the order of the pairs.

    Attributes:
        center_m: distance of the centres in the bird's-eye view.
        size: 1 - intersection over union of the boxes laid on each other (devkit's scale error).
        size_m: largest difference of length, width and height.
        yaw_rad: 0..pi; period pi for barriers; NaN for traffic cones.
        velocity_mps: length of the difference; NaN where a velocity is unknown.
    """

    center_m: Float64
    size: Float64
    size_m: Float64
    yaw_rad: Float64
    velocity_mps: Float64

    def mean(self) -> dict[str, float]:
        """Return the mean of each error over the pairs that have it; NaN without any."""
        return {name: _over_known(values, np.mean) for name, values in vars(self).items()}

    def largest(self) -> dict[str, float]:
        """Return the largest of each error over the pairs that have it; NaN without any."""
        return {name: _over_known(values, np.max) for name, values in vars(self).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Matching:
    """Which detection found which true box.

    Attributes:
        pairs: (P, 2) int64 indices (detection, truth), best score first.
        class_of_detection, class_of_truth: names.
        is_required: (T,) bool, the true boxes that recall counts.
        errors: of the pairs.
    """

    pairs: NDArray[np.int64]
    class_of_detection: tuple[str, ...]
    class_of_truth: tuple[str, ...]
    is_required: NDArray[np.bool_]
    errors: PairErrors

    @property
    def is_found(self) -> NDArray[np.bool_]:
        """(T,) which true boxes were found."""
        found = np.zeros(len(self.class_of_truth), dtype=np.bool_)
        found[self.pairs[:, 1]] = True
        return found

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(D,) which detections found a true box."""
        right = np.zeros(len(self.class_of_detection), dtype=np.bool_)
        right[self.pairs[:, 0]] = True
        return right

    @property
    def recall(self) -> float:
        """Part of the required true boxes that was found; NaN where none is required."""
        return _part(self.is_found[self.is_required])

    @property
    def precision(self) -> float:
        """Part of the detections that found a true box, required or not; NaN without any."""
        return _part(self.is_right)

    def recall_by_class(self) -> Mapping[str, float]:
        """Return the recall of each class that has a required true box."""
        names = np.array(self.class_of_truth, dtype=np.str_)
        found, required = self.is_found, self.is_required
        return {
            str(name): _part(found[required & (names == name)])
            for name in np.unique(names[required])
        }

    def precision_by_class(self) -> Mapping[str, float]:
        """Return the precision of each class that was detected."""
        names = np.array(self.class_of_detection, dtype=np.str_)
        return {str(name): _part(self.is_right[names == name]) for name in np.unique(names)}


def match_boxes(
    detections: Detections,
    truth: Detections,
    max_distance_m: float = 1.0,
    min_score: float = 0.0,
    is_required: NDArray[np.bool_] | None = None,
) -> Matching:
    """Match detections to true boxes of the same class, each used once, greedily by score.

    Classes are compared by name. A detection that finds a true box which recall does not count
    is still right, so give all true boxes as `truth` and the subset as `is_required`.

    Args:
        detections: found boxes; those scored below `min_score` are not looked at. Indices in
            the result are those of the boxes looked at, `detections.scores >= min_score`.
        truth: true boxes in the same ego frame.
        max_distance_m: the centres' distance (x, y) must be below this.
        min_score: smallest score of a detection.
        is_required: (T,) the true boxes that recall counts; all where it is None.
    """
    found = detections.select(np.flatnonzero(detections.scores >= min_score))
    distance_m = _distances(found, truth)
    allowed = np.equal.outer(np.array(found.names, np.str_), np.array(truth.names, np.str_))
    cost = np.where(allowed & (distance_m < max_distance_m), distance_m, np.inf)
    pairs = []
    for detection in np.argsort(-found.scores, kind="stable"):
        row = cost[detection]
        if row.size and np.isfinite(row.min()):
            nearest = int(np.argmin(row))
            pairs.append((int(detection), nearest))
            cost[:, nearest] = np.inf
    indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Matching(
        pairs=indices,
        class_of_detection=tuple(found.names),
        class_of_truth=tuple(truth.names),
        is_required=np.ones(len(truth), np.bool_) if is_required is None else is_required,
        errors=pair_errors(found.select(indices[:, 0]), truth.select(indices[:, 1])),
    )


def pair_errors(found: Detections, truth: Detections) -> PairErrors:
    """Return the errors of found boxes against true boxes of the same index and class."""
    size, true_size = found.size_m.astype(np.float64), truth.size_m.astype(np.float64)
    common = np.minimum(size, true_size).prod(axis=1)
    union = size.prod(axis=1) + true_size.prod(axis=1) - common
    names = np.array(truth.names, dtype=np.str_)
    turn_rad = found.yaw_rad.astype(np.float64) - truth.yaw_rad.astype(np.float64)
    half_rad = np.abs(wrap_angle(2 * turn_rad)) / 2
    yaw_rad = np.where(np.isin(names, HALF_TURN_CLASSES), half_rad, np.abs(wrap_angle(turn_rad)))
    difference = found.velocity_mps.astype(np.float64) - truth.velocity_mps.astype(np.float64)
    return PairErrors(
        center_m=np.linalg.norm(_centers(found) - _centers(truth), axis=1),
        size=1 - common / union,
        size_m=np.abs(size - true_size).max(axis=1, initial=0.0),
        yaw_rad=np.where(np.isin(names, ROUND_CLASSES), np.nan, yaw_rad),
        velocity_mps=np.linalg.norm(difference, axis=1),
    )


def required_boxes(
    truth: Detections,
    num_lidar_points: NDArray[np.int64],
    grid: BevGrid,
    min_lidar_points: int = 5,
) -> NDArray[np.bool_]:
    """Return which (T,) true boxes have enough LiDAR points and their centre within the grid."""
    _, is_inside = grid.cell_index(_centers(truth))
    return np.asarray(is_inside & (np.asarray(num_lidar_points) >= min_lidar_points))


def _centers(boxes: Detections) -> Float64:
    return boxes.center_m[:, :2].astype(np.float64)


def _distances(found: Detections, truth: Detections) -> Float64:
    """Return the (D, T) distances of the centres in the bird's-eye view."""
    offset = _centers(found)[:, None] - _centers(truth)[None]
    return np.asarray(np.linalg.norm(offset, axis=2), dtype=np.float64)


def _part(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if hits.size else float("nan")


def _over_known(values: Float64, reduce: Callable[[Float64], np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(reduce(known)) if known.size else float("nan")
