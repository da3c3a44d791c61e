# SPDX-License-Identifier: Apache-2.0
"""Boxes of View-of-Delft frames as its metrics want them: with 2D heights and camera positions.

metrics = score_vod(ViewOfDelft(root).samples("val"), detections)     # token -> Detections
"""

from collections.abc import Mapping, Sequence

import numpy as np

from imkd_core.data.vod.reader import CAMERA, VOD_CLASSES, VodSample
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.vod_metrics import VodBoxes, VodMetrics, evaluate_vod
from imkd_core.geometry import (
    Float64,
    box_corners,
    invert_transform,
    project_points,
    transform_points,
)
from imkd_core.types import CameraModel, Detections

#: Corners nearer to the camera's plane than this are not projected.
_MIN_DEPTH_M = 0.1


def score_vod(samples: Sequence[VodSample], detections: Mapping[str, Detections]) -> VodMetrics:
    """Return View-of-Delft's AP of detections that are at hand.

    Args:
        samples: frames to judge.
        detections: token -> what was found, in the ego frame; empty ones where nothing was.

    Raises:
        DataError: a frame has no detections, or its labels are missing or malformed.
        ConfigError: a class is none of View-of-Delft's three.
    """
    missing = [sample.token for sample in samples if sample.token not in detections]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(samples)} frames have no detections (first: {missing[0]}); "
            "give empty ones where nothing was found"
        )
    return evaluate_vod(
        [(found_vod(sample, detections[sample.token]), true_vod(sample)) for sample in samples]
    )


def true_vod(sample: VodSample) -> VodBoxes:
    """Return the labels of the three classes.

    Raises:
        DataError: the labels are missing or malformed.
    """
    labels = [label for label in sample.labels() if label.name in VOD_CLASSES]
    boxes = sample.boxes(labels)
    return VodBoxes(
        names=tuple(boxes.names),
        center_m=boxes.center_m.astype(np.float64),
        size_m=boxes.size_m.astype(np.float64),
        yaw_rad=boxes.yaw_rad.astype(np.float64),
        position_cam_m=np.array([one.bottom_cam_m for one in labels], np.float64).reshape(-1, 3),
        height_px=np.array([one.box_px[3] - one.box_px[1] for one in labels], np.float64),
        occlusion=np.array([one.occlusion for one in labels], np.int64),
        scores=np.ones(len(labels)),
    )


def found_vod(sample: VodSample, detections: Detections) -> VodBoxes:
    """Return detections with the height of their projected corners, cut at the image's edges.

    Raises:
        ConfigError: a class is none of View-of-Delft's three.
    """
    unknown = [name for name in detections.class_names if name not in VOD_CLASSES]
    if unknown:
        raise ConfigError(
            f"the model's classes {', '.join(unknown)} are not View-of-Delft's "
            f"({', '.join(VOD_CLASSES)}); evaluate it on data with its own classes"
        )
    camera = sample.rig.cameras[CAMERA]
    center_m = detections.center_m.astype(np.float64)
    size_m = detections.size_m.astype(np.float64)
    bottom_m = center_m - size_m * np.array([0, 0, 0.5])
    return VodBoxes(
        names=tuple(detections.names),
        center_m=center_m,
        size_m=size_m,
        yaw_rad=detections.yaw_rad.astype(np.float64),
        position_cam_m=transform_points(invert_transform(camera.ego_from_cam), bottom_m),
        height_px=_heights_px(detections, camera),
        occlusion=np.zeros(len(detections), np.int64),
        scores=detections.scores.astype(np.float64),
    )


def _heights_px(boxes: Detections, camera: CameraModel) -> Float64:
    """Return (N,) heights of projected boxes inside the image; 0 behind the camera."""
    cam_from_ego = invert_transform(camera.ego_from_cam)
    heights = np.zeros(len(boxes))
    for i in range(len(boxes)):
        corners = box_corners(
            boxes.center_m[i : i + 1], boxes.size_m[i : i + 1], boxes.yaw_rad[i : i + 1]
        )
        corners_cam = transform_points(cam_from_ego, corners.reshape(-1, 3))
        ahead = corners_cam[corners_cam[:, 2] > _MIN_DEPTH_M]
        if len(ahead):
            pixels, _ = project_points(camera.pixel_from_cam, ahead)
            rows = np.clip(pixels[:, 1], 0, camera.height_px - 1)
            heights[i] = rows.max() - rows.min()
    return heights
