# SPDX-License-Identifier: Apache-2.0
"""Detections of the shipped student on drives that it never saw, through two view transforms."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.exact_lss import INDEX_ADD, ExactLss, point_cells
from benchmarks.students import shipped_network
from imkd_core.cli.common import open_nuscenes
from imkd_core.data.nuscenes.boxes import score_detections
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.export.graph import DeployedStudent
from imkd_core.postprocess import Thresholds, decode_boxes
from imkd_core.preprocess import effective_cameras, prepare_inputs
from imkd_core.runtime.bundle import Bundle
from imkd_core.simulation.simulate import SimulationOptions, simulate
from imkd_core.simulation.tables import VERSION
from imkd_core.types import Detections

#: Seeds below 9000 train students, and the demo's are from 9000 on.
SEED = 9500
DRIVES = 2
SIZE_PX = (704, 256)

#: As is usual for nuScenes.
THRESHOLDS = Thresholds(default_score=0.01, max_boxes=500)


def open_drives(data: Path | None, folder: Path, frames: int) -> list[SampleRecord]:
    """Return key frames, evenly spread: of `data`, or of drives made in `folder`.

    Raises:
        DataError: the folder holds no nuScenes tables.
    """
    if data is None:
        simulate(folder, DRIVES, SimulationOptions(seed=SEED, size_px=SIZE_PX))
        reader = NuScenes(folder, VERSION)
    else:
        reader = open_nuscenes(data, None)
    tokens = reader.sample_tokens()
    step = max(1, len(tokens) // frames)
    return [reader.sample(token) for token in tokens[::step][:frames]]


def score_view_transforms(records: Sequence[SampleRecord]) -> dict[str, tuple[float, float]]:
    """Return NDS and mAP, 0 to 1, over the classes present: through the table, and exact LSS."""
    network, bundle = shipped_network()
    table = network.student.view_transform
    found: dict[str, dict[str, Detections]] = {"the table": {}, "exact LSS": {}}
    for record in records:
        frame = record.frame(bundle.inputs.radar_sweeps, bundle.inputs.image_width_px)
        cells = point_cells(effective_cameras(frame, record.rig), bundle.inputs)
        lss = ExactLss(bundle.inputs, cells, INDEX_ADD, is_mean=True)
        for way, transform in zip(found, (table, lss), strict=True):
            found[way][record.token] = detect(network, bundle, record, transform)
    scores = {way: score_detections(records, boxes) for way, boxes in found.items()}
    return {way: (one.present_nds, one.present_mean_ap) for way, one in scores.items()}


def detect(
    network: DeployedStudent, bundle: Bundle, record: SampleRecord, transform: nn.Module
) -> Detections:
    """Return what the network finds in a key frame through a view transform."""
    frame = record.frame(bundle.inputs.radar_sweeps, bundle.inputs.image_width_px)
    arrays = prepare_inputs(frame, record.rig, bundle.inputs)
    network.student.view_transform = transform  # type: ignore[assignment]
    with torch.inference_mode():
        maps = network(**{name: torch.from_numpy(value) for name, value in arrays.items()})
    outputs = {k: v.numpy() for k, v in maps._asdict().items() if v is not None}
    return decode_boxes(outputs, bundle.head, frame.stamp_ns, THRESHOLDS)
