# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.model.pillar_encoder import PillarEncoder, pillar_of
from imkd_core.teaching import TeacherConfig
from tests.core.model.small import GRID
from tests.core.model.small_teacher import random_points

Y, X = GRID.shape


def encoder(refinement=2, seed=0):
    torch.manual_seed(seed)
    config = TeacherConfig(pillar_channels=6, channels=8, pillar_refinement=refinement)
    return PillarEncoder(GRID, config).eval()


@given(seed=st.integers(0, 30), refinement=st.integers(1, 4))
def test_pillars_are_the_cells_of_the_refined_grid(seed, refinement):
    points, mask = random_points(seed=seed)
    pillars = GRID.refined(refinement)
    place, offset = pillar_of(points, mask, pillars)
    cells, inside = pillars.cell_index(points[mask][:, :2].numpy())
    assert inside.all()
    sample = mask.nonzero()[:, 0].numpy()
    expected = (sample * pillars.rows + cells[:, 0]) * pillars.columns + cells[:, 1]
    assert (place.numpy() == expected).mean() > 0.99  # float32 may round across a border
    assert offset.abs().max() <= 0.501


@pytest.mark.parametrize("refinement", [1, 2, 3, 4, 8])
def test_features_lie_on_the_bev_grid_and_are_not_negative(refinement):
    features = encoder(refinement)(*random_points())
    assert features.shape == (2, 8, Y, X)
    assert features.min() >= 0
    assert features.max() > 0


@settings(max_examples=10)
@given(seed=st.integers(0, 50))
def test_neither_the_order_of_points_nor_what_is_masked_matters(seed):
    points, mask = random_points(batch=1, seed=seed)
    mask[0, 150:] = False
    order = torch.randperm(150, generator=torch.Generator().manual_seed(seed))
    other = torch.full_like(points, 7.0)
    other[0, :150] = points[0, order]
    with torch.no_grad():
        net = encoder()
        torch.testing.assert_close(net(points, mask), net(other, mask))


def test_a_point_is_seen_at_its_own_place_alone():
    points, mask = random_points(batch=1, count=1)
    points[0, 0, :2] = torch.tensor([GRID.x_max_m - 4.1, GRID.y_min_m + 2.1])  # not on a diagonal
    net = encoder()
    with torch.no_grad():
        changed = (net(points, mask) != net(points, ~mask)).any(dim=1)[0].nonzero()
    row, column = GRID.cell_index(points[0, 0, :2].numpy())[0]
    assert len(changed) > 0
    assert (changed - torch.tensor([row, column])).abs().max() <= 3


def test_samples_of_a_batch_do_not_touch_each_other():
    points, mask = random_points()
    net = encoder()
    with torch.no_grad():
        together = net(points, mask)
        for index in range(2):
            alone = net(points[index : index + 1], mask[index : index + 1])[0]
            torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-5)


def test_a_cloud_without_points_is_finite_and_trains():
    points, mask = random_points()
    net = encoder().train()
    features = net(points, torch.zeros_like(mask))
    features.sum().backward()
    assert torch.isfinite(features).all()


def test_the_gradient_reaches_every_parameter():
    net = encoder().train()
    features = net(*random_points())
    (features * torch.rand_like(features)).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
