# SPDX-License-Identifier: Apache-2.0
"""Classes in the images: where a box is, and what hides it."""

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.changes.image_change import ImageChange
from imkd_core.data.learning.perspective import UNKNOWN, perspective_classes
from imkd_core.geometry import invert_transform, points_in_box, project_points, transform_points
from imkd_core.imaging import fit_window
from imkd_core.types import Detections
from tests.core.data.example_views import CAMERA, SPEC, view

NONE = len(NUSCENES_CLASSES)
CAR, BUS, CONE = (NUSCENES_CLASSES.index(name) for name in ("car", "bus", "traffic_cone"))


def boxes_of(*rows):
    """Return boxes from (class, x, y, length, width, height), standing on the ground."""
    table = np.array([row[1:] for row in rows], np.float32).reshape(-1, 5)
    count = len(rows)
    return Detections(
        stamp_ns=0,
        center_m=np.stack([table[:, 0], table[:, 1], table[:, 4] / 2], axis=1),
        size_m=table[:, 2:],
        yaw_rad=np.zeros(count, np.float32),
        velocity_mps=np.zeros((count, 2), np.float32),
        scores=np.ones(count, np.float32),
        labels=np.array([row[0] for row in rows], np.int64),
        class_names=NUSCENES_CLASSES,
    )


def cell_of(point_ego, change=None):
    """Return the (row, column) of the feature cell that shows a point."""
    change = change or ImageChange()
    network_from_cam = change.changed_from_network(SPEC) @ fit_window(CAMERA, SPEC).pixel_from_cam
    point_cam = transform_points(invert_transform(CAMERA.ego_from_cam), np.array([point_ego]))
    pixels, _ = project_points(network_from_cam, point_cam)
    column, row = np.round((pixels[0] + 0.5) / SPEC.feature_stride_px - 0.5).astype(int)
    return row, column


@pytest.mark.parametrize(
    "change", [ImageChange(), ImageChange(flip=True), ImageChange(zoom=1.2, crop=0.3)]
)
def test_a_box_is_where_its_points_are_seen(change):
    bus = (BUS, 14.0, 1.0, 8.0, 2.5, 3.0)
    classes = perspective_classes([view(change=change)], boxes_of(bus), SPEC)[0]
    rng = np.random.default_rng(0)
    inside = rng.uniform((10.5, 0.0, 0.3), (17.5, 2.0, 2.7), (50, 3))
    assert points_in_box(inside, (14.0, 1.0, 1.5), (8.0, 2.5, 3.0), 0.0).all()
    seen = [cell_of(point, change) for point in inside]
    seen = [c for c in seen if 0 <= c[0] < classes.shape[0] and 0 <= c[1] < classes.shape[1]]
    assert len(seen) > 20
    assert {int(classes[cell]) for cell in seen} == {BUS}
    assert 0 < (classes == BUS).mean() < 0.5
    assert set(np.unique(classes)) == {BUS, NONE}


def test_the_nearer_box_hides_the_farther_one_in_any_order():
    near, far = (CAR, 8.0, 0.0, 4.0, 1.8, 1.6), (BUS, 20.0, 0.0, 10.0, 2.6, 3.2)
    first = perspective_classes([view()], boxes_of(near, far), SPEC)
    second = perspective_classes([view()], boxes_of(far, near), SPEC)
    assert (first == second).all()
    assert first[0][cell_of((8.0, 0.0, 0.8))] == CAR
    assert (first == BUS).any()


def test_an_object_smaller_than_a_cell_is_still_there():
    classes = perspective_classes([view()], boxes_of((CONE, 30.0, 2.0, 0.3, 0.3, 0.6)), SPEC)[0]
    assert classes[cell_of((30.0, 2.0, 0.3))] == CONE


def test_what_is_behind_the_camera_is_not_drawn():
    behind, beside = (CAR, -10.0, 0.0, 4.0, 1.8, 1.6), (CAR, 0.5, 0.0, 6.0, 1.8, 1.6)
    assert (perspective_classes([view()], boxes_of(behind, beside), SPEC) == NONE).all()


@pytest.mark.parametrize(
    "changes", [{"picture": None}, {"change": ImageChange(blank="plain")}, {"is_stale": True}]
)
def test_a_camera_that_does_not_show_the_scene_has_no_classes(changes):
    classes = perspective_classes([view(), view(**changes)], boxes_of(), SPEC)
    assert (classes[0] == NONE).all()
    assert (classes[1] == UNKNOWN).all()
