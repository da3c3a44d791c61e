# SPDX-License-Identifier: Apache-2.0
"""Figures of parts of a data set: ranges, weather, light, speeds; and all of them as JSON.

Parts are judged over the classes that have true boxes in them, since a class is often absent; the
number of true boxes stands beside every figure.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.average_precision import Curve, pair_errors
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import (
    DetectionMetrics,
    DetectionRules,
    evaluate,
    match_classes,
)

#: Distances from the ego origin that are judged apart (method.md 10).
RANGE_BINS_M = ((0.0, 20.0), (20.0, 35.0), (35.0, 50.0))

#: Speeds of true objects that are judged apart, m/s.
SPEED_BINS_MPS = ((0.0, 0.2), (0.2, 3.0), (3.0, 8.0), (8.0, math.inf))

#: Detections count for recall by speed from this score on.
SPEED_MIN_SCORE = 0.1

#: Weather and light -> words of a scene's description that tell it.
WEATHER_WORDS = {"rain": r"\brain(s|y|ing)?\b", "fog": r"\b(fog|foggy|mist|misty)\b"}
LIGHT_WORDS = {"night": r"\bnight\b", "low sun": r"\b(low sun|sunset|sunrise|dusk|dawn)\b"}


@dataclass(frozen=True, kw_only=True)
class SliceFigures:
    """Figures of a part, over the classes that have true boxes in it.

    Attributes:
        name: of the part.
        samples, truth, found: their number.
        nds, mean_ap: NaN where there are no true boxes.
        errors: name -> mean error.
        ap, truth_of_class: class -> AP (NaN without true boxes), number of true boxes.
    """

    name: str
    samples: int
    truth: int
    found: int
    nds: float
    mean_ap: float
    errors: Mapping[str, float]
    ap: Mapping[str, float]
    truth_of_class: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class SpeedFigures:
    """How objects of some speed are found, cones and barriers left out.

    Attributes:
        name: the speeds.
        truth: true boxes of known speed.
        recall: part that was found within 2 m by a detection scored 0.1 or more.
        velocity_mps, orientation_rad: mean errors of those found; NaN without any.
    """

    name: str
    truth: int
    recall: float
    velocity_mps: float
    orientation_rad: float


@dataclass(frozen=True, kw_only=True)
class Condition:
    """All figures of one run: with all sensors, or with some lost.

    Attributes:
        name: "all sensors", "without CAM_FRONT", ...
        lost: number of lost sensors.
        metrics: of all samples.
        by_range, by_weather, by_light, by_speed: of parts.
        stage_ms: stage -> mean milliseconds a frame.
        steadiness: figure -> value (see `steadiness.FIGURES`); NaN where frames are too far apart.
    """

    name: str
    lost: int
    metrics: DetectionMetrics
    by_range: tuple[SliceFigures, ...]
    by_weather: tuple[SliceFigures, ...]
    by_light: tuple[SliceFigures, ...]
    by_speed: tuple[SpeedFigures, ...]
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    steadiness: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `imkd evaluate` found.

    Attributes:
        model, model_sha256: name of the bundle, hash over its files.
        data, scenes: where the samples are from.
        score_threshold, max_boxes: what was reported to the metrics.
        conditions: the first is that with all sensors.
        skipped: token of a sample that could not be read -> why.
    """

    model: str
    model_sha256: str
    data: str
    scenes: tuple[str, ...]
    score_threshold: float
    max_boxes: int
    conditions: tuple[Condition, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def nds(self) -> float:
        """NDS with all sensors, over the ten classes as the devkit has it."""
        return self.conditions[0].metrics.nds

    @property
    def mean_ap(self) -> float:
        """The same for mAP."""
        return self.conditions[0].metrics.mean_ap

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; numbers that JSON cannot say are None; no curves."""
        return {
            "nds": plain_values(self.nds),
            "map": plain_values(self.mean_ap),
            **plain_values(self),
        }


def weather_of(description: str) -> str:
    """Return "rain", "fog" or "clear" by a scene's description."""
    return _told(description, WEATHER_WORDS, "clear")


def light_of(description: str) -> str:
    """Return "night", "low sun" or "day" by a scene's description."""
    return _told(description, LIGHT_WORDS, "day")


def condition(
    name: str,
    found: BoxTable,
    truth: BoxTable,
    descriptions: Sequence[str],
    lost: int = 0,
    rules: DetectionRules | None = None,
    stage_ms: Mapping[str, float] | None = None,
) -> Condition:
    """Return all figures of one run.

    Args:
        name: of the run.
        found: detections that count (see `nuscenes_metrics.counted`).
        truth: true boxes that count.
        descriptions: of each sample's scene.
        lost: number of lost sensors.
        rules: of the task.
        stage_ms: stage -> mean milliseconds.
    """
    rules = rules or DetectionRules()
    weather = [weather_of(text) for text in descriptions]
    light = [light_of(text) for text in descriptions]
    return Condition(
        name=name,
        lost=lost,
        metrics=evaluate(found, truth, len(descriptions), rules),
        by_range=by_range(found, truth, len(descriptions), rules),
        by_weather=by_label(found, truth, weather, rules),
        by_light=by_label(found, truth, light, rules),
        by_speed=by_speed(found, truth, rules),
        stage_ms=dict(stage_ms or {}),
    )


def by_range(
    found: BoxTable, truth: BoxTable, samples: int, rules: DetectionRules
) -> tuple[SliceFigures, ...]:
    """Return the figures of each range; found and true boxes alike are those in the range."""
    rows = []
    for low_m, high_m in RANGE_BINS_M:
        parts = [
            boxes.select((boxes.ego_distance_m >= low_m) & (boxes.ego_distance_m < high_m))
            for boxes in (found, truth)
        ]
        metrics = evaluate(parts[0], parts[1], samples, rules)
        rows.append(_slice(f"{low_m:g} to {high_m:g} m", metrics))
    return tuple(rows)


def by_label(
    found: BoxTable, truth: BoxTable, labels: Sequence[str], rules: DetectionRules
) -> tuple[SliceFigures, ...]:
    """Return the figures of the samples with each label (one label a sample), most samples first.

    Args:
        found: detections that count.
        truth: true boxes that count.
        labels: (S,) label of each sample.
        rules: of the task.
    """
    column = np.array(labels, dtype=np.str_)
    names, counts = np.unique(column, return_counts=True)
    rows = []
    for i in np.argsort(-counts, kind="stable"):
        samples: NDArray[np.int64] = np.flatnonzero(column == names[i])
        parts = [boxes.select(np.isin(boxes.sample, samples)) for boxes in (found, truth)]
        metrics = evaluate(parts[0], parts[1], len(samples), rules)
        rows.append(_slice(str(names[i]), metrics))
    return tuple(rows)


def by_speed(found: BoxTable, truth: BoxTable, rules: DetectionRules) -> tuple[SpeedFigures, ...]:
    """Return recall and errors by the speed of the true object."""
    confident = found.select(found.score >= SPEED_MIN_SCORE)
    still = [NUSCENES_CLASSES.index(name) for name in ("barrier", "traffic_cone")]
    moving = truth.select(~np.isin(truth.label, still))
    pairs = [
        matches.pairs(rules.error_distance_m)
        for matches in match_classes(confident, moving, rules).values()
    ]
    hits, true_hits = (BoxTable.joined([pair[side] for pair in pairs]) for side in (0, 1))
    errors = pair_errors(hits, true_hits)
    rows = []
    for low_mps, high_mps in SPEED_BINS_MPS:
        count = int(_within(moving.speed_mps, low_mps, high_mps).sum())
        chosen = _within(true_hits.speed_mps, low_mps, high_mps)
        name = (
            f"{low_mps:g} m/s or more"
            if math.isinf(high_mps)
            else f"{low_mps:g} to {high_mps:g} m/s"
        )
        rows.append(
            SpeedFigures(
                name=name,
                truth=count,
                recall=float(chosen.sum() / count) if count else float("nan"),
                velocity_mps=_known_mean(errors["velocity_mps"][chosen]),
                orientation_rad=_known_mean(errors["orientation_rad"][chosen]),
            )
        )
    return tuple(rows)


def _slice(name: str, metrics: DetectionMetrics) -> SliceFigures:
    classes = metrics.classes
    return SliceFigures(
        name=name,
        samples=metrics.samples,
        truth=metrics.truth,
        found=metrics.found,
        nds=metrics.present_nds,
        mean_ap=metrics.present_mean_ap,
        errors=metrics.present_errors,
        ap={key: row.ap if row.truth else float("nan") for key, row in classes.items()},
        truth_of_class={key: row.truth for key, row in classes.items()},
    )


def _told(description: str, words: Mapping[str, str], otherwise: str) -> str:
    for name, pattern in words.items():
        if re.search(pattern, description, flags=re.IGNORECASE):
            return name
    return otherwise


def _within(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return np.asarray((values >= low) & (values < high))


def _known_mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def plain_values(value: Any) -> Any:
    """Return a tree of dataclasses, mappings and tuples as JSON values; without curves.

    Numbers that JSON cannot say are None.
    """
    if is_dataclass(value) and not isinstance(value, type):
        items = {item.name: getattr(value, item.name) for item in fields(value)}
        return {key: plain_values(item) for key, item in items.items() if key != "curves"}
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value if not isinstance(item, Curve)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
