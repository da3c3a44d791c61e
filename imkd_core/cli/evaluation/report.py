# SPDX-License-Identifier: Apache-2.0
"""Pictures and facts for the report of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imkd_core.cli.evaluation.run import Judged
from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.evaluation import evaluation_report
from imkd_core.evaluation.evaluation_report import EvaluationReport, FramePictures
from imkd_core.evaluation.tables import light_of, weather_of
from imkd_core.visualization import bev_picture, camera_mosaic, radar_points

#: Boxes in pictures are scored this or more.
PICTURE_SCORE = 0.3

#: Width of one camera in a mosaic.
_TILE_PX = 520


def write_evaluation_report(path: Path, judged: Judged, pictures: int) -> None:
    """Write the report of an evaluation, with pictures of some frames.

    Args:
        path: of the HTML file.
        judged: figures, model and samples.
        pictures: how many frames to show, spread over weather, light and scenes.

    Raises:
        ConfigError: jinja2 is not installed.
        DataError: a file cannot be read or written.
    """
    evaluation, bundle = judged.evaluation, judged.bundle
    shown = choose_frames(judged.records, pictures)
    stage_ms = evaluation.conditions[0].stage_ms
    total_ms = sum(stage_ms.values())
    report = EvaluationReport(
        evaluation=evaluation,
        title=f"{evaluation.model} on {Path(evaluation.data).name}",
        subtitle=evaluation.data,
        frames=tuple(_pictures(record, judged) for record in shown),
        picture_score=PICTURE_SCORE,
        provenance={
            "model": f"{bundle.name}, exported {bundle.created}",
            "sha256 of its files": evaluation.model_sha256,
            **{str(key): str(value) for key, value in bundle.provenance.items()},
            "scenes": ", ".join(evaluation.scenes),
            "time a frame": ", ".join(f"{name} {ms:.0f} ms" for name, ms in stage_ms.items())
            + f"; {total_ms:.0f} ms in all on one thread",
        },
    )
    evaluation_report.write_evaluation_report(path, report)


def choose_frames(records: Sequence[SampleRecord], count: int) -> list[SampleRecord]:
    """Return frames to show: first one of each weather and light, then evenly spread."""
    kinds: dict[tuple[str, str], SampleRecord] = {}
    for record in records[len(records) // 4 :] or records:
        kinds.setdefault((weather_of(record.description), light_of(record.description)), record)
    spread = [records[i] for i in np.linspace(0, len(records) - 1, count).round().astype(int)]
    tokens = {record.token: record for record in (*kinds.values(), *spread)}
    return list(tokens.values())[:count]


def _pictures(record: SampleRecord, judged: Judged) -> FramePictures:
    """Return mosaic and bird's-eye view of a sample with its detections and its truth."""
    inputs = judged.bundle.inputs
    frame = record.frame(inputs.radar_sweeps, _TILE_PX)
    detections = judged.detections[record.token]
    found = detections.select(np.flatnonzero(detections.scores >= PICTURE_SCORE))
    truth = record.truth().detections
    points = radar_points(frame, record.rig)
    about = f": {record.description}" if record.description else ""
    return FramePictures(
        title=f"{record.scene}, sample {record.token[:8]}{about}",
        mosaic=camera_mosaic(frame, record.rig, found, truth, tile_width_px=_TILE_PX),
        bev=bev_picture(found, truth, points, inputs.bev),
    )
