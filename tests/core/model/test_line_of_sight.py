# SPDX-License-Identifier: Apache-2.0
"""What is measured around a cell and along the ray to it, and what becomes of it in the codes."""

import math

import pytest
import torch

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, RADAR_GRID_CHANNELS
from imkd_core.model.center_head import VELOCITY_UNIT_MPS
from imkd_core.model.line_of_sight import FIELD_CHANNELS, LineOfSightCodes, doppler_field
from imkd_core.radar_grid import SPEED_SCALE_MPS

GRID = BevGrid(x_min_m=-4.0, x_max_m=28.0, y_min_m=-4.0, y_max_m=20.0, cell_m=2.0)
TASKS = 3
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


def module_of_constants(share: list[float], vectors: list[float]) -> LineOfSightCodes:
    """Return a module that gives the same shares and ray vectors at every cell."""
    module = LineOfSightCodes(8, TASKS, GRID).eval()
    module.reset_outputs()
    for layer, bias in ((module.share, share), (module.vectors, vectors)):
        torch.nn.init.zeros_(layer.weight)
        with torch.no_grad():
            layer.bias.copy_(torch.tensor(bias))
    return module


def codes_of(module: LineOfSightCodes, field: torch.Tensor) -> torch.Tensor:
    """Return [tasks, code, Y, X] of one made-up map."""
    codes = module(torch.randn(1, 8, ROWS, COLUMNS), field)
    return codes.reshape(TASKS, len(BOX_CODE), ROWS, COLUMNS).detach()


def test_each_task_takes_its_share_of_what_is_measured() -> None:
    # The first task takes all of what is near, the second all of what is wide, the third nothing.
    module = module_of_constants([30.0, -30.0, -30.0, -30.0, 30.0, -30.0], [0.0] * 12)
    field = torch.randn(1, FIELD_CHANNELS, ROWS, COLUMNS)
    codes = codes_of(module, field)
    velocity = codes[:, BOX_CODE.index("vx") :]
    assert torch.allclose(velocity[0], field[0, :2] * VELOCITY_UNIT_MPS, atol=1e-5)
    assert torch.allclose(velocity[1], field[0, 2:] * VELOCITY_UNIT_MPS, atol=1e-5)
    assert velocity[2].abs().max() < 1e-5
    assert codes[:, : BOX_CODE.index("vx")].abs().max() == 0


def test_vectors_along_the_ray_point_away_from_the_car() -> None:
    along_heading, along_speed = [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]
    module = module_of_constants(
        [-30.0] * 6, [*along_heading, *[0.0] * 3, *along_speed, *[0.0] * 3]
    )
    codes = codes_of(module, torch.zeros(1, FIELD_CHANNELS, ROWS, COLUMNS))
    x, y = torch.from_numpy(GRID.centers()).float().unbind(-1)
    azimuth = torch.atan2(y, x)
    first, second = codes[0], codes[1]
    assert torch.allclose(first[BOX_CODE.index("sin_yaw")], azimuth.sin(), atol=1e-5)
    assert torch.allclose(first[BOX_CODE.index("cos_yaw")], azimuth.cos(), atol=1e-5)
    speed = 2.0 * VELOCITY_UNIT_MPS
    assert torch.allclose(second[BOX_CODE.index("vx")], speed * azimuth.cos(), atol=1e-4)
    assert torch.allclose(second[BOX_CODE.index("vy")], speed * azimuth.sin(), atol=1e-4)
    assert codes[2].abs().max() < 1e-5


def test_vectors_across_the_ray_point_to_its_left() -> None:
    module = module_of_constants([-30.0] * 6, [*[0.0] * 3, 1.0, 0.0, 0.0, *[0.0] * 6])
    codes = codes_of(module, torch.zeros(1, FIELD_CHANNELS, ROWS, COLUMNS))[0]
    x, y = torch.from_numpy(GRID.centers()).float().unbind(-1)
    left = torch.atan2(y, x) + math.pi / 2
    assert torch.allclose(codes[BOX_CODE.index("sin_yaw")], left.sin(), atol=1e-5)
    assert torch.allclose(codes[BOX_CODE.index("cos_yaw")], left.cos(), atol=1e-5)


def test_half_of_what_is_near_is_believed_at_the_start() -> None:
    module = LineOfSightCodes(8, TASKS, GRID).eval()
    module.reset_outputs()
    for layer in (module.share, module.vectors):
        torch.nn.init.zeros_(layer.weight)
    field = torch.zeros(1, FIELD_CHANNELS, ROWS, COLUMNS)
    field[:, 0] = 2.0
    vx = codes_of(module, field)[:, BOX_CODE.index("vx")]
    assert torch.allclose(vx, torch.tensor(VELOCITY_UNIT_MPS), atol=1e-5)
