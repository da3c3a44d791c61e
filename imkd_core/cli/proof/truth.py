# SPDX-License-Identifier: Apache-2.0
"""What was true at the stamp of an answer: of one frame that repeats, or of a whole drive."""

from collections.abc import Callable, Sequence

import numpy as np

from imkd_core.bev_grid import BevGrid
from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.errors import DataError
from imkd_core.evaluation.matching import required_boxes
from imkd_core.evaluation.proof import FrameTruth, moved_boxes
from imkd_core.geometry import invert_transform

#: Stamp of an answer -> true boxes in the ego frame of that stamp.
TruthAt = Callable[[int], FrameTruth]


def of_repeated_frame(record: SampleRecord, period_s: float, grid: BevGrid) -> TruthAt:
    """Return the truth of a bag in which one frame repeats; every box stays where it was."""
    period_ns = round(period_s * 1e9)

    def truth_at(stamp_ns: int) -> FrameTruth:
        repetition = round((stamp_ns - record.stamp_ns) / period_ns)
        return _seen_at(record, stamp_ns - repetition * period_ns, stamp_ns, grid)

    return truth_at


def of_drive(records: Sequence[SampleRecord], grid: BevGrid) -> TruthAt:
    """Return the truth of a bag of a drive: that of the nearest key frame."""
    if not records:
        raise DataError("a drive without key frames has no truth")

    def truth_at(stamp_ns: int) -> FrameTruth:
        record = min(records, key=lambda item: abs(item.stamp_ns - stamp_ns))
        return _seen_at(record, stamp_ns, stamp_ns, grid)

    return truth_at


def _seen_at(record: SampleRecord, own_ns: int, stamp_ns: int, grid: BevGrid) -> FrameTruth:
    """Return a key frame's boxes in the ego frame of that of its readings which is nearest.

    Args:
        record: the key frame.
        own_ns: stamp of the answer on the key frame's own clock.
        stamp_ns: stamp that the boxes bear.
        grid: boxes outside are not required.
    """
    reading = min(record.readings.values(), key=lambda item: abs(item.stamp_ns - own_ns))
    truth = record.truth()
    ego_from_reference = invert_transform(record.reference_from_ego(reading))
    return FrameTruth(
        boxes=moved_boxes(ego_from_reference, truth.detections, stamp_ns),
        is_required=required_boxes(truth.detections, truth.num_lidar_points, grid),
        lidar_points=np.asarray(truth.num_lidar_points),
    )
