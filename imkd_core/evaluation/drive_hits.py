# SPDX-License-Identifier: Apache-2.0
"""Which detections of each drive are right: enough to judge any choice of drives, and small.

    hits = match_drives(found, truth, drive_of_sample, names)
    hits.metrics()                       # what `nuscenes_metrics.evaluate` gives, to the last bit
    hits.metrics(times=[1, 0, 2])        # of the first drive once and the third twice

Detections and true boxes meet within a sample only, so what is matched once holds for every choice
of drives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.average_precision import ERRORS, ClassHits
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import (
    DetectionMetrics,
    DetectionRules,
    hits_of_class,
    match_classes,
    metrics_of,
)
from imkd_core.geometry import Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class DriveHits:
    """Detections of some drives, class after class, each class best first, right or wrong.

    Attributes:
        samples: (V,) int64 samples of each drive.
        truth: (V, C) int64 true boxes of each drive and class, in the order of
            `NUSCENES_CLASSES`.
        drive: (D,) int64 drive of each detection.
        label: (D,) int64 its class, ascending.
        score: (D,) float64.
        is_hit: (D, K) bool, whether it found a true box at each distance of the rules.
        errors: (P, 5) float64 `ERRORS` of the detections that are right at the error distance of
            the rules, in their order.

    Raises:
        DataError: lengths disagree, or an index is out of range.
    """

    samples: NDArray[np.int64]
    truth: NDArray[np.int64]
    drive: NDArray[np.int64]
    label: NDArray[np.int64]
    score: Float64
    is_hit: NDArray[np.bool_]
    errors: Float64

    def __post_init__(self) -> None:
        """Check lengths and indices."""
        drives, count, classes = len(self.samples), len(self.score), len(NUSCENES_CLASSES)
        are_long = (len(self.drive), len(self.label), len(self.is_hit)) == (count,) * 3
        if self.truth.shape != (drives, classes) or not are_long or self.is_hit.ndim != 2:
            raise DataError("hits of drives: the lengths of the columns disagree")
        if self.errors.ndim != 2 or self.errors.shape[1] != len(ERRORS):
            raise DataError(f"hits of drives: errors must be (P, 5), got {self.errors.shape}")
        for values, limit in ((self.drive, drives), (self.label, classes)):
            if count and not (values.min() >= 0 and values.max() < limit):
                raise DataError(f"hits of drives: an index is outside 0..{limit - 1}")
        if (np.diff(self.label) < 0).any():
            raise DataError("hits of drives: the classes are not in order")

    def metrics(
        self, times: ArrayLike | None = None, rules: DetectionRules | None = None
    ) -> DetectionMetrics:
        """Return the figures of a choice of drives.

        Args:
            times: (V,) how often each drive counts; all once when None.
            rules: those by which the hits were made.

        Raises:
            DataError: the hits do not fit the rules.
        """
        rules = rules or DetectionRules()
        drives = len(self.samples)
        often = np.ones(drives, np.int64) if times is None else np.asarray(times, np.int64)
        is_error = self._with_errors(rules)
        hits = {
            name: self._of_class(label, often, is_error, rules)
            for label, name in enumerate(NUSCENES_CLASSES)
        }
        return metrics_of(hits, int(often @ self.samples), rules)

    def select(self, drives: Sequence[int]) -> "DriveHits":
        """Return the hits of some drives, numbered in the order given."""
        number = np.full(len(self.samples), -1, np.int64)
        number[list(drives)] = np.arange(len(drives))
        keep = number[self.drive] >= 0
        is_error = self._with_errors(DetectionRules())
        return DriveHits(
            samples=self.samples[list(drives)],
            truth=self.truth[list(drives)],
            drive=number[self.drive][keep],
            label=self.label[keep],
            score=self.score[keep],
            is_hit=self.is_hit[keep],
            errors=self.errors[keep[is_error]],
        )

    def _with_errors(self, rules: DetectionRules) -> NDArray[np.bool_]:
        """Return (D,) which detections have a row in `errors`."""
        if self.is_hit.shape[1] != len(rules.distances_m):
            raise DataError("the hits were made by other rules; evaluate again")
        column = rules.distances_m.index(rules.error_distance_m)
        is_error = self.is_hit[:, column]
        if int(is_error.sum()) != len(self.errors):
            raise DataError("hits of drives: there are not as many errors as right detections")
        return is_error

    def _of_class(
        self,
        label: int,
        often: NDArray[np.int64],
        is_error: NDArray[np.bool_],
        rules: DetectionRules,
    ) -> ClassHits:
        low, high = np.searchsorted(self.label, (label, label + 1))
        first, last = np.count_nonzero(is_error[:low]), np.count_nonzero(is_error[:high])
        times = often[self.drive[low:high]]
        errors = np.repeat(self.errors[first:last], times[is_error[low:high]], axis=0)
        return ClassHits(
            score=np.repeat(self.score[low:high], times),
            is_hit={
                limit_m: np.repeat(self.is_hit[low:high, k], times)
                for k, limit_m in enumerate(rules.distances_m)
            },
            errors={name: errors[:, i] for i, name in enumerate(ERRORS)},
            truth=int(often @ self.truth[:, label]),
        )


def match_drives(
    found: BoxTable,
    truth: BoxTable,
    drive_of_sample: ArrayLike,
    rules: DetectionRules | None = None,
) -> DriveHits:
    """Match detections to true boxes by the rules of the nuScenes task, and keep whose they are.

    Args:
        found: detections that count (see `nuscenes_metrics.counted`).
        truth: true boxes that count.
        drive_of_sample: (S,) index of each sample's drive, from 0 without a gap.
        rules: of the task.
    """
    rules = rules or DetectionRules()
    drive_of = np.asarray(drive_of_sample, np.int64)
    drives = int(drive_of.max()) + 1 if drive_of.size else 0
    true_boxes = np.zeros((drives, len(NUSCENES_CLASSES)), np.int64)
    np.add.at(true_boxes, (drive_of[truth.sample], truth.label), 1)
    columns: list[tuple[NDArray[np.int64], NDArray[np.int64], Float64]] = []
    is_hit: list[NDArray[np.bool_]] = []
    errors: list[Float64] = []
    for label, (name, matches) in enumerate(match_classes(found, truth, rules).items()):
        hits = hits_of_class(name, matches, rules)
        drive = drive_of[matches.found.sample]
        columns.append((drive, np.full(len(drive), label), hits.score))
        is_hit.append(np.stack([hits.is_hit[limit_m] for limit_m in rules.distances_m], axis=1))
        errors.append(np.stack([hits.errors[error] for error in ERRORS], axis=1))
    return DriveHits(
        samples=np.bincount(drive_of, minlength=drives),
        truth=true_boxes,
        drive=np.concatenate([drive for drive, _, _ in columns]),
        label=np.concatenate([label for _, label, _ in columns]),
        score=np.concatenate([score for _, _, score in columns]),
        is_hit=np.concatenate(is_hit),
        errors=np.concatenate(errors),
    )
