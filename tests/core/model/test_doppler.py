# SPDX-License-Identifier: Apache-2.0
"""The measured velocity around each cell, and what a head makes of it."""

import pytest
import torch

from imkd_core.config import BOX_CODE, RADAR_GRID_CHANNELS
from imkd_core.model.center_head import VELOCITY_UNIT_MPS
from imkd_core.model.doppler import FIELD_CHANNELS, DopplerVelocity, doppler_field
from imkd_core.radar_grid import SPEED_SCALE_MPS

ROWS, COLUMNS, REFINEMENT = 12, 16, 2
VX, VY = RADAR_GRID_CHANNELS.index("vx_mean"), RADAR_GRID_CHANNELS.index("vy_mean")


def grid_with(returns: list[tuple[int, int, float, float]]) -> torch.Tensor:
    """Return a radar grid that holds returns: fine row, fine column, vx and vy in m/s."""
    grid = torch.zeros(1, len(RADAR_GRID_CHANNELS), ROWS * REFINEMENT, COLUMNS * REFINEMENT)
    for row, column, vx, vy in returns:
        grid[0, VX, row, column] = vx / SPEED_SCALE_MPS
        grid[0, VY, row, column] = vy / SPEED_SCALE_MPS
    return grid


def near_mps(field: torch.Tensor, row: int, column: int) -> tuple[float, float]:
    """Return the velocity in the smaller neighbourhood of a BEV cell."""
    vx, vy = (field[0, :2, row, column] * VELOCITY_UNIT_MPS).tolist()
    return vx, vy


def test_a_lone_mover_is_measured_as_it_moves() -> None:
    field = doppler_field(grid_with([(9, 15, -6.5, 2.25)]), REFINEMENT)
    assert near_mps(field, 4, 7) == pytest.approx((-6.5, 2.25), abs=1e-4)


def test_standing_returns_beside_a_mover_do_not_dilute_it() -> None:
    field = doppler_field(grid_with([(9, 15, 4.0, -8.0), (8, 14, 0.0, 0.0)]), REFINEMENT)
    assert near_mps(field, 4, 7) == pytest.approx((4.0, -8.0), abs=1e-4)


def test_neighbourhoods_reach_one_and_three_cells() -> None:
    field = doppler_field(grid_with([(10, 16, 5.0, 0.0)]), REFINEMENT)
    near, wide = field[0, 0], field[0, 2]
    row, column = 5, 8
    assert {(int(r), int(c)) for r, c in near.nonzero()} == {
        (r, c) for r in range(row - 1, row + 2) for c in range(column - 1, column + 2)
    }
    assert {(int(r), int(c)) for r, c in wide.nonzero()} == {
        (r, c) for r in range(row - 3, row + 4) for c in range(column - 3, column + 4)
    }


def test_an_empty_grid_measures_nothing() -> None:
    assert doppler_field(grid_with([]), REFINEMENT).abs().max() == 0


def test_a_mirrored_scene_gives_the_mirrored_field() -> None:
    generator = torch.Generator().manual_seed(3)
    grid = torch.randn(1, len(RADAR_GRID_CHANNELS), 24, 32, generator=generator)
    mirrored = grid.flip(2)
    mirrored[:, VY] *= -1
    sign = torch.tensor([1.0, -1.0] * (FIELD_CHANNELS // 2))[:, None, None]
    expected = doppler_field(grid, REFINEMENT).flip(2) * sign
    assert torch.allclose(doppler_field(mirrored, REFINEMENT), expected, atol=1e-6)


def test_only_velocities_are_changed_and_each_task_has_its_share() -> None:
    tasks = 3
    module = DopplerVelocity(8, tasks)
    torch.nn.init.zeros_(module.share.weight)
    with torch.no_grad():  # tasks take all of what is near, all of what is wide, and nothing
        module.share.bias.copy_(torch.tensor([30.0, -30.0, -30.0, 30.0, -30.0, -30.0]))
    codes = torch.randn(1, tasks * len(BOX_CODE), ROWS, COLUMNS)
    field = torch.randn(1, FIELD_CHANNELS, ROWS, COLUMNS)
    changed = module(codes, torch.randn(1, 8, ROWS, COLUMNS), field)
    added = (changed - codes).reshape(tasks, len(BOX_CODE), ROWS, COLUMNS)
    velocity = added[:, BOX_CODE.index("vx") :]
    assert torch.allclose(velocity[0], field[0, :2] * VELOCITY_UNIT_MPS, atol=1e-5)
    assert torch.allclose(velocity[1], field[0, 2:] * VELOCITY_UNIT_MPS, atol=1e-5)
    assert velocity[2].abs().max() < 1e-5
    assert added[:, : BOX_CODE.index("vx")].abs().max() == 0


def test_half_of_what_is_near_is_believed_at_the_start() -> None:
    module = DopplerVelocity(8, 2)
    module.reset_outputs()
    torch.nn.init.zeros_(module.share.weight)
    field = torch.zeros(1, FIELD_CHANNELS, ROWS, COLUMNS)
    field[:, 0] = 2.0  # units
    codes = torch.zeros(1, 2 * len(BOX_CODE), ROWS, COLUMNS)
    changed = module(codes, torch.randn(1, 8, ROWS, COLUMNS), field)
    vx = changed.reshape(2, len(BOX_CODE), ROWS, COLUMNS)[:, BOX_CODE.index("vx")]
    assert torch.allclose(vx, torch.tensor(VELOCITY_UNIT_MPS), atol=1e-5)
