# SPDX-License-Identifier: Apache-2.0
"""Write the proof's report: pictures, tables, one HTML file."""

import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.cli.proof.judge import Verdict
from imkd_core.evaluation.proof import MIN_SCORE, box_rows, class_rows
from imkd_core.evaluation.report import ReportData, write_report
from imkd_core.types import Detections
from imkd_core.visualization import (
    bev_picture,
    camera_mosaic,
    encode_png,
    heat_map,
    radar_points,
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the report says in words.

    Attributes:
        title, subtitle: headline and the line below it.
        caveat: what the figures do not show.
        data_notice: licence of what is in the pictures.
    """

    title: str
    subtitle: str
    caveat: str
    data_notice: str


def write(output: Path, verdict: Verdict, words: Words, grid: BevGrid) -> None:
    """Write report.html, mosaic.png, bev.png, i_cam.png and i_rad.png into `output`."""
    pictures = _pictures(verdict, grid)
    for name, picture in pictures.items():
        (output / f"{name}.png").write_bytes(encode_png(picture))
    found = verdict.shown.detections
    frames = verdict.summary["frames_out"]
    report = ReportData(
        title=words.title,
        subtitle=f"{words.subtitle}, {frames} frames over DDS",
        caveat=words.caveat,
        measures=verdict.measures,
        mosaic=pictures["mosaic"],
        bev=pictures["bev"],
        camera_intensity=pictures["i_cam"],
        radar_intensity=pictures["i_rad"],
        controls=verdict.controls,
        boxes=box_rows(found, verdict.truth),
        classes=class_rows(found, verdict.truth),
        latency=verdict.latency,
        latency_note=f"{frames} frames through the node, {os.cpu_count()} cores, "
        f"{platform.machine()}, player and recorder on the same machine",
        versions=verdict.summary["versions"],
        provenance=verdict.summary["model"],
        data_notice=words.data_notice,
    )
    write_report(output / "report.html", report)


def _pictures(verdict: Verdict, grid: BevGrid) -> dict[str, NDArray[np.uint8]]:
    answer, truth = verdict.shown, verdict.truth.boxes
    found = answer.detections.select(np.flatnonzero(answer.detections.scores >= MIN_SCORE))
    points = radar_points(answer.frame, answer.rig)
    return {
        "mosaic": camera_mosaic(answer.frame, answer.rig, found, truth),
        "bev": bev_picture(found, truth, points, grid),
        "i_cam": _gate(found, "camera", "I_cam", grid, truth),
        "i_rad": _gate(found, "radar", "I_rad", grid, truth),
    }


def _gate(
    found: Detections, sensor: str, title: str, grid: BevGrid, truth: Detections
) -> NDArray[np.uint8]:
    return heat_map(found.reliability[sensor], grid, title=title, boxes=truth)


def finish(output: Path, summary: Mapping[str, Any], missed: Sequence[str]) -> int:
    """Write summary.json, say where all is and which goals are missed; return the exit code."""
    path = output / "summary.json"
    text = json.dumps(without_nan(summary), indent=2, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"report: {output / 'report.html'}\nsummary: {path}\n")
    for line in missed:
        sys.stdout.write(f"MISSED {line}\n")
    sys.stdout.write("failed\n" if missed else "every goal is met\n")
    return 1 if missed else 0


def without_nan(value: Any) -> Any:
    """Return plain values in which numbers that JSON cannot say are None."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
