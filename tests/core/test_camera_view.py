# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imkd_core.camera_view import NEAR_M, draw_wireframe, open_view
from imkd_core.drawing import WHITE, LabelPlacer
from imkd_core.geometry import (
    box_corners,
    invert_transform,
    project_points,
    rigid_transform,
    transform_points,
)
from imkd_core.types import CameraImage, CameraModel, Detections

STAMP_NS = 1_500_000_000_000_000_000
#: A camera that looks forward: optical x = -y, optical y = -z, optical z = x of the ego frame.
FORWARD = rigid_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (1.5, 0.0, 1.6))
K = np.array([[300.0, 0, 159.5], [0, 300.0, 99.5], [0, 0, 1]])


def camera(**changes) -> CameraModel:
    values = {"width_px": 320, "height_px": 200, "pixel_from_cam": K, "ego_from_cam": FORWARD}
    return CameraModel(**(values | changes))


def image(height: int = 200, width: int = 320, value: int = 0) -> CameraImage:
    pixels = np.full((height, width, 3), value, dtype=np.uint8)
    return CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=pixels)


def boxes(centers, size=(4.0, 2.0, 1.5), yaw_rad=0.0) -> Detections:
    n = len(centers)
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=("car", "traffic_cone"),
        center_m=np.array(centers).reshape(n, 3),
        size_m=np.tile(size, (n, 1)),
        yaw_rad=np.full(n, yaw_rad),
        velocity_mps=np.zeros((n, 2)),
        scores=np.full(n, 0.5),
        labels=np.zeros(n, dtype=np.int64),
    )


def drawn(tile: np.ndarray) -> np.ndarray:
    return np.argwhere(tile.any(axis=2))[:, ::-1]


def test_box_corners_are_drawn_at_the_projected_pixels():
    view = open_view(image(), camera(), np.eye(4), 320)
    truth = boxes([(12.0, 1.0, 0.8)], yaw_rad=0.4)
    view.draw_boxes(truth, thin=True)
    corners = box_corners(truth.center_m, truth.size_m, truth.yaw_rad)[0]
    pixels, _ = project_points(K, transform_points(invert_transform(FORWARD), corners))
    for u, v in np.rint(pixels).astype(int):
        assert view.tile[v - 1 : v + 2, u - 1 : u + 2].max() > 120
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (drawn(view.tile) >= low - 2).all()
    assert (drawn(view.tile) <= high + 2).all()


def test_ego_motion_between_reference_and_exposure_moves_the_box():
    reference_from_ego = rigid_transform(np.eye(3), (-2.0, 0.5, 0.0))
    view = open_view(image(), camera(), reference_from_ego, 320)
    view.draw_boxes(boxes([(12.0, 0.0, 1.0)]), thin=True)
    still = open_view(image(), camera(), np.eye(4), 320)
    still.draw_boxes(boxes([(14.0, -0.5, 1.0)]), thin=True)
    assert view.tile.any()
    np.testing.assert_array_equal(view.tile, still.tile)


def test_a_box_behind_the_camera_is_not_drawn():
    view = open_view(image(), camera(), np.eye(4), 320)
    view.draw_boxes(boxes([(-8.0, 0.0, 1.0)]), thin=False)
    view.draw_points([(-8.0, 0.0, 1.0), (1.5 + NEAR_M / 2, 0.0, 1.6)], far_m=60.0)
    assert not view.tile.any()


def test_a_box_that_passes_the_camera_is_cut_at_the_near_plane():
    view = open_view(image(), camera(), np.eye(4), 320)
    view.draw_boxes(boxes([(2.0, 0.0, 1.0)], size=(12.0, 3.0, 1.5)), thin=True)
    ahead = boxes([((1.5 + NEAR_M + 8.0) / 2, 0.0, 1.0)], size=(8.0 - 1.5 - NEAR_M, 3.0, 1.5))
    view_ahead = open_view(image(), camera(), np.eye(4), 320)
    view_ahead.draw_boxes(ahead, thin=True)
    # The face at the near plane lies outside the picture, so both must look the same.
    assert view.tile.any()
    assert np.abs(view.tile.astype(int) - view_ahead.tile).max() <= 40


@given(arrays(np.float64, (8, 3), elements=st.floats(-1e6, 1e6)))
def test_any_box_at_all_is_drawn_without_an_exception(corners_cam):
    picture = np.zeros((40, 70, 3), dtype=np.uint8)
    draw_wireframe(picture, corners_cam, K, WHITE)


def test_the_front_face_is_shaded_and_the_rear_face_is_not():
    k = np.array([[300.0, 0, 319.5], [0, 300.0, 99.5], [0, 0, 1]])
    view = open_view(image(width=640), camera(width_px=640, pixel_from_cam=k), np.eye(4), 640)
    center, size, yaw_rad = (12.0, 4.0, 1.0), (4.0, 4.0, 1.5), np.pi / 2
    view.draw_boxes(boxes([center], size=size, yaw_rad=yaw_rad), thin=False)
    corners = box_corners([center], [size], [yaw_rad])[0]
    faces = np.stack([corners[:4].mean(axis=0), corners[4:].mean(axis=0)])
    pixels, _ = project_points(k, transform_points(invert_transform(FORWARD), faces))
    (front_u, front_v), (rear_u, rear_v) = np.rint(pixels).astype(int)
    assert front_u < rear_u  # it heads to the left
    assert view.tile[front_v, front_u].any()
    assert not view.tile[rear_v, rear_u].any()


@pytest.mark.parametrize(("height", "width"), [(200, 320), (100, 160)])
def test_a_smaller_tile_or_image_keeps_the_box_on_the_object(height, width):
    pixels = np.zeros((200, 320, 3), dtype=np.uint8)
    point = (13.5, 1.02, 0.98)  # projects to (134, 115)
    u, v = 134, 115
    pixels[v - 4 : v + 5, u - 4 : u + 5] = 255
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    reading = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=small)
    view = open_view(reading, camera(), np.eye(4), 160)
    weight = view.tile[..., 0].astype(float)
    rows, columns = np.indices(weight.shape)
    center = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    projected, _ = project_points(
        view.pixel_from_cam, transform_points(view.cam_from_reference, [point])
    )
    np.testing.assert_allclose(projected[0], center, atol=0.05)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0)), ("equidistant", (0.05, 0.01, 0.0, 0.0))],
)
def test_a_distorted_image_is_rectified_to_the_pinhole_pixel(model, coefficients):
    point_cam = np.array([[[-0.42, -0.22, 1.0]]])
    if model == "equidistant":
        plane = point_cam[..., :2]
        seen = cv2.fisheye.distortPoints(plane, K, np.array(coefficients))[0, 0]
    else:
        seen = cv2.projectPoints(point_cam, np.zeros(3), np.zeros(3), K, np.array(coefficients))
        seen = seen[0][0, 0]
    pixels = np.zeros((200, 320, 3), dtype=np.uint8)
    u, v = np.rint(seen).astype(int)
    pixels[v - 3 : v + 4, u - 3 : u + 4] = 255
    lens = camera(distortion_model=model, distortion=coefficients)
    reading = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=pixels)
    view = open_view(reading, lens, np.eye(4), 320)
    expected, _ = project_points(K, point_cam[0])
    assert np.linalg.norm(expected[0] - seen) > 3
    np.testing.assert_allclose(drawn(view.tile).mean(axis=0), expected[0], atol=1.5)


def test_labels_are_written_for_boxes_in_the_picture_only():
    view = open_view(image(value=200), camera(), np.eye(4), 320)
    labels = LabelPlacer(view.tile)
    seen = boxes([(12.0, 0.0, 1.0), (-9.0, 0.0, 1.0), (12.0, 90.0, 1.0)])
    view.label_boxes(labels, seen, scores=True)
    assert len(labels.taken) == 1


def test_a_small_box_is_labelled_with_its_score_alone():
    widths = []
    for x_m in (10.0, 60.0):
        view = open_view(image(), camera(), np.eye(4), 320)
        labels = LabelPlacer(view.tile)
        view.label_boxes(labels, boxes([(x_m, 0.0, 1.0)]), scores=True)
        widths.append(labels.taken[0][2] - labels.taken[0][0])
    assert widths[1] < 0.7 * widths[0]


def test_what_moves_has_an_arrow_on_the_ground_and_what_stands_has_none():
    view = open_view(image(), camera(), np.eye(4), 320)
    standing = boxes([(12.0, 1.0, 0.75)])
    view.draw_ways(standing)
    assert not drawn(view.tile).size
    view.draw_ways(replace(standing, velocity_mps=[(3.0, -2.0)]))
    way = np.array([(12.0, 1.0, 0.0), (15.0, -1.0, 0.0)])
    pixels, _ = project_points(K, transform_points(invert_transform(FORWARD), way))
    found = drawn(view.tile)
    assert found[:, 0].min() == pytest.approx(pixels[0, 0], abs=4)
    assert found[:, 0].max() == pytest.approx(pixels[1, 0], abs=4)


def test_the_way_of_what_is_unknown_or_behind_the_camera_is_not_drawn():
    view = open_view(image(), camera(), np.eye(4), 320)
    unknown = replace(boxes([(12.0, 1.0, 0.75)]), velocity_mps=[(np.nan, np.nan)])
    behind = replace(boxes([(-12.0, 1.0, 0.75)]), velocity_mps=[(3.0, 0.0)])
    for one in (unknown, behind, boxes([])):
        view.draw_ways(one)
    assert not drawn(view.tile).size
