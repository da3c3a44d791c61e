# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.errors import ConfigError
from imkd_core.model.intensity import (
    IntensityStatistics,
    LearnedIntensity,
    activation_map,
    gather_evidence,
    intensity_map,
)
from imkd_core.teaching import INTENSITY_VARIANTS, IntensityConfig
from tests.core.model.small_teacher import random_points

GRID = BevGrid(x_min_m=-12.0, x_max_m=12.0, y_min_m=-6.0, y_max_m=6.0, cell_m=0.5)
Y, X = GRID.shape
STATISTICS = IntensityStatistics(
    full_reflectance=100.0, reference_counts=(60.0, 40.0, 30.0, 20.0), normaliser=0.7, sweeps=3
)
CONFIG = IntensityConfig()


def cloud(seed=0, count=800, sweeps=3):
    rng = np.random.default_rng(seed)
    points = np.zeros((count, 5), np.float32)
    blobs = rng.uniform((-9, -4), (9, 4), (6, 2))
    points[:, :2] = blobs[rng.integers(6, size=count)] + rng.normal(0, 0.6, (count, 2))
    points[:, 3] = rng.uniform(5, 120, count)
    points[:, 4] = rng.integers(0, sweeps, count) * np.float32(0.05)
    return points


def intensity(points, config=CONFIG, statistics=STATISTICS, features=None, gate=None):
    full = config.full_reflectance or statistics.full_reflectance
    evidence = gather_evidence(points, GRID, full)
    if features is None:
        features = torch.zeros(3, Y, X)
    return intensity_map(config, statistics, GRID, evidence, features, gate)


@pytest.mark.parametrize("variant", INTENSITY_VARIANTS)
@settings(max_examples=10)
@given(seed=st.integers(0, 50))
def test_every_variant_lies_between_its_minimum_and_1(variant, seed):
    rng = torch.Generator().manual_seed(seed)
    result = intensity(
        cloud(seed),
        replace(CONFIG, variant=variant),
        features=torch.rand(3, Y, X, generator=rng).requires_grad_(),
        gate=torch.rand(1, Y, X, generator=rng).requires_grad_(),
    )
    assert result.shape == (Y, X)
    assert result.dtype == np.float32  # numpy: no gradient can be in it
    assert result.min() >= np.float32(CONFIG.minimum)
    assert result.max() <= 1


@pytest.mark.parametrize("variant", ["analytic", "literal"])
def test_empty_space_holds_the_minimum(variant):
    points = cloud()
    config = replace(CONFIG, variant=variant)
    result = intensity(points, config)
    count = gather_evidence(points, GRID, 100.0).count
    near = np.zeros_like(count)
    rows, columns = np.nonzero(count)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            near[np.clip(rows + i, 0, Y - 1), np.clip(columns + j, 0, X - 1)] = 1
    assert 0.2 < near.mean() < 0.9
    np.testing.assert_allclose(result[near == 0], CONFIG.minimum)
    none = intensity(np.zeros((0, 5), np.float32), config)
    np.testing.assert_allclose(none, CONFIG.minimum)


def at_one_cell(count, reflectance, config=CONFIG):
    points = np.zeros((count, 5), np.float32)
    points[:, :3] = (3.1, -2.1, 0.5)
    points[:, 3] = reflectance
    row, column = GRID.cell_index([3.1, -2.1])[0]
    return intensity(points, config)[row, column]


def test_it_rises_with_returns_at_fixed_reflectance():
    values = [at_one_cell(count, 30.0) for count in (1, 2, 5, 10, 25)]
    assert (np.diff(values) > 0).all()


def test_it_rises_with_reflectance_at_fixed_returns_up_to_the_full_one():
    values = [at_one_cell(5, reflectance) for reflectance in (2, 10, 40, 99)]
    assert (np.diff(values) > 0).all()
    assert at_one_cell(5, 100) == pytest.approx(at_one_cell(5, 255))


def test_a_return_in_every_sweep_counts_more_than_all_in_one():
    steady, flash = cloud(), cloud()
    flash[:, 4] = 0
    clutter = np.zeros((1, 5), np.float32)  # makes the number of sweeps the same
    clutter[0, 4] = 0.1
    steady_map = intensity(np.concatenate([steady, clutter]))
    assert steady_map.sum() > intensity(np.concatenate([flash, clutter])).sum()


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("variant", ["analytic", "literal"])
def test_a_flipped_cloud_gives_the_flipped_map(signs, variant):
    points = cloud()
    config = replace(CONFIG, variant=variant)
    flipped = points * np.array([*signs, 1, 1, 1], np.float32)
    expected = intensity(points, config)[:: signs[1], :: signs[0]]
    np.testing.assert_allclose(intensity(flipped, config), expected, atol=1e-5)


def test_a_turned_cloud_gives_the_turned_map_up_to_resampling():
    points = cloud(count=6000)
    angle = 0.3
    turned = points.copy()
    turned[:, 0] = np.cos(angle) * points[:, 0] - np.sin(angle) * points[:, 1]
    turned[:, 1] = np.sin(angle) * points[:, 0] + np.cos(angle) * points[:, 1]
    before, after = intensity(points), intensity(turned)
    xy = GRID.centers()
    source = np.stack(
        [
            np.cos(angle) * xy[..., 0] + np.sin(angle) * xy[..., 1],
            -np.sin(angle) * xy[..., 0] + np.cos(angle) * xy[..., 1],
        ],
        axis=-1,
    )
    cells, inside = GRID.cell_index(source)
    expected = before[cells[inside][:, 0], cells[inside][:, 1]]
    assert np.corrcoef(expected, after[inside])[0, 1] > 0.9
    assert after[inside].mean() == pytest.approx(expected.mean(), rel=0.1)


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.25, 2.0])
def test_another_reflectance_scale_changes_nothing_once_it_is_measured(gain):
    points = cloud()
    scaled = points.copy()
    scaled[:, 3] *= gain
    measured = replace(STATISTICS, full_reflectance=STATISTICS.full_reflectance * gain)
    plain, other = intensity(points), intensity(scaled, statistics=measured)
    assert (np.abs(other - plain) <= 0.1 * plain).all()


def test_returns_far_away_weigh_as_much_as_many_nearby():
    near = np.zeros((60, 5), np.float32)
    near[:, :2] = (0.6, 0.6)
    far = np.zeros((20, 5), np.float32)
    far[:, :2] = (8.6, 0.6)
    only_density = replace(CONFIG, reflectance=0.0, density=1.0, consistency=0.0)
    first = intensity(near, only_density).max()
    assert intensity(far, only_density).max() == pytest.approx(first, rel=0.15)


def test_the_pyramid_averages_occupied_cells_only():
    points = np.zeros((5, 5), np.float32)
    points[:4, :2] = (0.02, 0.02)  # four dark returns in one fine column
    points[4, :2] = (0.48, 0.48)  # one bright return in another one of the same cell
    points[:, 3] = [0, 0, 0, 0, 100]
    row, column = GRID.cell_index([0.1, 0.1])[0]
    reflectance = gather_evidence(points, GRID, 100.0).reflectance
    assert reflectance[row, column] == pytest.approx(0.5)
    assert np.count_nonzero(reflectance) == 1


def test_points_off_the_grid_do_not_count():
    points = cloud()
    beyond = points.copy()
    beyond[:, 0] += 100
    np.testing.assert_array_equal(intensity(np.concatenate([points, beyond])), intensity(points))


def test_activation_is_largest_where_features_are_and_knows_no_scale():
    features = torch.zeros(3, Y, X)
    features[:, 4, 9] = 2.0
    features[:, 5, 3] = 1.0
    result = activation_map(features)
    assert result[4, 9] == 1
    assert result[4, 9] > result[5, 3] > result[0, 0] > 0
    np.testing.assert_allclose(activation_map(features * 7), result, rtol=1e-4)


def test_uniform_is_1_everywhere():
    assert (intensity(cloud(), replace(CONFIG, variant="uniform")) == 1).all()


def test_the_learned_gate_is_taken_as_it_is_and_refused_where_there_is_none():
    config = replace(CONFIG, variant="learned")
    gate = torch.full((1, Y, X), 0.3)
    np.testing.assert_allclose(intensity(cloud(), config, gate=gate), 0.3)
    with pytest.raises(ConfigError, match=r"train the teacher with intensity\.variant: learned"):
        intensity(cloud(), config)


@pytest.mark.parametrize("refinement", [1, 2, 3, 4])
def test_the_learned_gate_lies_on_the_bev_grid_and_learns(refinement):
    from tests.core.model.small import GRID as SMALL

    gate = LearnedIntensity(SMALL, refinement).train()
    result = gate(*random_points())
    assert result.shape == (2, 1, *SMALL.shape)
    assert 0 < result.min() <= result.max() < 1
    (result * torch.rand_like(result)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in gate.parameters())


@pytest.mark.parametrize(
    "broken",
    [
        {"full_reflectance": 0.0},
        {"normaliser": 0.0},
        {"reference_counts": ()},
        {"reference_counts": (0.5,)},
        {"sweeps": 0},
    ],
)
def test_statistics_that_nothing_can_be_divided_by_are_refused(broken):
    with pytest.raises(ConfigError, match="intensity statistics"):
        replace(STATISTICS, **broken)
