# SPDX-License-Identifier: Apache-2.0
"""The report of a run on recorded data: one HTML file that needs nothing beside itself.

`ReportData` holds plain values; whoever measured fills it, and leaves out what was not measured.
The report says so in words wherever something is left out.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ConfigError
from imkd_core.evaluation.waterfall import waterfall
from imkd_core.visualization import encode_jpeg, encode_png

if TYPE_CHECKING:
    import jinja2

#: unit -> (factor for display, decimals, suffix). Other units are shown as they are.
_DISPLAY = {
    "fraction": (100.0, 1, "\N{NO-BREAK SPACE}%"),
    "count": (1.0, 0, ""),
    "rad": (180 / math.pi, 1, "\N{DEGREE SIGN}"),
    "m": (1.0, 2, "\N{NO-BREAK SPACE}m"),
    "m/s": (1.0, 2, "\N{NO-BREAK SPACE}m/s"),
    "ms": (1.0, 1, "\N{NO-BREAK SPACE}ms"),
    "s": (1.0, 1, "\N{NO-BREAK SPACE}s"),
}

#: Pictures with more pixels than this are embedded as JPEG: photographs, not drawings.
_PNG_PIXELS_MAX = 1_500_000


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured number and, where there is one, its goal.

    Attributes:
        name: what was measured, in words.
        value: the number in `unit`; None where it was not measured.
        unit: "fraction" (shown in per cent), "count", "m", "m/s", "rad" (shown in degrees),
            "ms", "s" or any other suffix.
        at_least, at_most: the goal, in the same unit; both None: reported, not judged.
        note: a few words, for example "25 of 26 boxes".
    """

    name: str
    value: float | None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the goal is met; None where there is no goal. Not measured is not met."""
        if self.at_least is None and self.at_most is None:
            return None
        if self.value is None or math.isnan(self.value):
            return False
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


@dataclass(frozen=True, kw_only=True)
class Control:
    """An experiment that must break the detector in a known way.

    Attributes:
        name: for example "All cameras masked".
        question: what it shows, in one sentence.
        measures: what came out, with goals where there are any.
    """

    name: str
    question: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True, kw_only=True)
class BoxRow:
    """One true box with its prediction, a missed true box, or a prediction without a true box.

    Attributes:
        class_name: the class both share.
        outcome: "found", "missed" or "extra".
        distance_m: from the ego origin, in the ground plane.
        score: of the prediction.
        center_error_m: in the ground plane.
        size_error_m: largest of length, width and height.
        yaw_error_rad: absolute, 0..pi.
        velocity_error_mps: length of the difference.
        lidar_points: LiDAR points in the true box.
    """

    class_name: str
    outcome: str
    distance_m: float
    score: float | None = None
    center_error_m: float | None = None
    size_error_m: float | None = None
    yaw_error_rad: float | None = None
    velocity_error_mps: float | None = None
    lidar_points: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """Counts of one class: true boxes, those found, and predictions without a true box."""

    class_name: str
    true_boxes: int
    found: int
    extra: int

    @property
    def recall(self) -> float | None:
        """Found part of the true boxes; None where there are none."""
        return self.found / self.true_boxes if self.true_boxes else None


@dataclass(frozen=True, kw_only=True)
class StageLatency:
    """Percentiles of one stage's time, milliseconds."""

    stage: str
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that a report shows. Pictures are (H, W, 3) uint8 RGB, or None.

    Attributes:
        title, subtitle: headline, and the line below it (source, time, model).
        caveat: what the numbers do not show; stands on top.
        measures: the summary cards.
        mosaic, bev, camera_intensity, radar_intensity: pictures of one frame.
        controls: experiments with goals.
        boxes, classes: found and missed, one by one and by class.
        latency: stage by stage, in the order of the pipeline; the last may be the whole.
        latency_note: how many frames, on what hardware.
        versions: name -> version of what took part.
        provenance: name -> fact about the model and the data.
        data_notice: licence and attribution of the data in the pictures.
    """

    title: str
    subtitle: str = ""
    caveat: str = ""
    measures: tuple[Measure, ...] = ()
    mosaic: NDArray[np.uint8] | None = None
    bev: NDArray[np.uint8] | None = None
    camera_intensity: NDArray[np.uint8] | None = None
    radar_intensity: NDArray[np.uint8] | None = None
    controls: tuple[Control, ...] = ()
    boxes: tuple[BoxRow, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    latency: tuple[StageLatency, ...] = ()
    latency_note: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    data_notice: str = ""

    @property
    def judged(self) -> tuple[Measure, ...]:
        """All measures that have a goal, those of the controls included."""
        every = (*self.measures, *(m for control in self.controls for m in control.measures))
        return tuple(measure for measure in every if measure.passed is not None)

    @property
    def passed(self) -> bool | None:
        """Whether every goal is met; None where there is no goal."""
        return all(measure.passed for measure in self.judged) if self.judged else None


def write_report(path: Path, report: ReportData) -> None:
    """Write the report as one self-contained HTML file; folders are made.

    Raises:
        ConfigError: jinja2 is not installed, or the file cannot be written.
    """
    html = render_report(report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the report to {path}: {error.strerror}") from None


def render_report(report: ReportData) -> str:
    """Return the report as HTML text.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    return template_environment().get_template("report.html.j2").render(report=report)


def template_environment() -> "jinja2.Environment":
    """Return the environment of this folder's templates, with the filters that they share.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise ConfigError(
            "the report needs jinja2; install it with `pip install jinja2` or "
            "`apt install python3-jinja2`"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quantity"] = format_quantity
    environment.filters["goal"] = format_goal
    environment.filters["data_uri"] = data_uri
    environment.filters["waterfall"] = waterfall
    return environment


def format_quantity(value: float | None, unit: str) -> str:
    """Return a number with its unit for a reader; an en dash where there is none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    factor, decimals, suffix = _DISPLAY.get(unit, (1.0, 3, f"\N{NO-BREAK SPACE}{unit}".rstrip()))
    shown = value * factor
    if 0 < abs(shown) < 0.5 * 10**-decimals:
        return f"{shown:.1e}{suffix}"
    return f"{shown:,.{decimals}f}{suffix}"


def format_goal(measure: Measure) -> str:
    """Return the goal of a measure for a reader; empty where there is none."""
    factor, _, suffix = _DISPLAY.get(
        measure.unit, (1.0, 3, f"\N{NO-BREAK SPACE}{measure.unit}".rstrip())
    )
    if measure.at_least is not None and measure.at_least == measure.at_most:
        return f"=\N{NO-BREAK SPACE}{measure.at_least * factor:g}{suffix}"
    bounds = (
        ("\N{GREATER-THAN OR EQUAL TO}", measure.at_least),
        ("\N{LESS-THAN OR EQUAL TO}", measure.at_most),
    )
    return ", ".join(
        f"{sign}\N{NO-BREAK SPACE}{bound * factor:g}{suffix}"
        for sign, bound in bounds
        if bound is not None
    )


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Return a picture (H, W, 3) uint8 RGB as a `data:` address: PNG, or JPEG where it is big."""
    is_photograph = picture.shape[0] * picture.shape[1] > _PNG_PIXELS_MAX
    kind, data = ("jpeg", encode_jpeg(picture)) if is_photograph else ("png", encode_png(picture))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
