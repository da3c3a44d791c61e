# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, HeadSpec
from imkd_core.data.changes.bev_change import BevChange, warp_map
from imkd_core.data.learning.label_maps import MASK_FLOOR, label_channels, label_maps, soft_mask
from imkd_core.data.learning.targets import make_targets
from imkd_core.geometry import points_in_box
from imkd_core.types import Detections

GRID = BevGrid(x_min_m=-16.0, x_max_m=32.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)
HEAD = HeadSpec()
CLASSES = slice(len(BOX_CODE), None)


def boxes(centers, labels, sizes, yaw, velocity=(1.0, -2.0)):
    n = len(centers)
    return Detections(
        stamp_ns=1,
        class_names=HEAD.class_names,
        center_m=np.asarray(centers, np.float32).reshape(n, 3),
        size_m=np.asarray(sizes, np.float32).reshape(n, 3),
        yaw_rad=np.broadcast_to(np.float32(yaw), n),
        velocity_mps=np.tile(np.float32(velocity), (n, 1)),
        scores=np.ones(n, np.float32),
        labels=np.asarray(labels, np.int64),
    )


def one(center=(5.3, -2.1, 0.8), size=(4.6, 1.9, 1.6), yaw=0.4, label=0, velocity=(1.0, -2.0)):
    return boxes([center], [label], [size], yaw, velocity)


@given(
    x=st.floats(-10, 26),
    y=st.floats(-4, 4),
    yaw=st.floats(-3.1, 3.1),
    length=st.floats(0.3, 11),
    width=st.floats(0.3, 3),
)
def test_a_box_fills_the_cells_whose_centres_lie_in_it_and_its_own(x, y, yaw, length, width):
    box = one((x, y, 0.8), (length, width, 1.6), yaw)
    filled = label_maps(box, GRID)[CLASSES].any(axis=0)
    centers = GRID.centers().reshape(-1, 2)
    points = np.column_stack([centers, np.full(len(centers), 0.8)])
    grown, shrunk = (
        points_in_box(points, box.center_m[0], box.size_m[0] + d, box.yaw_rad[0]).reshape(
            GRID.shape
        )
        for d in (1e-3, -1e-3)
    )
    cell, _ = GRID.cell_index(box.center_m[0, :2])
    assert filled[tuple(cell)]
    grown[tuple(cell)] = True
    assert (filled <= grown).all()
    assert (shrunk <= filled).all()


def test_offsets_lead_from_every_cell_to_the_centre_of_its_box():
    box = one()
    maps = label_maps(box, GRID)
    filled = maps[CLASSES].any(axis=0)
    assert filled.sum() > 20
    target = GRID.centers()[filled] + maps[:2, filled].T
    np.testing.assert_allclose(target, np.tile(box.center_m[0, :2], (filled.sum(), 1)), atol=1e-4)


def test_the_code_at_the_centre_cell_is_the_regression_target():
    box = one()
    maps, targets = label_maps(box, GRID), make_targets(box, GRID, HEAD)
    row, column = divmod(int(targets.cell[0]), GRID.columns)
    np.testing.assert_allclose(
        maps[: len(BOX_CODE), row, column], targets.code[0], rtol=1e-5, atol=1e-5
    )


def test_a_smaller_box_lies_on_top_and_every_centre_cell_is_its_owners():
    pair = boxes([(5, 0, 1), (5.2, 0.1, 1)], [3, 8], [(10, 3, 3), (0.7, 0.7, 1.8)], 0.0)
    for order in ([0, 1], [1, 0]):
        maps = label_maps(pair.select(np.array(order)), GRID)
        cell, _ = GRID.cell_index(pair.center_m[1, :2])
        assert maps[len(BOX_CODE) + 8, cell[0], cell[1]] == 1
        assert maps[CLASSES].sum(axis=0).max() == 1


def test_an_unknown_velocity_is_zero_in_the_map():
    maps = label_maps(one(velocity=(np.nan, np.nan)), GRID)
    assert np.isfinite(maps).all()
    assert not maps[8:10].any()


def test_no_boxes_and_boxes_off_the_grid_leave_the_maps_empty():
    for none in (one().select(np.array([], np.int64)), one(center=(60.0, 0.0, 0.0))):
        maps = label_maps(none, GRID)
        assert maps.shape == (label_channels(len(HEAD.class_names)), *GRID.shape)
        assert not maps.any()
        assert soft_mask(none, GRID).shape == GRID.shape
    assert not soft_mask(one().select(np.array([], np.int64)), GRID).any()


def test_a_box_that_reaches_over_the_border_is_cut_off_there():
    maps = label_maps(one(center=(31.7, 7.8, 0.5), size=(9, 3, 2)), GRID)
    assert maps[CLASSES].any()


def test_the_soft_mask_is_the_gaussian_of_the_specification():
    box = one()
    offset = GRID.centers() - box.center_m[0, :2]
    cos, sin = np.cos(box.yaw_rad[0]), np.sin(box.yaw_rad[0])
    along = cos * offset[..., 0] + sin * offset[..., 1]
    across = -sin * offset[..., 0] + cos * offset[..., 1]
    expected = np.exp(-0.5 * ((along / 2.3) ** 2 + (across / 0.95) ** 2))
    expected[expected < MASK_FLOOR] = 0
    np.testing.assert_allclose(soft_mask(box, GRID), expected, atol=1e-3)


def test_the_mask_of_a_small_object_is_as_wide_as_a_cell():
    mask = soft_mask(one(center=(5.25, 0.25, 1.0), size=(0.3, 0.3, 1.0), yaw=0.0), GRID)
    row, column = GRID.cell_index([5.25, 0.25])[0]
    assert mask[row, column] == pytest.approx(1)
    assert mask[row, column + 1] == pytest.approx(np.exp(-0.5 * (0.5 / 0.8) ** 2), abs=1e-4)


def test_the_mask_of_many_boxes_is_the_largest_of_each():
    pair = boxes([(5, 0, 1), (8, 2, 1)], [0, 8], [(4, 2, 2), (0.7, 0.7, 1.8)], 0.3)
    single = [soft_mask(pair.select(np.array([i])), GRID) for i in range(2)]
    np.testing.assert_allclose(soft_mask(pair, GRID), np.maximum(*single), atol=1e-6)


SQUARE = BevGrid(x_min_m=-16.0, x_max_m=16.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)


@pytest.mark.parametrize("change", [BevChange(flip_x=True), BevChange(flip_y=True)])
def test_maps_of_flipped_boxes_are_flipped_maps(change):
    box = one()
    for make in (soft_mask, lambda b, g: label_maps(b, g)[CLASSES]):
        np.testing.assert_allclose(
            make(change.apply_to_boxes(box), SQUARE),
            warp_map(make(box, SQUARE), SQUARE, change),
            atol=1e-4,
        )


def test_the_mask_of_turned_boxes_is_the_turned_mask_up_to_resampling():
    box, change = one(center=(3.0, -1.0, 0.5)), BevChange(yaw_rad=0.3)
    turned = warp_map(soft_mask(box, SQUARE), SQUARE, change)
    assert np.abs(soft_mask(change.apply_to_boxes(box), SQUARE) - turned).mean() < 0.005
