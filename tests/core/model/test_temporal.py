# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.data.changes.bev_change import BevChange, warp_map
from imkd_core.model.temporal import HistoryAlignment, TemporalFusion
from tests.core.model.remembering import motion

GRID = BevGrid(x_min_m=-8.0, x_max_m=24.0, y_min_m=-6.0, y_max_m=6.0, cell_m=0.5)
CENTRED = BevGrid(x_min_m=-16.0, x_max_m=16.0, y_min_m=-12.0, y_max_m=12.0, cell_m=0.5)
MEMORY = MemorySpec(kind="window", frames=2, channels=3)


def noise_map(grid, channels=3, seed=0):
    return torch.rand((channels, *grid.shape), generator=torch.Generator().manual_seed(seed))


def aligned(grid, values, transform, mask=1.0):
    """Return one map on the present grid, and its validity."""
    read = HistoryAlignment(grid)(values[None, None], transform[None, None], torch.tensor([[mask]]))
    return read[0, 0, :-1], read[0, 0, -1]


def test_a_vehicle_at_rest_reads_its_map_unchanged():
    values = noise_map(GRID)
    read, valid = aligned(GRID, values, motion())
    torch.testing.assert_close(read, values, rtol=0, atol=1e-5)
    torch.testing.assert_close(valid, torch.ones(GRID.shape), rtol=0, atol=1e-5)


def test_on_a_grid_of_a_power_of_two_rest_is_exact():
    grid = BevGrid(x_min_m=-51.2, x_max_m=51.2, y_min_m=-51.2, y_max_m=51.2, cell_m=0.8)
    values = noise_map(grid)
    assert torch.equal(aligned(grid, values, motion())[0], values)


@pytest.mark.parametrize(("columns", "rows"), [(1, 0), (0, 1), (-3, 2), (10, -4), (0, -1)])
def test_a_shift_by_whole_cells_shifts_the_map_and_brings_zeros_in(columns, rows):
    values = noise_map(GRID)
    read, valid = aligned(GRID, values, motion(columns * GRID.cell_m, rows * GRID.cell_m))
    expected, seen = torch.zeros_like(values), torch.zeros(GRID.shape)
    for row in range(GRID.rows):
        for column in range(GRID.columns):
            if 0 <= row + rows < GRID.rows and 0 <= column + columns < GRID.columns:
                expected[:, row, column] = values[:, row + rows, column + columns]
                seen[row, column] = 1
    torch.testing.assert_close(read, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(valid, seen, rtol=0, atol=2e-5)


def test_a_quarter_turn_of_the_vehicle_turns_the_map():
    values = noise_map(CENTRED)
    read, valid = aligned(CENTRED, values, motion(yaw_rad=math.pi / 2))
    side = CENTRED.rows  # the square in the middle is seen before and after
    left = (CENTRED.columns - side) // 2
    square = values[:, :, left : left + side]
    # A point (x, y) of the present lies at (-y, x) before.
    for row in range(0, side, 5):
        for column in range(0, side, 7):
            before_row, before_column = column, side - 1 - row
            torch.testing.assert_close(
                read[:, row, left + column],
                square[:, before_row, before_column],
                rtol=0,
                atol=1e-4,
            )
    assert valid[:, left : left + side].min() > 0.999


def test_half_a_cell_is_the_mean_of_two_cells():
    values = noise_map(GRID)
    read, _ = aligned(GRID, values, motion(GRID.cell_m / 2))
    mean = (values[:, :, :-1] + values[:, :, 1:]) / 2
    torch.testing.assert_close(read[:, :, :-1], mean, rtol=0, atol=1e-5)


def test_a_map_that_does_not_exist_is_zero_and_not_valid():
    read, valid = aligned(GRID, noise_map(GRID), motion(1.0, 2.0, 0.3), mask=0.0)
    assert not read.any()
    assert not valid.any()


def test_two_moves_are_one():
    """A smooth map read through two motions is the map read through their product."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    values = torch.exp(-((x - 33) ** 2 + (y - 22) ** 2) / 60)[None]
    first, second = motion(2.0, 1.0, 0.2), motion(-1.5, 0.5, -0.5)
    twice, _ = aligned(CENTRED, aligned(CENTRED, values, first)[0], second)
    square = torch.cat([first, torch.tensor([[0.0, 0.0, 1.0]])])
    once, _ = aligned(CENTRED, values, (square @ torch.cat([second, square[2:]]))[:2])
    torch.testing.assert_close(twice, once, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "change",
    [BevChange(flip_y=True), BevChange(flip_x=True, flip_y=True), BevChange(yaw_rad=math.pi)],
)
def test_a_change_of_the_scene_may_come_before_or_after(change):
    """Warping changed maps by A T A^-1 is changing the warped map."""
    values, transform = noise_map(CENTRED), motion(1.3, -0.7, 0.2)
    changed = torch.from_numpy(warp_map(values.numpy(), CENTRED, change))
    moved = torch.from_numpy(change.apply_to_motion(transform.double().numpy())).float()
    before, _ = aligned(CENTRED, changed, moved)
    after = torch.from_numpy(
        warp_map(aligned(CENTRED, values, transform)[0].numpy(), CENTRED, change)
    )
    torch.testing.assert_close(before, after, rtol=0, atol=1e-3)


def test_half_precision_reads_the_same_places():
    module = HistoryAlignment(GRID).half()
    values, transform = noise_map(GRID), motion(3.3, 1.7, 0.4)
    read = module(values[None, None], transform[None, None], torch.ones(1, 1))
    expected, _ = aligned(GRID, values, transform)
    torch.testing.assert_close(read[0, 0, :-1], expected, rtol=0, atol=1e-6)


def fusion(gamma):
    torch.manual_seed(1)
    module = TemporalFusion(MEMORY, GRID).eval()
    torch.nn.init.constant_(module.norm.weight, gamma)
    return module


def history(seed=3):
    maps = torch.stack([noise_map(GRID, seed=seed + k) for k in range(2)])[None]
    transform = torch.stack([motion(1.0), motion(2.0, 0.5, 0.1)])[None]
    return maps, transform, torch.tensor([[0.5, 1.0]])


def test_a_memory_starts_by_changing_nothing():
    torch.manual_seed(1)
    module = TemporalFusion(MEMORY, GRID)
    merged = noise_map(GRID)[None]
    assert torch.equal(module(merged, *history(), torch.ones(1, 2)), merged)


def test_what_does_not_exist_says_nothing():
    module, merged = fusion(1.0), noise_map(GRID)[None]
    maps, transform, age = history()
    none = torch.zeros(1, 2)
    first = module(merged, maps, transform, age, none)
    second = module(merged, maps + 7, transform + 1, age + 3, none)
    assert torch.equal(first, second)


def test_map_motion_and_age_each_count():
    module, merged = fusion(1.0), noise_map(GRID)[None]
    maps, transform, age = history()
    known = torch.ones(1, 2)
    first = module(merged, maps, transform, age, known)
    for other in (
        (maps + 1, transform, age),
        (maps, transform + 0.3, age),
        (maps, transform, age + 1),
    ):
        assert not torch.allclose(module(merged, *other, known), first)
