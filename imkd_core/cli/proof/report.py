# SPDX-License-Identifier: Apache-2.0
"""Write the proof's report: pictures, tables, one HTML file."""

import os
import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.cli.proof.judge import Verdict
from imkd_core.data.nuscenes import SampleRecord
from imkd_core.data.nuscenes_to_bag import NUSCENES_LICENCE
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

CAVEAT = (
    "A wiring proof: the student was fitted to the very frame that it is judged on. The figures "
    "say that topics become boxes through the real path, and that the boxes follow what the "
    "sensors show. They say nothing about accuracy on any other frame."
)


def write(output: Path, verdict: Verdict, record: SampleRecord, grid: BevGrid) -> None:
    """Write report.html, mosaic.png, bev.png, i_cam.png and i_rad.png into `output`."""
    pictures = _pictures(verdict, grid)
    for name, picture in pictures.items():
        (output / f"{name}.png").write_bytes(encode_png(picture))
    found = verdict.shown.detections
    frames = verdict.summary["frames_out"]
    report = ReportData(
        title="IMKD on a real key frame",
        subtitle=f"nuScenes {record.scene}, sample {record.token}, {frames} frames over DDS",
        caveat=CAVEAT,
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
        data_notice=NUSCENES_LICENCE,
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
