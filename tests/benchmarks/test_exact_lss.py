# SPDX-License-Identifier: Apache-2.0
"""The baseline of the look-up table is itself right."""

import numpy as np
import pytest
import torch

from benchmarks.exact_lss import INDEX_ADD, WAYS, ExactLss, point_cells
from tests.core.rigs import ring, spec_of

SPEC = spec_of()


@pytest.fixture(scope="module")
def cameras():
    found = ring(2, 3.0, np.random.default_rng(3))
    return [(camera, camera.ego_from_cam) for camera in found]


def maps(cameras, channels=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    height, width = SPEC.feature_shape
    depth = torch.randn(1, cameras, SPEC.depth.count, height, width, generator=rng)
    return depth, torch.randn(1, cameras, channels, height, width, generator=rng)


def splat(cells, way, depth, context, mask, is_mean=False):
    network = ExactLss(SPEC, cells, way, is_mean)
    nothing = torch.zeros(0)
    return network(depth, context, mask, nothing, nothing, nothing)


def test_every_way_of_adding_up_gives_what_a_loop_gives(cameras):
    cells, (depth, context), mask = point_cells(cameras, SPEC), maps(2), torch.tensor([[1.0, 0.5]])
    distribution = depth.softmax(dim=2)
    expected = np.zeros((SPEC.bev.cells, 3))
    for n, d, h, w in np.argwhere(cells.numpy() < SPEC.bev.cells):
        weight = distribution[0, n, d, h, w] * mask[0, n]
        expected[cells[n, d, h, w]] += (weight * context[0, n, :, h, w]).numpy()
    for way in WAYS:
        bev, _ = splat(cells, way, depth, context, mask)
        np.testing.assert_allclose(bev[0].flatten(1).T.numpy(), expected, atol=1e-4, err_msg=way)


def test_points_stand_where_the_camera_sees_them(cameras):
    """Cells by projection back: each point's cell lies where its pixel and depth say."""
    cells = point_cells(cameras, SPEC).numpy()
    rng = np.random.default_rng(0)
    centers = SPEC.bev.centers().reshape(-1, 2)
    for n, d, h, w in rng.permutation(np.argwhere(cells < SPEC.bev.cells))[:50]:
        camera, ego_from_cam = cameras[n]
        depth_m = SPEC.depth.min_m + (d + 0.5) * SPEC.depth.step_m
        pixel = np.array([16 * w + 7.5, 16 * h + 7.5, 1.0])
        point_cam = np.linalg.solve(camera.pixel_from_cam, pixel) * depth_m
        point = ego_from_cam[:3, :3] @ point_cam + ego_from_cam[:3, 3]
        assert np.abs(centers[cells[n, d, h, w]] - point[:2]).max() <= SPEC.bev.cell_m / 2 + 1e-9
        assert SPEC.z_min_m <= point[2] < SPEC.z_max_m


def test_the_mean_divides_by_the_rays_that_reach_a_cell(cameras):
    cells, (depth, context), mask = point_cells(cameras, SPEC), maps(2), torch.ones(1, 2)
    total, _ = splat(cells, INDEX_ADD, depth, context, mask)
    mean, _ = splat(cells, INDEX_ADD, depth, context, mask, is_mean=True)
    rays = [set() for _ in range(SPEC.bev.cells + 1)]
    for n, d, h, w in np.ndindex(*cells.shape):
        rays[cells[n, d, h, w]].add((n, d, w))
    counts = np.array([max(len(found), 1) for found in rays[:-1]], np.float32)
    np.testing.assert_allclose(
        mean[0].flatten(1).numpy(), total[0].flatten(1).numpy() / counts, rtol=1e-4, atol=1e-6
    )
