# SPDX-License-Identifier: Apache-2.0
"""What the trained teachers say about recorded samples.

    statistics = read_statistics(teacher_folder)             # training.intensity_statistics
    lesson = teach(teacher, labels, statistics, sample, config)

Always without augmentation, in evaluation mode, one sample at a time (method.md 8, 12.1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imkd_core.config import BOX_CODE, HeadSpec
from imkd_core.data.learning.label_maps import label_maps
from imkd_core.data.learning.lidar_points import prepare_points, within
from imkd_core.data.learning.teaching_datasets import lidar_points
from imkd_core.data.samples import Sample
from imkd_core.errors import DataError
from imkd_core.model.center_head import LOG_SIZE_RANGE
from imkd_core.model.intensity import IntensityStatistics, gather_evidence, intensity_map
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher, TeacherOutput
from imkd_core.recipe import Config
from imkd_core.types import Detections

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What the teachers say about one sample, on `InputSpec.bev`, in its reference ego frame.

    Attributes:
        features: (C, Y, X) float32 F_L, raw.
        label_features: (C, Y, X) float32 F_lab, raw, of every true box that a sensor saw.
        intensity: (Y, X) float32 I_L in [I_min, 1].
        heat: (classes, Y, X) float32 probabilities of the LiDAR teacher.
        boxes: the LiDAR teacher's box at the centre cell of each true object on the grid; the
            scores are c_k: its best probability of the right class within one cell, 0 where its
            centre is farther from the true one than the class's suppression radius (method.md 5.6).
        annotation_tokens: of these objects.
        quality: mean probability of the right class at the objects' cells; 1 without objects.
    """

    features: Float32
    label_features: Float32
    intensity: Float32
    heat: Float32
    boxes: Detections
    annotation_tokens: tuple[str, ...]
    quality: float


@torch.no_grad()
def teach(
    teacher: Teacher,
    labels: LabelEncoder,
    statistics: IntensityStatistics,
    sample: Sample,
    config: Config,
) -> Lesson:
    """Return what both teachers say about a sample.

    Args:
        teacher: trained; in evaluation mode (see `model.frozen.freeze`).
        labels: trained with this teacher; likewise.
        statistics: of the training set.
        sample: with LiDAR.
        config: the one that both were trained with.

    Raises:
        DataError: a file is missing or malformed, or a network is in training mode.
    """
    _check_mode(teacher)
    grid = config.inputs.bev
    points = lidar_points(sample, config)
    output: TeacherOutput = teacher(*teacher_inputs(teacher, points, config))
    full = config.intensity.full_reflectance or statistics.full_reflectance
    evidence = gather_evidence(within(points, config.inputs), grid, full)
    gate = None if output.gate is None else output.gate[0]
    heat = _numpy(output.heatmap_logits[0].float().sigmoid())
    truth = sample.truth()
    kept = np.flatnonzero(grid.cell_index(truth.detections.center_m[:, :2])[1])
    objects = truth.detections.select(kept)
    boxes, quality = boxes_at(objects, heat, _numpy(output.codes[0]), config)
    return Lesson(
        features=_numpy(output.features[0]),
        label_features=teach_labels(labels, sample, config),
        intensity=intensity_map(
            config.intensity, statistics, grid, evidence, output.features[0], gate
        ),
        heat=heat,
        boxes=boxes,
        annotation_tokens=tuple(truth.annotation_tokens[index] for index in kept),
        quality=quality,
    )


@torch.no_grad()
def teach_labels(labels: LabelEncoder, sample: Sample, config: Config) -> Float32:
    """Return (C, Y, X) raw F_lab of a sample, which needs no LiDAR (label-only mode, method.md 13).

    Args:
        labels: trained; in evaluation mode.
        sample: its true boxes that LiDAR or radar saw are drawn.
        config: the one it was trained with.

    Raises:
        DataError: the network is in training mode.
    """
    _check_mode(labels)
    truth = sample.truth()
    seen = truth.num_lidar_points + truth.num_radar_points > 0
    maps = torch.from_numpy(label_maps(truth.detections.select(seen), config.inputs.bev))
    return _numpy(labels(maps[None].to(next(labels.parameters()).device))[0])


def boxes_at(
    objects: Detections, heat: Float32, codes: Float32, config: Config
) -> tuple[Detections, float]:
    """Return the teacher's box at each true object's centre cell, and its quality.

    Args:
        objects: true boxes on the grid.
        heat: (classes, Y, X) the teacher's probabilities.
        codes: (tasks * 10, Y, X) its regression codes.
        config: grid and head.

    Returns:
        Boxes in the order of `objects` with c_k as scores, and the mean probability of the right
        class at the objects' cells (1 without objects).
    """
    grid, head = config.inputs.bev, config.head
    cells, _ = grid.cell_index(objects.center_m[:, :2])
    row, column = cells[:, 0], cells[:, 1]
    code = _codes_at(codes, objects.labels, row, column, head).astype(np.float64)
    center = np.concatenate([grid.centers()[row, column] + code[:, :2], code[:, 2:3]], axis=1)
    miss_m = np.linalg.norm(center[:, :2] - objects.center_m[:, :2], axis=1)
    radius_m = np.array([head.nms_radius_m[name] for name in head.class_names])
    peak = _highest_around(heat, objects.labels, row, column)
    boxes = Detections(
        stamp_ns=objects.stamp_ns,
        class_names=objects.class_names,
        center_m=center.astype(np.float32),
        size_m=np.exp(np.clip(code[:, 3:6], *LOG_SIZE_RANGE)).astype(np.float32),
        yaw_rad=np.arctan2(code[:, 6], code[:, 7]).astype(np.float32),
        velocity_mps=code[:, 8:10].astype(np.float32),
        scores=np.where(miss_m <= radius_m[objects.labels], peak, 0).astype(np.float32),
        labels=objects.labels,
    )
    at_cells = heat[objects.labels, row, column]
    return boxes, float(at_cells.mean()) if len(objects) else 1.0


def _codes_at(
    codes: Float32,
    labels: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    head: HeadSpec,
) -> Float32:
    """Return the (N, 10) codes of the objects' task groups at their cells."""
    per_task = codes.reshape(len(head.tasks), len(BOX_CODE), *codes.shape[1:])
    task = np.array(head.task_of_class, dtype=np.int64)[labels]
    return per_task[task, :, row, column]


def _highest_around(
    heat: Float32, labels: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64]
) -> Float32:
    """Return the largest probability of each object's class within one cell of it."""
    framed = np.pad(heat, ((0, 0), (1, 1), (1, 1)))
    around = [framed[labels, row + i, column + j] for i in range(3) for j in range(3)]
    return np.max(around, axis=0, initial=0).astype(np.float32)


def teacher_inputs(teacher: Teacher, points: Float32, config: Config) -> tuple[Tensor, Tensor]:
    """Return a teacher's arguments for one unchanged cloud, a batch of one."""
    rng = np.random.default_rng(0)
    prepared = prepare_points(points, config.inputs, config.teacher, rng)
    device = next(teacher.parameters()).device
    values, mask = (torch.from_numpy(prepared[name])[None] for name in ("points", "mask"))
    return values.to(device), mask.to(device)


def _check_mode(network: nn.Module) -> None:
    if network.training:
        raise DataError("teachers teach in evaluation mode; freeze them first (model.frozen)")


def _numpy(values: Tensor) -> Float32:
    return np.asarray(values.detach().float().cpu().numpy())
