# SPDX-License-Identifier: Apache-2.0
"""Boxes as lines over the picture that a camera sends; OpenCV says where points must lie."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.camera_view import NEAR_M, image_lines, open_view
from imkd_core.geometry import BOX_EDGES, box_corners, invert_transform, rigid_transform
from imkd_core.types import Detections
from tests.core.test_camera_view import FORWARD, K, boxes, camera, image

BARREL = ("plumb_bob", (-0.3, 0.08, 0.002, -0.001, 0.0))
FISHEYE = ("equidistant", (0.02, -0.01, 0.003, -0.001))
CROSS = ((0, 2), (1, 3))


def with_lens(lens):
    return camera(distortion_model=lens[0], distortion=lens[1])


def by_opencv(points_ego, lens=("none", ())):
    """Where points of the ego frame lie in the picture."""
    cam_from_ego = invert_transform(FORWARD)
    turn, shift = cv2.Rodrigues(cam_from_ego[:3, :3])[0], cam_from_ego[:3, 3]
    points = np.asarray(points_ego, dtype=np.float64).reshape(-1, 1, 3)
    project = cv2.fisheye.projectPoints if lens[0] == "equidistant" else cv2.projectPoints
    coefficients = np.array(lens[1] or (0.0,) * 4)
    return project(points, turn, shift, K, coefficients)[0].reshape(-1, 2)


def test_every_edge_and_a_cross_on_the_front_join_the_projected_corners():
    car = boxes([(12.0, 1.0, 0.8)], yaw_rad=0.4)
    lines = image_lines(car, camera(), np.eye(4))
    pixels = by_opencv(box_corners(car.center_m, car.size_m, car.yaw_rad))
    expected = pixels[np.array((*BOX_EDGES, *CROSS))]
    np.testing.assert_allclose(lines.ends_px, expected, atol=1e-4)
    assert lines.labels.tolist() == [0] * len(expected)


@pytest.mark.parametrize("lens", [BARREL, FISHEYE])
def test_behind_a_lens_lines_are_bent_as_the_picture_is(lens):
    car = boxes([(9.0, 2.0, 0.8)], size=(4.0, 2.5, 2.0), yaw_rad=0.4)
    lines = image_lines(car, with_lens(lens), np.eye(4))
    corners = box_corners(car.center_m, car.size_m, car.yaw_rad)[0]
    start, end = (corners[[edge[i] for edge in (*BOX_EDGES, *CROSS)]] for i in (0, 1))
    shares = np.linspace(0, 1, 5)[:, None, None]
    on_edges = by_opencv(start + shares * (end - start), lens)
    away_px = np.linalg.norm(lines.ends_px.reshape(-1, 1, 2) - on_edges, axis=2)
    assert away_px.min(axis=1).max() < 1e-3, "every end lies on a bent edge"
    assert away_px.min(axis=0)[: len(start)].max() < 1e-3, "every edge begins where it should"
    assert np.linalg.norm(lines.ends_px[:, 1] - lines.ends_px[:, 0], axis=1).max() < 60
    straight = image_lines(car, camera(), np.eye(4))
    assert len(lines.ends_px) > len(straight.ends_px)
    bent_px = np.linalg.norm(lines.ends_px.reshape(-1, 1, 2) - straight.ends_px[:, 0], axis=2)
    assert bent_px.min(axis=0).max() > 0.5


def test_what_a_lens_cannot_see_does_not_fold_back_into_the_picture():
    strong = with_lens(("plumb_bob", (-0.4, 0.0, 0.0, 0.0, 0.0)))
    beside = boxes([(1.5 + 2.0, 3.1, 1.6)], size=(0.1, 0.1, 0.1))  # 57 degrees to the left
    bent = by_opencv(beside.center_m, (strong.distortion_model, strong.distortion))
    assert (bent[0] > 0).all(), "the coefficients alone would put it into the picture"
    assert (bent[0] < (320, 200)).all()
    assert len(image_lines(beside, strong, np.eye(4)).ends_px) == 0


def test_a_box_that_moves_has_its_way_of_a_second_on_the_ground():
    still = boxes([(12.0, 0.0, 1.0)])
    moving = Detections(
        **{**{name: getattr(still, name) for name in still.__dataclass_fields__},
           "velocity_mps": np.array([[3.0, -2.0]], dtype=np.float32)}
    )  # fmt: skip
    lines, before = (image_lines(one, camera(), np.eye(4)) for one in (moving, still))
    assert len(lines.ends_px) == len(before.ends_px) + 1
    way = by_opencv([(12.0, 0.0, 0.25), (15.0, -2.0, 0.25)])
    np.testing.assert_allclose(lines.ends_px[-1], way, atol=1e-4)


def test_lines_are_those_that_the_mosaic_draws_moved_by_the_ego_motion():
    reference_from_ego = rigid_transform(np.eye(3), (-2.0, 0.5, 0.0))
    car = boxes([(10.0, 0.5, 0.9)], yaw_rad=0.3)
    view = open_view(image(), camera(), reference_from_ego, 320)
    view.draw_boxes(car, thin=True)
    for start, end in image_lines(car, camera(), reference_from_ego).ends_px[: len(BOX_EDGES)]:
        u, v = np.rint((start + end) / 2).astype(int)
        assert view.tile[v - 1 : v + 2, u - 1 : u + 2].max() > 120


def test_a_box_that_passes_the_camera_is_cut_and_one_behind_it_has_no_line():
    passing = image_lines(boxes([(2.0, 0.0, 1.0)], size=(12.0, 3.0, 1.5)), camera(), np.eye(4))
    assert 0 < len(passing.ends_px) < len(BOX_EDGES) + len(CROSS)
    behind = boxes([(-8.0, 0.0, 1.0), (1.5 + NEAR_M / 2, 0.0, 1.6)], size=(0.1, 0.1, 0.1))
    assert len(image_lines(behind, camera(), np.eye(4)).ends_px) == 0
    assert image_lines(boxes([]), camera(), np.eye(4)).ends_px.shape == (0, 2, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.one_of(st.floats(-60, 60), st.floats(-1e6, 1e6))] * 3), max_size=4),
    st.floats(-3, 3),
    st.sampled_from([("none", ()), BARREL, FISHEYE]),
)
def test_all_lines_lie_on_the_picture_wherever_the_boxes_are(centers, yaw_rad, lens):
    found = image_lines(boxes(centers, yaw_rad=yaw_rad), with_lens(lens), np.eye(4))
    assert (found.ends_px >= -0.5 - 1e-6).all()
    assert (found.ends_px <= np.array((320, 200)) - 0.5 + 1e-6).all()
    assert len(found.labels) == len(found.ends_px)
    assert found.ends_px.shape[1:] == (2, 2)
