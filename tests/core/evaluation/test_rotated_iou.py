# SPDX-License-Identifier: Apache-2.0
"""Overlap of turned boxes: known areas, properties, and OpenCV's polygons as a second opinion."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.evaluation.rotated_iou import box_iou, overlap_area, rectangle_corners


def area(first, second):
    rectangles = [
        rectangle_corners(np.array([c]), np.array([s]), np.array([yaw]))
        for c, s, yaw in (first, second)
    ]
    return float(overlap_area(*rectangles)[0])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (((0, 0), (4, 2), 0.0), ((0, 0), (4, 2), 0.0), 8.0),
        (((0, 0), (4, 2), 0.0), ((0, 0), (4, 2), np.pi), 8.0),
        (((0, 0), (4, 2), 0.0), ((0, 0), (4, 2), np.pi / 2), 4.0),
        (((0, 0), (4, 2), 0.0), ((1, 0.5), (4, 2), 0.0), 4.5),
        (((0, 0), (2, 2), 0.0), ((0, 0), (2, 2), np.pi / 4), 8 * (np.sqrt(2) - 1)),
        (((0, 0), (4, 4), 0.3), ((0, 0), (1, 2), 1.1), 2.0),
        (((0, 0), (2, 2), 0.0), ((2, 0), (2, 2), 0.0), 0.0),
        (((0, 0), (2, 2), 0.0), ((9, 0), (2, 2), 1.0), 0.0),
        # a square on its corner reaches into another by a triangle of height sqrt(2) - 1
        (((0, 0), (2, 2), np.pi / 4), ((2, 0), (2, 2), 0.0), (np.sqrt(2) - 1) ** 2),
    ],
)
def test_known_areas(first, second, expected):
    assert area(first, second) == pytest.approx(expected, abs=1e-9)


def test_random_rectangles_overlap_as_opencv_says():
    rng = np.random.default_rng(0)
    n = 400
    centers, sizes = rng.uniform(-2, 2, (2, n, 2)), rng.uniform(0.5, 4, (2, n, 2))
    yaws = rng.uniform(-4, 4, (2, n))
    corners = [rectangle_corners(centers[i], sizes[i], yaws[i]) for i in range(2)]
    ours = overlap_area(*corners)
    for i in range(n):
        turned = [(centers[k, i], sizes[k, i], np.degrees(yaws[k, i])) for k in range(2)]
        _, points = cv2.rotatedRectangleIntersection(*turned)
        theirs = 0.0 if points is None else cv2.contourArea(cv2.convexHull(points))
        assert ours[i] == pytest.approx(theirs, abs=2e-3)


numbers = st.floats(-3, 3)
sizes = st.floats(0.2, 4)
rectangles = st.tuples(st.tuples(numbers, numbers), st.tuples(sizes, sizes), numbers)


@given(rectangles, rectangles, numbers)
def test_overlap_is_symmetric_bounded_and_does_not_turn_with_the_world(first, second, turn):
    shared = area(first, second)
    assert shared == pytest.approx(area(second, first), abs=1e-9)
    assert 0 <= shared <= min(np.prod(first[1]), np.prod(second[1])) + 1e-9
    cos, sin = np.cos(turn), np.sin(turn)
    turned = [
        ((cos * x - sin * y, sin * x + cos * y), s, yaw + turn)
        for (x, y), s, yaw in (first, second)
    ]
    assert area(*turned) == pytest.approx(shared, abs=1e-9)


def test_iou_in_space_counts_the_shared_height():
    a = np.array([[0.0, 0, 0]]), np.array([[4.0, 2, 2]]), np.zeros(1)
    b = np.array([[0.0, 0, 1.0], [0, 0, 3], [20, 0, 0]]), np.array([[4.0, 2, 2]] * 3), np.zeros(3)
    bev, space = box_iou(*a, *b)
    np.testing.assert_allclose(bev, [[1, 1, 0]])
    np.testing.assert_allclose(space, [[1 / 3, 0, 0]])


def test_no_boxes_give_empty_tables():
    none, one = (
        (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)),
        (np.ones((1, 3)), np.ones((1, 3)), np.zeros(1)),
    )
    assert box_iou(*none, *one)[0].shape == (0, 1)
    assert box_iou(*one, *none)[1].shape == (1, 0)
