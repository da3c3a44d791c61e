# SPDX-License-Identifier: Apache-2.0
"""From what the teachers say about a sample to what is kept of it on disk (method.md 12.1)."""

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.data.learning.targets import camera_points
from imkd_core.data.learning.teacher_maps import TeacherMaps
from imkd_core.data.samples import Sample
from imkd_core.errors import DataError, SensorError
from imkd_core.geometry import transform_points
from imkd_core.imaging import fit_window
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.preprocess import effective_cameras
from imkd_core.recipe import Config
from imkd_core.training.cache.feature_projection import FeatureProjection
from imkd_core.training.teachers.teaching_pass import Lesson, teach_labels
from imkd_core.types import Detections

Float32 = NDArray[np.float32]

#: Side in pixels of the blocks of which the nearest return is kept.
DEPTH_STRIDE_PX = 4

#: Share of the image's size by which kept returns may lie outside: a change may bring them in.
DEPTH_MARGIN = 0.15

#: An object with fewer LiDAR returns trusts the teacher's box less (method.md 12.10).
TRUSTED_POINTS = 5


def lesson_maps(
    lesson: Lesson, sample: Sample, projection: FeatureProjection, config: Config
) -> TeacherMaps:
    """Return what is kept of a lesson.

    Raises:
        DataError: a file of the sample is missing or malformed.
    """
    return TeacherMaps(
        f_lidar=projection.apply(lesson.features),
        f_label=projection.apply_label(lesson.label_features),
        i_lidar=lesson.intensity,
        heat=lesson.heat,
        annotation_tokens=lesson.annotation_tokens,
        boxes=_trusted(lesson, sample),
        quality=lesson.quality,
        depth_points=depth_points(sample, config.inputs),
    )


def label_only_maps(
    labels: LabelEncoder, sample: Sample, projection: FeatureProjection, config: Config
) -> TeacherMaps:
    """Return what is kept of a sample without LiDAR: F_lab alone (method.md 13).

    Args:
        labels: trained.
        sample: its true boxes are read.
        projection: of the cache.
        config: grid and classes.
    """
    grid, names = config.inputs.bev, config.head.class_names
    nothing = sample.truth().detections.select(np.zeros(0, np.int64))
    f_label = projection.apply_label(teach_labels(labels, sample, config))
    return TeacherMaps(
        f_lidar=np.zeros_like(f_label),
        f_label=f_label,
        i_lidar=np.zeros(grid.shape, np.float32),
        heat=np.zeros((len(names), *grid.shape), np.float32),
        annotation_tokens=(),
        boxes=nothing,
        quality=1.0,
        depth_points={},
        has_lidar=False,
    )


def _trusted(lesson: Lesson, sample: Sample) -> Detections:
    """Return the teacher's boxes; c_k falls on objects that LiDAR hardly sees."""
    truth = sample.truth()
    points = dict(zip(truth.annotation_tokens, truth.num_lidar_points.tolist(), strict=True))
    seen = np.array([points[token] for token in lesson.annotation_tokens], np.float32)
    share = np.minimum(1, seen / TRUSTED_POINTS)
    boxes = lesson.boxes
    return Detections(
        stamp_ns=boxes.stamp_ns,
        class_names=boxes.class_names,
        center_m=boxes.center_m,
        size_m=boxes.size_m,
        yaw_rad=boxes.yaw_rad,
        velocity_mps=boxes.velocity_mps,
        scores=boxes.scores * share,
        labels=boxes.labels,
    )


def depth_points(sample: Sample, spec: InputSpec) -> dict[str, Float32]:
    """Return the nearest LiDAR returns of each camera: (P, 3) u, v in network pixels, depth.

    Raises:
        DataError: a file is missing or malformed.
    """
    try:
        frame = sample.frame(1, spec.image_width_px)
    except SensorError as error:
        raise DataError(f"sample '{sample.token}': {error}") from None
    cloud, ego_from_lidar = sample.lidar()
    reference_from_lidar = frame.motion_at(cloud.stamp_ns) @ ego_from_lidar
    points_ego = transform_points(reference_from_lidar, cloud.points[:, :3])
    kept = {}
    poses = effective_cameras(frame, sample.rig)
    for name, (camera, pose) in zip(sample.rig.cameras, poses, strict=True):
        points = camera_points(points_ego, fit_window(camera, spec).pixel_from_cam, pose)
        kept[name] = nearest_in_blocks(points, spec)
    return kept


def nearest_in_blocks(points: Float32, spec: InputSpec) -> Float32:
    """Return the nearest point of each block of 4 x 4 pixels, in the image and a little outside.

    Args:
        points: (P, 3) u, v in pixels, depth in metres.
        spec: size of the image.
    """
    size = np.array([spec.image_width_px, spec.image_height_px])
    margin = np.ceil(DEPTH_MARGIN * size / DEPTH_STRIDE_PX) * DEPTH_STRIDE_PX
    block = np.floor((points[:, :2] + 0.5 + margin) / DEPTH_STRIDE_PX).astype(np.int64)
    blocks = ((size + 2 * margin) / DEPTH_STRIDE_PX).astype(np.int64)
    inside = ((block >= 0) & (block < blocks)).all(axis=1) & (points[:, 2] <= spec.depth.max_m)
    flat = block[inside, 1] * blocks[0] + block[inside, 0]
    near_first = np.lexsort((points[inside, 2], flat))
    _, first = np.unique(flat[near_first], return_index=True)
    return points[inside][near_first[first]]
