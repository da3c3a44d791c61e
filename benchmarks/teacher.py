# SPDX-License-Identifier: Apache-2.0
"""How good a LiDAR teacher is: nuScenes metrics of its own boxes, what a student can learn at most.

    python -m benchmarks.teacher --teacher runs/teacher --data DRIVES

The boxes come from its heat maps and codes by the student's own decoder, score threshold and
suppression of doubles, so that teacher and student (`imkd evaluate`) are judged alike.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.unseen_drives import THRESHOLDS
from imkd_core.cli.common import open_nuscenes
from imkd_core.data.learning.teaching_datasets import lidar_points
from imkd_core.data.nuscenes.boxes import score_detections
from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.model.center_head import decode
from imkd_core.model.teacher import Teacher
from imkd_core.postprocess import decode_boxes
from imkd_core.recipe import Config
from imkd_core.training.checkpoint import load_checkpoint
from imkd_core.training.teachers.teaching_pass import teacher_inputs
from imkd_core.training.teachers.trained_teachers import load_teacher
from imkd_core.types import Detections

#: Samples that a quick run looks at.
_QUICK = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--teacher", type=Path, required=True, help="run of `imkd train teacher`")
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder with LiDAR")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")


def measure(options: argparse.Namespace) -> Report:
    """Let the teacher detect in every sample, and judge it."""
    config = load_checkpoint(options.teacher, stage="teacher").config
    teacher = load_teacher(options.teacher, config)
    records = open_nuscenes(options.data, options.version).samples()
    records = records[:_QUICK] if options.quick else records
    metrics = score_detections(records, detections_of(teacher, records, config))
    percent = {"NDS": metrics.nds, "mAP": metrics.mean_ap}
    figures = [Figure(name=name, value=100 * value, unit="%") for name, value in percent.items()]
    figures += [Figure(name=name, value=error, unit="") for name, error in metrics.errors.items()]
    return Report(name="teacher", figures=tuple(figures))


@torch.no_grad()
def detections_of(
    teacher: Teacher, records: Sequence[SampleRecord], config: Config
) -> dict[str, Detections]:
    """Return the teacher's boxes of each sample, by its token.

    Args:
        teacher: trained; in evaluation mode.
        records: with LiDAR.
        config: that it was trained with.
    """
    grid, head, found = config.inputs.bev, config.head, {}
    gates = dict.fromkeys(("i_cam", "i_rad"), np.zeros(grid.shape, np.float32))
    for record in records:
        output = teacher(*teacher_inputs(teacher, lidar_points(record, config), config))
        best = decode(output.heatmap_logits, output.codes, head, grid)
        arrays = {name: value[0].numpy() for name, value in best._asdict().items()}
        found[record.token] = decode_boxes({**arrays, **gates}, head, record.stamp_ns, THRESHOLDS)
    return found


if __name__ == "__main__":
    sys.exit(run_benchmark("teacher", __doc__, measure, add_options))
