# SPDX-License-Identifier: Apache-2.0
"""Curves of an evaluation as polylines, for the report to draw as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.drawing import class_color
from imkd_core.evaluation.average_precision import ERRORS, RECALLS, Curve
from imkd_core.evaluation.nuscenes_metrics import (
    UNDEFINED_ERRORS,
    DetectionMetrics,
    DetectionRules,
)
from imkd_core.geometry import Float64

#: Size of the drawing area of a chart in SVG units.
WIDTH, HEIGHT = 220.0, 130.0

#: Error -> (title, least height of the axis).
ERROR_AXES = {
    "translation_m": ("Translation, m", 0.5),
    "scale": ("Scale, 1 - IoU", 0.25),
    "orientation_rad": ("Orientation, rad", 0.5),
    "velocity_mps": ("Velocity, m/s", 0.5),
    "attribute": ("Attribute, 1 - accuracy", 0.5),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: its name, colour (CSS), opacity, and "x,y x,y ..." in SVG units."""

    name: str
    color: str
    points: str
    opacity: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over recall 0..1.

    Attributes:
        title: above the chart.
        note: beside the title, "AP 0.42, 120 true boxes".
        y_max: value at the top of the axis; the bottom is 0.
        lines: the curves.
    """

    title: str
    note: str
    y_max: float
    lines: tuple[Line, ...]


def precision_charts(metrics: DetectionMetrics, rules: DetectionRules) -> tuple[Chart, ...]:
    """Return precision over recall of each class with true boxes, a line a distance."""
    charts = []
    for label, name in enumerate(NUSCENES_CLASSES):
        row, curves = metrics.classes[name], metrics.curves[name]
        if not row.truth:
            continue
        lines = [
            Line(
                name=f"{limit_m:g} m",
                color=css_color(label),
                opacity=0.35 + 0.65 * (i + 1) / len(curves),
                points=polyline(RECALLS, curve.precision, 1.0),
            )
            for i, (limit_m, curve) in enumerate(zip(rules.distances_m, curves, strict=True))
        ]
        note = f"AP {row.ap:.3f}, {row.truth} true boxes"
        charts.append(Chart(title=name.replace("_", " "), note=note, y_max=1.0, lines=tuple(lines)))
    return tuple(charts)


def error_charts(metrics: DetectionMetrics, rules: DetectionRules) -> tuple[Chart, ...]:
    """Return the running mean of each error over recall, a line a class that was found."""
    index = rules.distances_m.index(rules.error_distance_m)
    charts = []
    for error in ERRORS:
        found = {
            name: curves[index]
            for name, curves in metrics.curves.items()
            if curves[index].score.any() and error not in UNDEFINED_ERRORS.get(name, ())
        }
        title, least = ERROR_AXES[error]
        y_max = _axis_top(
            [one.errors[error][: one.last_index + 1] for one in found.values()], least
        )
        lines = tuple(
            _error_line(name, curve, curve.errors[error], y_max) for name, curve in found.items()
        )
        mean = metrics.errors[error]
        charts.append(Chart(title=title, note=f"mean {mean:.3f}", y_max=y_max, lines=lines))
    return tuple(charts)


def css_color(label: int) -> str:
    """Return the colour of a class as CSS."""
    return "rgb({}, {}, {})".format(*class_color(label))


def polyline(x: Float64, y: Float64, y_max: float) -> str:
    """Return "x,y x,y ..." in SVG units: x 0..1 to the right, y 0..y_max upwards, cut there."""
    right = np.asarray(x) * WIDTH
    down = HEIGHT * (1 - np.clip(np.asarray(y) / y_max, 0, 1))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(right, down, strict=True))


def _error_line(name: str, curve: Curve, values: Float64, y_max: float) -> Line:
    reached = slice(0, curve.last_index + 1)
    return Line(
        name=name.replace("_", " "),
        color=css_color(NUSCENES_CLASSES.index(name)),
        points=polyline(RECALLS[reached], values[reached], y_max),
    )


def _axis_top(values: Sequence[Float64], least: float) -> float:
    """Return a round number that is not below the values; of outliers the top 2 % are cut."""
    every = np.concatenate([np.array([least]), *values])
    top = max(float(np.quantile(every, 0.98)), least)
    step = 10 ** np.floor(np.log10(top)) / 2
    return float(np.ceil(top / step - 1e-9) * step)
