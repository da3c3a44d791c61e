# SPDX-License-Identifier: Apache-2.0
"""What each cell of a camera's features shows: the class of the nearest true box behind it.

Supervision in the image itself lets features that see objects come before the bird's-eye view can
ask for them (perspective supervision, BEVFormer v2, arXiv 2211.10439). It costs the vehicle
nothing: the layer that is compared with these targets is not exported.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.data.changes.views import View
from imkd_core.geometry import (
    Float64,
    box_corners,
    invert_transform,
    project_points,
    transform_points,
)
from imkd_core.imaging import fit_window
from imkd_core.types import Detections

#: Cells of a camera that does not show the scene.
UNKNOWN = -1

#: Boxes with a corner nearer than this to the image plane are not drawn: their outline is open.
MIN_DEPTH_M = 0.5

#: Fractional bits of polygon corners given to OpenCV.
_SHIFT = 4


def perspective_classes(
    views: Sequence[View], boxes: Detections, spec: InputSpec
) -> NDArray[np.int64]:
    """Return (N, Hf, Wf) classes: an index into the head's, their number for none, or `UNKNOWN`.

    A box covers the convex outline of its corners, and at least the cell of its centre; nearer
    boxes cover farther ones.

    Args:
        views: the cameras with the changes of their images.
        boxes: true objects in the unchanged ego frame of the reference time.
        spec: sizes.
    """
    classes = np.full((len(views), *spec.feature_shape), UNKNOWN, np.int64)
    corners = box_corners(boxes.center_m, boxes.size_m, boxes.yaw_rad)
    points = np.concatenate([corners, boxes.center_m[:, None]], axis=1)
    for number, view in enumerate(views):
        if view.shows_the_scene:
            classes[number] = _classes_of_view(view, points, boxes, spec)
    return classes


def _classes_of_view(
    view: View, points_ego: Float64, boxes: Detections, spec: InputSpec
) -> NDArray[np.int32]:
    """Return the (Hf, Wf) classes of one camera; `points_ego` are (N, 9, 3), the centre last."""
    canvas = np.full(spec.feature_shape, len(boxes.class_names), np.int32)
    cells, depth_m = _feature_cells(view, points_ego, spec)
    drawn = np.flatnonzero((depth_m > MIN_DEPTH_M).all(axis=1))
    for index in drawn[np.argsort(-depth_m[drawn, -1], kind="stable")]:
        label = int(boxes.labels[index])
        outline = cv2.convexHull(cells[index, :-1].astype(np.float32))[:, 0]
        polygon = np.round(outline * (1 << _SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(canvas, polygon, label, lineType=8, shift=_SHIFT)
        column, row = np.round(cells[index, -1]).astype(np.int64)
        if 0 <= row < canvas.shape[0] and 0 <= column < canvas.shape[1]:
            canvas[row, column] = label
    return canvas


def _feature_cells(view: View, points_ego: Float64, spec: InputSpec) -> tuple[Float64, Float64]:
    """Return (.., 2) columns and rows of feature cells, and (..,) depths, of points."""
    points_cam = transform_points(invert_transform(view.pose), points_ego.reshape(-1, 3))
    network_from_cam = (
        view.change.changed_from_network(spec) @ fit_window(view.camera, spec).pixel_from_cam
    )
    pixels, depth_m = project_points(network_from_cam, points_cam)
    cells = (pixels + 0.5) / spec.feature_stride_px - 0.5
    # Points far off the image, or behind it, have pixels beyond what OpenCV's integers hold.
    bounded = np.clip(np.nan_to_num(cells), -4096, 4096)
    return bounded.reshape(*points_ego.shape[:-1], 2), depth_m.reshape(points_ego.shape[:-1])
