# SPDX-License-Identifier: Apache-2.0
"""The nuScenes detection metrics in numpy: mAP, the five true-positive errors, and NDS.

    metrics = evaluate(found, truth, samples=81)
    metrics.nds, metrics.mean_ap, metrics.classes["car"].ap

Own implementation of the published rules (configuration `detection_cvpr_2019`); nuscenes-devkit
1.2.0 is its oracle in the tests. Quirks that are kept: a class without true boxes has AP 0 and
errors of 1 and is part of every mean; of equal scores the later box chooses first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import ConfigError
from imkd_core.evaluation.average_precision import (
    ERRORS,
    ClassHits,
    ClassMatches,
    Curve,
    class_hits,
    curve,
    match_class,
)
from imkd_core.evaluation.boxes import BoxTable, RackTable
from imkd_core.evaluation.matching import HALF_TURN_CLASSES, ROUND_CLASSES

#: Errors that a class does not have (they are NaN and left out of means).
UNDEFINED_ERRORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(ROUND_CLASSES, ("orientation_rad", "velocity_mps", "attribute")),
        "barrier": ("velocity_mps", "attribute"),
    }
)

#: Classes that bicycle racks hide.
_RACK_CLASSES = ("bicycle", "motorcycle")


@dataclass(frozen=True, kw_only=True)
class DetectionRules:
    """What counts, and how: the nuScenes configuration `detection_cvpr_2019`.

    Attributes:
        class_range_m: class -> boxes count below this distance from the ego origin.
        distances_m: limits of the centres' distance that AP is averaged over.
        error_distance_m: limit at which the errors are taken; one of `distances_m`.
        min_recall, min_precision: below, curves do not count.
        max_boxes: detections that count for each sample.
        ap_weight: of mAP in NDS; each error has weight 1.

    Raises:
        ConfigError: the numbers do not fit each other.
    """

    class_range_m: Mapping[str, float] = field(
        default_factory=lambda: {
            "car": 50.0,
            "truck": 50.0,
            "bus": 50.0,
            "trailer": 50.0,
            "construction_vehicle": 50.0,
            "pedestrian": 40.0,
            "motorcycle": 40.0,
            "bicycle": 40.0,
            "traffic_cone": 30.0,
            "barrier": 30.0,
        }
    )
    distances_m: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    error_distance_m: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1
    max_boxes: int = 500
    ap_weight: float = 5.0

    def __post_init__(self) -> None:
        """Check that the numbers fit each other."""
        if set(self.class_range_m) != set(NUSCENES_CLASSES):
            raise ConfigError("rules.class_range_m must name every nuScenes class once")
        if self.error_distance_m not in self.distances_m or min(self.distances_m) <= 0:
            raise ConfigError("rules.distances_m must be positive and hold error_distance_m")
        if not (0 <= self.min_recall < 1 and 0 <= self.min_precision < 1):
            raise ConfigError("rules.min_recall and min_precision must be 0..1, below 1")


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """Figures of one class.

    Attributes:
        truth: true boxes that count.
        found: detections that count.
        ap: mean over the distances.
        ap_at_m: distance limit -> AP.
        errors: name -> mean error; NaN where the class has no such error.
    """

    truth: int
    found: int
    ap: float
    ap_at_m: Mapping[float, float]
    errors: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics:
    """Figures of a set of samples.

    Attributes:
        samples: their number.
        truth, found: boxes that count.
        mean_ap, nds: as the devkit has them: over all ten classes, with AP 0 and errors of 1 for
            a class without true boxes.
        errors: name -> mean over the classes that have the error.
        present_mean_ap, present_nds, present_errors: the same over the classes that have true
            boxes; NaN without any. For parts of a data set, where some class is often absent.
        classes: class -> figures.
        curves: class -> curves at each distance, in the order of the rules; those at the error
            distance with errors.
    """

    samples: int
    truth: int
    found: int
    mean_ap: float
    nds: float
    errors: Mapping[str, float]
    present_mean_ap: float
    present_nds: float
    present_errors: Mapping[str, float]
    classes: Mapping[str, ClassMetrics]
    curves: Mapping[str, tuple[Curve, ...]] = field(repr=False, compare=False)


def counted(
    boxes: BoxTable, rules: DetectionRules | None = None, racks: RackTable | None = None
) -> BoxTable:
    """Return the boxes that count: in range, with a point on them (true boxes), in no bike rack.

    Args:
        boxes: found or true ones; `points` is -1 for found boxes.
        rules: ranges.
        racks: bicycle racks; none when None.
    """
    rules = rules or DetectionRules()
    range_m = np.array([rules.class_range_m[name] for name in NUSCENES_CLASSES])
    keep = (boxes.ego_distance_m < range_m[boxes.label]) & (boxes.points != 0)
    if racks is not None and len(racks.sample):
        hidden = [NUSCENES_CLASSES.index(name) for name in _RACK_CLASSES]
        keep &= ~(np.isin(boxes.label, hidden) & racks.contains(boxes))
    return boxes.select(keep)


def evaluate(
    found: BoxTable,
    truth: BoxTable,
    samples: int,
    rules: DetectionRules | None = None,
) -> DetectionMetrics:
    """Return the metrics of boxes that count (see `counted`).

    Args:
        found: detections; at most `rules.max_boxes` a sample (see `boxes.found_boxes`).
        truth: true boxes.
        samples: number of samples, with or without boxes.
        rules: distances, least recall and precision, weights.
    """
    rules = rules or DetectionRules()
    matches = match_classes(found, truth, rules)
    hits = {name: hits_of_class(name, matches[name], rules) for name in NUSCENES_CLASSES}
    return metrics_of(hits, samples, rules)


def hits_of_class(name: str, matches: ClassMatches, rules: DetectionRules) -> ClassHits:
    """Return what the figures of a class are made of."""
    return class_hits(matches, rules.error_distance_m, name in HALF_TURN_CLASSES)


def metrics_of(
    hits: Mapping[str, ClassHits], samples: int, rules: DetectionRules | None = None
) -> DetectionMetrics:
    """Return the metrics of detections that are matched already.

    Args:
        hits: class -> its detections, right or wrong, at the distances of the rules.
        samples: number of samples.
        rules: distances, least recall and precision, weights.
    """
    rules = rules or DetectionRules()
    curves = {name: _curves(hits[name], rules) for name in NUSCENES_CLASSES}
    classes = {
        name: _class_metrics(name, hits[name], curves[name], rules) for name in NUSCENES_CLASSES
    }
    present = [figures for figures in classes.values() if figures.truth]
    errors, present_errors = _mean_errors(list(classes.values())), _mean_errors(present)
    mean_ap, present_ap = _mean([c.ap for c in classes.values()]), _mean([c.ap for c in present])
    return DetectionMetrics(
        samples=samples,
        truth=sum(one.truth for one in hits.values()),
        found=sum(len(one.score) for one in hits.values()),
        mean_ap=mean_ap,
        nds=detection_score(mean_ap, errors, rules.ap_weight),
        errors=errors,
        present_mean_ap=present_ap,
        present_nds=detection_score(present_ap, present_errors, rules.ap_weight),
        present_errors=present_errors,
        classes=MappingProxyType(classes),
        curves=MappingProxyType(curves),
    )


def match_classes(
    found: BoxTable, truth: BoxTable, rules: DetectionRules
) -> dict[str, ClassMatches]:
    """Return the matches of each class, class by class."""
    return {
        name: match_class(
            found.select(found.label == label),
            truth.select(truth.label == label),
            rules.distances_m,
        )
        for label, name in enumerate(NUSCENES_CLASSES)
    }


def detection_score(mean_ap: float, errors: Mapping[str, float], ap_weight: float = 5.0) -> float:
    """Return NDS: the weighted mean of mAP and of 1 - error, each error cut at 1.

    An error that no class has (NaN) is left out with its weight.
    """
    scores = [max(0.0, 1.0 - error) for error in errors.values() if not np.isnan(error)]
    return (ap_weight * mean_ap + sum(scores)) / (ap_weight + len(scores))


def _curves(hits: ClassHits, rules: DetectionRules) -> tuple[Curve, ...]:
    return tuple(
        curve(hits, limit_m, with_errors=limit_m == rules.error_distance_m)
        for limit_m in rules.distances_m
    )


def _class_metrics(
    name: str, hits: ClassHits, curves: Sequence[Curve], rules: DetectionRules
) -> ClassMetrics:
    ap_at_m = {
        limit_m: one.average_precision(rules.min_recall, rules.min_precision)
        for limit_m, one in zip(rules.distances_m, curves, strict=True)
    }
    with_errors = curves[rules.distances_m.index(rules.error_distance_m)]
    undefined = UNDEFINED_ERRORS.get(name, ())
    return ClassMetrics(
        truth=hits.truth,
        found=len(hits.score),
        ap=_mean(list(ap_at_m.values())),
        ap_at_m=MappingProxyType(ap_at_m),
        errors=MappingProxyType(
            {
                error: float("nan")
                if error in undefined
                else with_errors.mean_error(error, rules.min_recall)
                for error in ERRORS
            }
        ),
    )


def _mean_errors(classes: Sequence[ClassMetrics]) -> Mapping[str, float]:
    return MappingProxyType(
        {name: _mean([figures.errors[name] for figures in classes]) for name in ERRORS}
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the known values; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
