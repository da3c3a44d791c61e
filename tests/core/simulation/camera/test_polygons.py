# SPDX-License-Identifier: Apache-2.0
import numpy as np

from imkd_core.simulation.camera.polygons import Polygons, fill_many, without_outline

SQUARE = np.array([[4.0, 3.0], [14.0, 3.0], [14.0, 9.0], [4.0, 9.0]])


def polygons(*corners, depth_m=None):
    depth_m = depth_m or [10.0] * len(corners)
    counts = np.array([len(polygon) for polygon in corners])
    return Polygons(
        pixels=np.concatenate(corners),
        first=np.cumsum(counts) - counts,
        counts=counts,
        plane=np.array([[0, 0, 1 / depth] for depth in depth_m], dtype=np.float32),
        order=np.argsort(depth_m, kind="stable"),
    )


def filled(found, width=24, height=16):
    number = np.zeros((height, width), dtype=np.int32)
    fill_many(
        number, np.zeros((height, width), np.float32), found, np.ones(len(found.counts), bool)
    )
    return number


def test_an_outline_moves_in_by_half_a_pixel_whatever_the_sense_of_turning():
    for square in (SQUARE, SQUARE[::-1]):
        moved = without_outline(square, np.zeros(1, dtype=int), np.array([4]))
        assert moved.min(axis=0).tolist() == [4.46, 3.46]
        assert moved.max(axis=0).tolist() == [13.54, 8.54]


def test_a_sliver_keeps_its_outline():
    sliver = np.array([[2.0, 2.0], [20.0, 2.0], [20.0, 2.3], [2.0, 2.3]])
    assert np.array_equal(without_outline(sliver, np.zeros(1, dtype=int), np.array([4])), sliver)


def test_pixels_with_their_centre_inside_are_filled():
    number = filled(polygons(SQUARE + 0.5))
    assert (number > 0).sum() == 10 * 6
    assert (number[4:10, 5:15] == 1).all()


def test_the_nearest_wins_and_a_tie_goes_to_what_is_painted_later():
    far_first = filled(polygons(SQUARE, SQUARE + 2, depth_m=[5.0, 9.0]))
    assert far_first[7, 8] == 1
    tie = filled(polygons(SQUARE, SQUARE + 2, depth_m=[5.0, 5.0]))
    assert tie[7, 8] == 2


def test_polygons_with_unequal_numbers_of_corners_are_filled_together():
    number = filled(polygons(SQUARE, SQUARE[:3] + np.array([8, 5]), depth_m=[5.0, 9.0]))
    assert set(np.unique(number)) == {0, 1, 2}


def test_what_reaches_out_of_the_picture_is_cut():
    number = filled(polygons(SQUARE - [8, 6]))
    assert number[0, 0] == 1
    assert (number > 0).sum() < 60
