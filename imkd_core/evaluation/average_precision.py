# SPDX-License-Identifier: Apache-2.0
"""Greedy matching by centre distance, precision over recall, average precision, errors of pairs.

The rules are those of the nuScenes detection task, down to its interpolation: detections of a
class, best score first (of equal scores the later one first), each take the nearest free true box
of their sample; curves are read at 101 recalls; errors are running means over the pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.evaluation.boxes import BoxTable
from imkd_core.geometry import Float64

#: Recalls at which curves are read.
RECALLS = np.linspace(0.0, 1.0, 101)

#: Errors of matched pairs, in the devkit's order.
ERRORS = ("translation_m", "scale", "orientation_rad", "velocity_mps", "attribute")

#: Pairs of boxes that are looked at together, to bound the memory.
_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMatches:
    """Detections of one class, best first, and which true box each took at each distance.

    Attributes:
        found: the detections, in the order in which they chose.
        truth: the true boxes of the class.
        taken: distance limit in metres -> (D,) int64 row of the true box, -1 for none.
    """

    found: BoxTable
    truth: BoxTable
    taken: Mapping[float, NDArray[np.int64]]

    def pairs(self, distance_m: float) -> tuple[BoxTable, BoxTable]:
        """Return the found and the true boxes of the pairs, best score first."""
        taken = self.taken[distance_m]
        hits = np.flatnonzero(taken >= 0)
        return self.found.select(hits), self.truth.select(taken[hits])


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassHits:
    """Which detections of a class are right: all that its curves need, and no boxes.

    Attributes:
        score: (D,) of the detections, in the order in which they chose, best first.
        is_hit: distance limit in metres -> (D,) bool, which found a true box.
        errors: name -> (P,) errors of those that are right at one of the limits, best first.
        truth: number of true boxes.
    """

    score: Float64
    is_hit: Mapping[float, NDArray[np.bool_]]
    errors: Mapping[str, Float64]
    truth: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Precision, score and mean errors at the 101 `RECALLS`; all (101,) float64.

    Attributes:
        precision: 0 beyond the largest recall.
        score: of the last detection up to a recall; 0 beyond the largest recall.
        errors: name -> running mean over the pairs; empty where it was not asked for.
    """

    precision: Float64
    score: Float64
    errors: Mapping[str, Float64]

    @property
    def last_index(self) -> int:
        """Index of the largest recall that is reached."""
        reached = np.flatnonzero(self.score)
        return int(reached[-1]) if reached.size else 0

    def average_precision(self, min_recall: float, min_precision: float) -> float:
        """Return the area between the least recall and 1, above the least precision, 0..1."""
        above = np.maximum(self.precision[_first(min_recall) :] - min_precision, 0.0)
        return float(above.mean()) / (1.0 - min_precision)

    def mean_error(self, name: str, min_recall: float) -> float:
        """Return the mean of an error between the least and the largest recall; 1 where none."""
        first, last = _first(min_recall), self.last_index
        return float(self.errors[name][first : last + 1].mean()) if last >= first else 1.0


def match_class(found: BoxTable, truth: BoxTable, distances_m: Sequence[float]) -> ClassMatches:
    """Match boxes of one class; each true box is taken at most once for each distance limit.

    Args:
        found: detections of the class.
        truth: its true boxes.
        distances_m: limits; the centres' distance in the global xy plane must be below.
    """
    ranked = found.select(np.argsort(found.score, kind="stable")[::-1])
    rank, row, distance_m = _near_pairs(ranked, truth, max(distances_m))
    taken = {}
    for limit_m in distances_m:
        near = distance_m < limit_m
        taken[limit_m] = _take(rank[near], row[near], len(ranked), len(truth))
    return ClassMatches(found=ranked, truth=truth, taken=MappingProxyType(taken))


def class_hits(matches: ClassMatches, error_distance_m: float, half_turn: bool) -> ClassHits:
    """Return what the curves of a class are made of.

    Args:
        matches: of the class.
        error_distance_m: limit at which the errors are taken; one of the matches'.
        half_turn: whether the class looks the same from both sides.
    """
    return ClassHits(
        score=matches.found.score,
        is_hit={limit_m: taken >= 0 for limit_m, taken in matches.taken.items()},
        errors=pair_errors(*matches.pairs(error_distance_m), half_turn=half_turn),
        truth=len(matches.truth),
    )


def curve(hits: ClassHits, distance_m: float, with_errors: bool = False) -> Curve:
    """Return precision over recall.

    Args:
        hits: of one class.
        distance_m: limit.
        with_errors: whether this is the limit at which the errors were taken, to return them too.
    """
    is_hit = hits.is_hit[distance_m]
    if not is_hit.any():
        blank = {name: np.ones(len(RECALLS)) for name in ERRORS if with_errors}
        zero = np.zeros(len(RECALLS))
        return Curve(precision=zero, score=zero, errors=blank)
    found = np.cumsum(is_hit).astype(np.float64)
    recall = found / hits.truth
    precision = found / np.arange(1.0, len(found) + 1.0)
    score = np.interp(RECALLS, recall, hits.score, right=0)
    errors: dict[str, Float64] = {}
    if with_errors:
        at_score = hits.score[is_hit][::-1]
        for name, values in hits.errors.items():
            means = _running_mean(values)[::-1]
            errors[name] = np.interp(score[::-1], at_score, means)[::-1]
    return Curve(
        precision=np.interp(RECALLS, recall, precision, right=0), score=score, errors=errors
    )


def pair_errors(found: BoxTable, truth: BoxTable, half_turn: bool = False) -> dict[str, Float64]:
    """Return the five errors of pairs of the same row, each (P,); NaN where one is unknown.

    translation_m: of the centres in the xy plane. scale: 1 - intersection over union of the boxes
    laid on each other. orientation_rad: 0..pi (0..pi/2 with `half_turn`). velocity_mps: length of
    the difference. attribute: 0 right, 1 wrong, NaN where the true box has none.
    """
    common = np.minimum(found.size_m, truth.size_m).prod(axis=1)
    union = found.size_m.prod(axis=1) + truth.size_m.prod(axis=1) - common
    period = np.pi if half_turn else 2 * np.pi
    turn = np.mod(truth.yaw_rad - found.yaw_rad + period / 2, period) - period / 2
    is_wrong = (found.attribute != truth.attribute).astype(np.float64)
    return {
        "translation_m": _length(found.center_m[:, :2] - truth.center_m[:, :2]),
        "scale": 1.0 - common / union,
        "orientation_rad": np.abs(turn),
        "velocity_mps": _length(found.velocity_mps - truth.velocity_mps),
        "attribute": np.where(truth.attribute < 0, np.nan, is_wrong),
    }


def _near_pairs(
    ranked: BoxTable, truth: BoxTable, limit_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64]:
    """Return pairs of one sample that are nearer than a limit: rank, true row, distance.

    Sorted by rank, then distance, then true row: the order in which detections choose.
    """
    by_sample = np.argsort(truth.sample, kind="stable")
    samples = truth.sample[by_sample]
    start = np.searchsorted(samples, ranked.sample, side="left")
    count = np.searchsorted(samples, ranked.sample, side="right") - start
    ends = np.cumsum(count)
    parts = []
    low = 0
    while low < len(ranked):
        before = int(ends[low - 1]) if low else 0
        high = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")), low + 1)
        rank = np.repeat(np.arange(low, high), count[low:high])
        first = np.repeat(ends[low:high] - count[low:high] - before, count[low:high])
        row = by_sample[np.repeat(start[low:high], count[low:high]) + np.arange(len(rank)) - first]
        distance_m = _length(ranked.center_m[rank, :2] - truth.center_m[row, :2])
        near = distance_m < limit_m
        parts.append((rank[near], row[near], distance_m[near]))
        low = high
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rank, row, distance_m = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((row, distance_m, rank))
    return rank[order], row[order], distance_m[order]


def _take(
    rank: NDArray[np.int64], row: NDArray[np.int64], found: int, truth: int
) -> NDArray[np.int64]:
    """Let each detection take the first free true box among its sorted pairs."""
    taken = np.full(found, -1, dtype=np.int64)
    is_free = [True] * truth
    served = -1
    for detection, box in zip(rank.tolist(), row.tolist(), strict=True):
        if detection != served and is_free[box]:
            taken[detection], is_free[box], served = box, False, detection
    return taken


def _running_mean(values: Float64) -> Float64:
    """Return the mean of the known values up to each; 0 before the first, all 1 without any."""
    is_known = ~np.isnan(values)
    if not is_known.any():
        return np.ones(len(values))
    count = np.cumsum(is_known)
    total = np.cumsum(np.where(is_known, values, 0.0))
    return np.divide(total, count, out=np.zeros_like(total), where=count != 0)


def _length(offset: Float64) -> Float64:
    return np.asarray(np.sqrt((offset**2).sum(axis=1)))


def _first(min_recall: float) -> int:
    """Return the index of the first recall above the least one."""
    return round(100 * min_recall) + 1
