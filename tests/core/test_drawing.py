# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imkd_core import drawing

coordinates = st.floats(-1e12, 1e12)
points_2d = arrays(np.float64, (2,), elements=coordinates)


def blank(height: int = 60, width: int = 90) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


@given(
    arrays(np.float64, (4, 3), elements=st.floats(-50, 50)),
    arrays(np.float64, (3,), elements=st.floats(-1, 1)),
    st.floats(-20, 20),
)
def test_no_clipped_point_lies_outside_the_half_space(points, normal, offset):
    clipped = drawing.clip_polygon(points, normal, offset)
    assert clipped.shape[1] == 3
    assert (clipped @ normal >= offset - 1e-6).all()


def test_a_segment_is_cut_where_it_crosses_the_plane():
    clipped = drawing.clip_polygon([[0.0, 0.0, -1.0], [4.0, 2.0, 3.0]], (0, 0, 1), 0.0)[:2]
    np.testing.assert_allclose(clipped, [[1.0, 0.5, 0.0], [4.0, 2.0, 3.0]])


def test_a_polygon_inside_stays_as_it_is_and_one_outside_vanishes():
    square = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]
    np.testing.assert_array_equal(drawing.clip_polygon(square, (1, 0), -1.0), square)
    assert drawing.clip_polygon(square, (1, 0), 5.0).shape == (0, 2)


@given(points_2d, points_2d)
def test_lines_with_huge_coordinates_draw_without_an_exception(start, end):
    picture = blank()
    drawing.draw_line(picture, start, end, drawing.WHITE, 2)
    drawing.fill_polygon(picture, [start, end, (0.0, 0.0)], drawing.WHITE, 0.5)
    drawing.draw_dot(picture, start, drawing.WHITE, 3.0)
    drawing.draw_arrow(picture, start, end, drawing.WHITE)


def test_a_line_from_far_outside_lands_on_the_right_pixels():
    picture = blank()
    drawing.draw_line(picture, (-1e9, 20.0), (1e9, 20.0), drawing.WHITE)
    assert (picture[20, 1:-1] > 200).all()
    assert not picture[:19].any()
    assert not picture[22:].any()


def test_a_line_beside_the_picture_leaves_it_untouched():
    picture = blank()
    drawing.draw_line(picture, (-500.0, -400.0), (500.0, -400.0), drawing.WHITE, 2)
    assert not picture.any()


def test_points_that_are_not_finite_draw_nothing():
    picture = blank()
    drawing.draw_line(picture, (np.nan, 3.0), (5.0, 5.0), drawing.WHITE)
    drawing.draw_dot(picture, (np.nan, np.nan), drawing.WHITE, 3.0)
    assert not picture.any()


def test_a_filled_polygon_is_blended_by_its_opacity():
    picture = np.full((60, 90, 3), 100, dtype=np.uint8)
    drawing.fill_polygon(picture, [(10, 10), (40, 10), (40, 30), (10, 30)], (200, 0, 100), 0.25)
    np.testing.assert_array_equal(picture[20, 25], (125, 75, 100))
    np.testing.assert_array_equal(picture[45, 25], (100, 100, 100))


def test_a_dot_has_its_colour_in_the_middle_and_a_dark_rim():
    picture = np.full((60, 90, 3), 100, dtype=np.uint8)
    drawing.draw_dot(picture, (30.0, 20.0), (10, 200, 30), 4.0)
    np.testing.assert_array_equal(picture[20, 30], (10, 200, 30))
    assert picture[20, 35].max() < 60
    np.testing.assert_array_equal(picture[20, 40], (100, 100, 100))


def test_arrow_heads_are_at_the_end():
    picture = blank()
    drawing.draw_arrow(picture, (10.0, 30.0), (70.0, 30.0), drawing.WHITE)
    off_axis = picture.copy()
    off_axis[28:33] = 0
    columns = np.flatnonzero(off_axis.any(axis=(0, 2)))
    assert columns.size
    assert columns.min() > 50


def test_labels_never_cover_each_other_and_give_up_when_there_is_no_room():
    picture = blank(80, 120)
    labels = drawing.LabelPlacer(picture)
    placed = [labels.place("car 0.90", (60, 40, 60, 40), drawing.WHITE) for _ in range(12)]
    assert placed[0]
    assert not placed[-1]
    for i, a in enumerate(labels.taken):
        for b in labels.taken[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("corner", [(-500.0, -500.0), (900.0, 900.0)])
def test_labels_stay_on_the_picture(corner):
    picture = blank(80, 160)
    labels = drawing.LabelPlacer(picture)
    assert labels.place("truck", (*corner, *corner), drawing.WHITE)
    left, top, right, bottom = labels.taken[0]
    assert 0 <= left < right <= 160
    assert 0 <= top < bottom <= 80
    assert picture.any()


def test_a_label_larger_than_the_picture_does_no_harm():
    picture = blank(4, 6)
    drawing.LabelPlacer(picture).place("construction vehicle", (3, 3, 3, 3), drawing.WHITE)
    assert picture.shape == (4, 6, 3)


def test_a_narrow_legend_wraps_into_more_rows_and_keeps_its_width():
    items = [(f"class {i}", drawing.swatch(drawing.class_color(i))) for i in range(8)]
    wide, narrow = (drawing.legend_strip(items, width_px) for width_px in (1600, 200))
    assert wide.shape[1] == 1600
    assert narrow.shape[1] == 200
    assert narrow.shape[0] > 2 * wide.shape[0]
    for label in range(8):
        assert (narrow == drawing.class_color(label)).all(axis=2).any()


def test_an_empty_legend_is_a_plain_strip():
    assert (drawing.legend_strip([], 100) == drawing.DARK).all()


def test_the_colour_ramp_gets_lighter_and_clips_what_is_outside():
    ramp = drawing.color_ramp([-3.0, 0.0, 0.25, 0.5, 0.75, 1.0, 7.0])
    lightness = ramp @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness[1:6]) > 0).all()
    np.testing.assert_array_equal(ramp[0], ramp[1])
    np.testing.assert_array_equal(ramp[5], ramp[6])


def test_near_points_are_brighter_than_far_ones():
    colors = drawing.range_colors(np.array([[1.0, 0.0], [0.0, -30.0], [60.0, 0.0]]), far_m=60.0)
    sums = [sum(color) for color in colors]
    assert sums[0] > sums[1] > sums[2] > 0


def test_the_ten_class_colours_differ():
    assert len({drawing.class_color(label) for label in range(10)}) == 10
    assert drawing.class_color(10) == drawing.class_color(0)
