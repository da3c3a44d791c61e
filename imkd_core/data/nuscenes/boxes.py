# SPDX-License-Identifier: Apache-2.0
"""True boxes of nuScenes samples for the detection metrics: global frame, double precision.

    truth = read_true_boxes(records)
    metrics = score_detections(records, detections)      # token -> Detections

What the devkit counts, this counts: annotations of the ten classes with their LiDAR and radar
points, velocities by its rule, attributes, and bicycle racks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.data.nuscenes.reading import read_pose
from imkd_core.data.nuscenes.tables import Record, Tables
from imkd_core.data.nuscenes.truth import DETECTION_CLASS_OF_CATEGORY, velocity_global_mps
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import ATTRIBUTES, BoxTable, RackTable, found_boxes
from imkd_core.evaluation.nuscenes_metrics import (
    DetectionMetrics,
    DetectionRules,
    counted,
    evaluate,
)
from imkd_core.geometry import Float64, invert_transform, yaw_of
from imkd_core.types import Detections

_RACK = "static_object.bicycle_rack"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueBoxes:
    """All annotated boxes of some samples, and their bicycle racks; nothing is filtered yet."""

    boxes: BoxTable
    racks: RackTable


def read_true_boxes(records: Sequence[SampleRecord]) -> TrueBoxes:
    """Return the true boxes of samples; `sample` is the index of the record.

    Raises:
        DataError: a record is missing or malformed.
    """
    rows: list[tuple[int, Record, str, Float64, Tables]] = []
    racks: list[tuple[int, Record]] = []
    for index, record in enumerate(records):
        tables, origin_m = record.source.tables, record.global_from_reference[:3, 3]
        for annotation in tables.annotations(record.token):
            category = tables.category(annotation)
            name = DETECTION_CLASS_OF_CATEGORY.get(category)
            if name is not None:
                rows.append((index, annotation, name, origin_m, tables))
            elif category == _RACK:
                racks.append((index, annotation))
    return TrueBoxes(boxes=_boxes(rows), racks=_racks(racks))


def score_detections(
    records: Sequence[SampleRecord],
    detections: Mapping[str, Detections],
    rules: DetectionRules | None = None,
) -> DetectionMetrics:
    """Return the nuScenes metrics of detections that are at hand.

    Args:
        records: samples to judge.
        detections: token -> what was found, in the ego frame of the sample's reference time.
        rules: of the task.

    Raises:
        DataError: a sample has no detections (give empty ones), or a record is broken.
        ConfigError: a class is not one of the nuScenes task.
    """
    rules = rules or DetectionRules()
    truth = read_true_boxes(records)
    found = global_boxes(records, detections, rules)
    return evaluate(
        counted(found, rules, truth.racks),
        counted(truth.boxes, rules, truth.racks),
        len(records),
        rules,
    )


def global_boxes(
    records: Sequence[SampleRecord],
    detections: Mapping[str, Detections],
    rules: DetectionRules | None = None,
) -> BoxTable:
    """Return detections of samples in the global frame; `sample` is the index of the record.

    Raises:
        DataError: a sample has no detections.
        ConfigError: a class is not one of the nuScenes task.
    """
    rules = rules or DetectionRules()
    missing = [record.token for record in records if record.token not in detections]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(records)} samples have no detections (first: '{missing[0]}'); "
            "give empty ones where nothing was found"
        )
    return BoxTable.joined(
        [
            found_boxes(
                detections[record.token], index, record.global_from_reference, rules.max_boxes
            )
            for index, record in enumerate(records)
        ]
    )


def _boxes(rows: Sequence[tuple[int, Record, str, Float64, Tables]]) -> BoxTable:
    if not rows:
        return BoxTable.empty()
    center_m = np.array([row[1]["translation"] for row in rows], dtype=np.float64)
    origin_m = np.array([row[3] for row in rows])
    size_wlh_m = np.array([row[1]["size"] for row in rows], dtype=np.float64)
    return BoxTable(
        sample=np.array([row[0] for row in rows], np.int64),
        label=np.array([NUSCENES_CLASSES.index(row[2]) for row in rows], np.int64),
        center_m=center_m,
        size_m=size_wlh_m[:, [1, 0, 2]],
        yaw_rad=np.array([yaw_of(read_pose(row[1], "sample_annotation")) for row in rows]),
        velocity_mps=np.array([velocity_global_mps(row[4], row[1])[:2] for row in rows]),
        score=np.ones(len(rows)),
        attribute=np.array([_attribute(row[4], row[1]) for row in rows], np.int64),
        points=np.array([row[1]["num_lidar_pts"] + row[1]["num_radar_pts"] for row in rows]),
        ego_distance_m=np.linalg.norm(center_m[:, :2] - origin_m[:, :2], axis=1),
    )


def _racks(racks: Sequence[tuple[int, Record]]) -> RackTable:
    if not racks:
        return RackTable()
    size_wlh_m = np.array([annotation["size"] for _, annotation in racks], dtype=np.float64)
    return RackTable(
        sample=np.array([index for index, _ in racks], np.int64),
        rack_from_global=np.array(
            [invert_transform(read_pose(rack, "sample_annotation")) for _, rack in racks]
        ),
        size_m=size_wlh_m[:, [1, 0, 2]],
    )


def _attribute(tables: Tables, annotation: Record) -> int:
    """Return the index of an annotation's attribute; -1 for none."""
    tokens = annotation["attribute_tokens"]
    if not tokens:
        return -1
    name = str(tables.get("attribute", str(tokens[0]))["name"])
    if len(tokens) > 1 or name not in ATTRIBUTES:
        raise DataError(
            f"sample_annotation.json: record '{annotation['token']}' must have at most one "
            f"attribute of the detection task, got {len(tokens)} ({name}); get the table again"
        )
    return ATTRIBUTES.index(name)
