# SPDX-License-Identifier: Apache-2.0
"""The report of `imkd evaluate`: figures, curves and pictures in one HTML file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.charts import HEIGHT, WIDTH, css_color, error_charts, precision_charts
from imkd_core.evaluation.nuscenes_metrics import DetectionRules
from imkd_core.evaluation.report import template_environment
from imkd_core.evaluation.results import write_atomic
from imkd_core.evaluation.steadiness import FIGURES
from imkd_core.evaluation.tables import SPEED_MIN_SCORE, Evaluation
from imkd_core.evaluation.tracks import TrackRules

#: Heads of the columns of errors.
ERROR_HEADS: Mapping[str, str] = {
    "translation_m": "ATE, m",
    "scale": "ASE, 1 - IoU",
    "orientation_rad": "AOE, rad",
    "velocity_mps": "AVE, m/s",
    "attribute": "AAE, 1 - acc.",
}


@dataclass(frozen=True, kw_only=True)
class FramePictures:
    """One frame of the evaluation.

    Attributes:
        title: scene, place in it, weather.
        mosaic, bev: (H, W, 3) uint8 RGB.
    """

    title: str
    mosaic: NDArray[np.uint8]
    bev: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """All that the report shows.

    Attributes:
        evaluation: the figures.
        title, subtitle: headline, and the line below it.
        caveat: what the figures do not show.
        frames: pictures.
        picture_score: least score of a box in the pictures.
        provenance: name -> fact about the model and the data.
        data_notice: licence of the data in the pictures.
    """

    evaluation: Evaluation
    title: str
    subtitle: str = ""
    caveat: str = ""
    frames: tuple[FramePictures, ...] = ()
    picture_score: float = 0.3
    provenance: Mapping[str, str] = field(default_factory=dict)
    data_notice: str = ""


def write_evaluation_report(path: Path, report: EvaluationReport) -> None:
    """Write the report as one self-contained HTML file; folders are made.

    Raises:
        ConfigError: jinja2 is not installed.
        DataError: the file cannot be written.
    """
    write_atomic(path, render_evaluation_report(report).encode())


def render_evaluation_report(report: EvaluationReport, rules: DetectionRules | None = None) -> str:
    """Return the report as HTML text.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    rules = rules or DetectionRules()
    metrics = report.evaluation.conditions[0].metrics
    environment = template_environment()
    environment.filters["figure"] = format_figure
    template = environment.get_template("evaluation_report.html.j2")
    return template.render(
        report=report,
        metrics=metrics,
        first=report.evaluation.conditions[0],
        precision=precision_charts(metrics, rules),
        errors=error_charts(metrics, rules),
        error_names=ERRORS,
        error_heads=ERROR_HEADS,
        class_colors=[css_color(label) for label in range(len(NUSCENES_CLASSES))],
        class_names=NUSCENES_CLASSES,
        rules=rules,
        speed_min_score=SPEED_MIN_SCORE,
        steady_words=FIGURES,
        steady_min_score=TrackRules().min_score,
        chart_size=(WIDTH, HEIGHT),
    )


def format_figure(value: float | None, decimals: int = 3) -> str:
    """Return a figure for a reader; an en dash where there is none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:,.{decimals}f}"
