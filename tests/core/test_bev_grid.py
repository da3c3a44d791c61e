# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.errors import ConfigError

GRID = BevGrid(x_min_m=-8.0, x_max_m=24.0, y_min_m=-6.4, y_max_m=6.4, cell_m=0.8)
FORWARD = BevGrid(x_min_m=0.0, x_max_m=51.2, y_min_m=-25.6, y_max_m=25.6, cell_m=0.32)


@st.composite
def grids(draw):
    cell_m = draw(st.sampled_from([0.1, 0.16, 0.32, 0.5, 0.8, 1.0]))
    columns, rows = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    x, y = draw(st.integers(-200, 100)), draw(st.integers(-200, 100))
    return BevGrid(
        x_min_m=x * cell_m,
        x_max_m=(x + columns) * cell_m,
        y_min_m=y * cell_m,
        y_max_m=(y + rows) * cell_m,
        cell_m=cell_m,
    ), (rows, columns)


@given(grids())
def test_a_grid_has_the_cells_it_was_made_of(made):
    grid, shape = made
    assert grid.shape == shape == (grid.rows, grid.columns)
    assert grid.cells == shape[0] * shape[1]
    assert grid.centers().shape == (*shape, 2)


@given(grids())
def test_every_centre_lies_in_its_own_cell(made):
    grid, (rows, columns) = made
    cells, inside = grid.cell_index(grid.centers())
    assert inside.all()
    expected = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_allclose(grid.fractional_index(grid.centers()), expected, atol=1e-6)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_inside_is_exactly_the_half_open_range(x, y):
    on_border = min(abs(x - 24.0), abs(y - 6.4)) < 1e-9
    assume(not on_border)
    (row, column), inside = GRID.cell_index([x, y])
    assert bool(inside) == (-8.0 <= x < 24.0 and -6.4 <= y < 6.4)
    if inside:
        center = GRID.centers()[row, column]
        assert np.abs(center - [x, y]).max() <= 0.4 + 1e-9


def test_rows_are_y_and_columns_are_x():
    (row, column), inside = GRID.cell_index([-7.9, 6.3])
    assert (row, column, bool(inside)) == (15, 0, True)
    assert GRID.shape == (16, 40)


@pytest.mark.parametrize("xy", [(-0.1, 0.0), (-1e-20, 0.0), (51.2, 0.0), (3.0, 25.6), (3.0, -25.7)])
def test_points_just_outside_are_not_folded_into_border_cells(xy):
    assert not FORWARD.cell_index(xy)[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e300])
def test_far_and_nan_points_are_outside_and_their_index_is_no_cell(bad):
    cells, inside = GRID.cell_index([[bad, 0.0], [0.0, bad], [0.0, 0.0]])
    assert inside.tolist() == [False, False, True]
    rows, columns = cells[:2, 0], cells[:2, 1]
    is_cell = (rows >= 0) & (rows < GRID.rows) & (columns >= 0) & (columns < GRID.columns)
    assert not is_cell.any()


def test_no_points_give_no_cells():
    cells, inside = GRID.cell_index(np.zeros((0, 2)))
    assert cells.shape == (0, 2)
    assert inside.shape == (0,)


@given(grids(), st.integers(1, 4))
def test_refined_cells_lie_in_the_cell_they_were_cut_from(made, factor):
    grid, (rows, columns) = made
    fine = grid.refined(factor)
    assert fine.shape == (rows * factor, columns * factor)
    cells, inside = grid.cell_index(fine.centers())
    assert inside.all()
    parents = np.stack(
        np.meshgrid(np.arange(fine.rows), np.arange(fine.columns), indexing="ij"), axis=-1
    )
    np.testing.assert_array_equal(cells, parents // factor)


@pytest.mark.parametrize(
    "change",
    [
        {"cell_m": 0.0},
        {"cell_m": -0.8},
        {"cell_m": np.nan},
        {"cell_m": np.inf},
        {"cell_m": 0.7},
        {"x_max_m": -8.0},
        {"x_max_m": -16.0},
        {"y_min_m": np.nan},
        {"y_max_m": np.inf},
    ],
)
def test_a_broken_range_is_refused(change):
    values = {"x_min_m": -8.0, "x_max_m": 24.0, "y_min_m": -6.4, "y_max_m": 6.4, "cell_m": 0.8}
    with pytest.raises(ConfigError, match="bev"):
        BevGrid(**{**values, **change})
