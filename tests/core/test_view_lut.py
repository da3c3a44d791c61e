# SPDX-License-Identifier: Apache-2.0
"""The look-up table against exact lift-splat, point by point, on made-up tilted rigs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins
from imkd_core.imaging import fit_window
from imkd_core.types import CameraModel
from imkd_core.view_lut import REFERENCE_HEIGHT_M, ViewGeometry, build_view_geometry
from tests.core.rigs import camera_of, ring, spec_of

seeds = st.integers(0, 10_000)
SPEC = spec_of()


def build(cameras: list[CameraModel], spec=SPEC) -> ViewGeometry:
    return build_view_geometry([(camera, camera.ego_from_cam) for camera in cameras], spec)


def gather(geometry: ViewGeometry, rows: np.ndarray, spec=SPEC) -> np.ndarray:
    """The network's operator: (N, Wf, D) -> (Y, X)."""
    values = rows.reshape(-1)[geometry.lut_index]
    return (values * geometry.lut_weight).sum(axis=1).reshape(spec.bev.shape)


def frustum(camera: CameraModel, spec=SPEC) -> np.ndarray:
    """Oracle: the (D, Hf, Wf, 3) ego positions of bin centres and feature-cell centres.

    The cameras' images have the size of the network's input, so no image window comes in.
    """
    height, width = spec.feature_shape
    depth = np.arange(spec.depth.min_m + spec.depth.step_m / 2, spec.depth.max_m, spec.depth.step_m)
    d, v, u = np.meshgrid(depth, np.arange(height), np.arange(width), indexing="ij")
    pixels = np.stack([16 * u + 7.5, 16 * v + 7.5, np.ones_like(d)], axis=-1)
    points_cam = (pixels @ np.linalg.inv(camera.pixel_from_cam).T) * d[..., None]
    return points_cam @ camera.ego_from_cam[:3, :3].T + camera.ego_from_cam[:3, 3]


def in_view(camera: CameraModel, xy: np.ndarray, spec=SPEC) -> np.ndarray:
    """Oracle: which (..., 2) positions at the reference height lie in a field of view."""
    points = np.concatenate([xy, np.full((*xy.shape[:-1], 1), REFERENCE_HEIGHT_M)], axis=-1)
    ego_from_cam = camera.ego_from_cam
    points_cam = (points - ego_from_cam[:3, 3]) @ ego_from_cam[:3, :3]
    homogeneous = points_cam @ camera.pixel_from_cam.T
    depth = points_cam[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = homogeneous[..., 0] / depth
    in_depth = (depth >= spec.depth.min_m) & (depth < spec.depth.max_m)
    return in_depth & (u >= -0.5) & (u < spec.image_width_px - 0.5)


@given(seeds, st.integers(1, 5))
@settings(max_examples=25)
def test_a_point_of_depth_raises_the_cell_that_exact_lift_splat_puts_it_in(seed, count):
    rng = np.random.default_rng(seed)
    cameras = ring(count, 3.0, rng)
    geometry = build(cameras)
    number = int(rng.integers(count))
    points = frustum(cameras[number])
    cells, inside = SPEC.bev.cell_index(points[..., :2])
    z = points[..., 2]
    is_usual = inside & (z > 0.0) & (z < 1.5)  # where objects are
    is_usual[: int((6.0 - SPEC.depth.min_m) / SPEC.depth.step_m)] = False  # K taps are too few
    candidates = np.argwhere(is_usual)
    for d, h, w in candidates[rng.permutation(len(candidates))[:20]]:
        rows = np.zeros((count, SPEC.feature_shape[1], SPEC.depth.count))
        rows[number, w, d] = geometry.frustum_mask[number, d, h, w]
        bev = gather(geometry, rows)
        row, column = cells[d, h, w]
        around = bev[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        assert around.max() > 0


@given(seeds)
@settings(max_examples=15)
def test_positions_read_through_the_table_are_those_of_the_cells(seed):
    """No half column and no half bin is lost: positions themselves are carried over.

    Each row (w, d) is given the position where its column crosses the reference height.
    """
    rng = np.random.default_rng(seed)
    spec = spec_of(lut_taps=32)
    camera = ring(1, 3.0, rng)[0]
    geometry = build([camera], spec)
    top, bottom = frustum(camera, spec)[:, 0], frustum(camera, spec)[:, -1]  # (D, Wf, 3)
    share = (REFERENCE_HEIGHT_M - top[..., 2]) / (bottom[..., 2] - top[..., 2])
    crossing = top + share[..., None] * (bottom - top)
    centers = spec.bev.centers()
    margin = np.stack(np.meshgrid(*[[-2.0, 0.0, 2.0]] * 2), axis=-1).reshape(-1, 2)
    is_inner = in_view(camera, centers[:, :, None] + margin, spec).all(axis=-1)
    range_m = np.linalg.norm(centers - camera.ego_from_cam[:2, 3], axis=-1)
    is_inner &= range_m > 6
    if not is_inner.any():
        return
    error = np.stack(
        [gather(geometry, crossing[..., axis].T, spec) - centers[..., axis] for axis in (0, 1)],
        axis=-1,
    )[is_inner]
    assert np.abs(error).max() < 0.25
    assert np.abs(np.median(error, axis=0)).max() < 0.03


@given(seeds, st.integers(1, 5))
@settings(max_examples=15)
def test_the_cells_seen_are_those_in_a_field_of_view(seed, count):
    cameras = ring(count, 3.0, np.random.default_rng(seed))
    is_seen = build(cameras).lut_weight.sum(axis=1).reshape(SPEC.bev.shape) > 0
    offsets = np.linspace(-0.4, 0.4, 9)
    inner, all_over = (
        np.stack(np.meshgrid(values, values), axis=-1).reshape(-1, 2)
        for values in (offsets[[3, 5]] * 2, offsets)  # the sub-samples; anywhere in the cell
    )
    centers = SPEC.bev.centers()[:, :, None]
    must = np.any([in_view(camera, centers + inner).any(axis=-1) for camera in cameras], axis=0)
    may = np.any([in_view(camera, centers + all_over).any(axis=-1) for camera in cameras], axis=0)
    assert not (is_seen & ~may).any()
    assert (must & ~is_seen).sum() <= 0.002 * must.size  # a sample on the very border


@given(seeds, st.integers(1, 5), st.data())
@settings(max_examples=25)
def test_masks_renormalise_over_the_live_cameras(seed, count, data):
    cameras = ring(count, 3.0, np.random.default_rng(seed))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.float32)
    geometry = build(cameras)
    index, weight = geometry.masked(mask)
    camera = index // (SPEC.feature_shape[1] * SPEC.depth.count)
    assert (mask[camera[weight > 0]] == 1).all()
    assert (index[weight == 0] == 0).all()
    has_live_tap = ((geometry.lut_weight > 0) & (mask[geometry.tap_camera] > 0)).any(axis=1)
    np.testing.assert_allclose(weight.sum(axis=1), has_live_tap, atol=1e-5)
    alone = [build([camera]).lut_weight.any(axis=1) for camera in cameras]
    is_seen = np.any([seen for seen, live in zip(alone, mask, strict=True) if live] or [False], 0)
    np.testing.assert_array_equal(weight.any(axis=1), np.broadcast_to(is_seen, len(weight)))


@given(seeds, st.permutations(range(4)))
@settings(max_examples=15)
def test_permuting_cameras_permutes_rows(seed, order):
    cameras = ring(4, 3.0, np.random.default_rng(seed))
    size = SPEC.feature_shape[1] * SPEC.depth.count

    def dense(geometry):
        full = np.zeros((SPEC.bev.cells, 4 * size), np.float32)
        np.add.at(
            full, (np.arange(SPEC.bev.cells)[:, None], geometry.lut_index), geometry.lut_weight
        )
        return full.reshape(-1, 4, size)

    before, after = build(cameras), build([cameras[i] for i in order])
    np.testing.assert_allclose(dense(after), dense(before)[:, list(order)], atol=1e-6)
    np.testing.assert_array_equal(after.frustum_mask, before.frustum_mask[list(order)])
    np.testing.assert_array_equal(after.camera_params, before.camera_params[list(order)])


@given(seeds)
@settings(max_examples=15)
def test_the_frustum_mask_is_that_of_the_exact_points(seed):
    spec = spec_of(z_min_m=-0.5, z_max_m=2.0)
    camera = ring(1, 8.0, np.random.default_rng(seed))[0]
    z = frustum(camera, spec)[..., 2]
    mask = build([camera], spec).frustum_mask[0]
    is_clear = (np.abs(z + 0.5) > 1e-6) & (np.abs(z - 2.0) > 1e-6)
    np.testing.assert_array_equal(mask[is_clear], ((z >= -0.5) & (z <= 2.0))[is_clear])
    assert 0 < mask.mean() < 1


def test_rows_are_in_range_and_weights_are_shares():
    geometry = build(ring(6, 1.0, np.random.default_rng(3)))
    assert geometry.lut_index.dtype == np.int32
    assert geometry.lut_weight.dtype == np.float32
    assert geometry.lut_index.min() >= 0
    assert geometry.lut_index.max() < 6 * SPEC.feature_shape[1] * SPEC.depth.count
    total = geometry.lut_weight.sum(axis=1)
    assert set(np.round(total, 5)) == {np.float32(0), np.float32(1)}
    for row, weight in zip(geometry.lut_index, geometry.lut_weight, strict=True):
        used = row[weight > 0]
        assert len(set(used.tolist())) == len(used)  # equal rows are merged


def test_the_same_rig_gives_the_same_table():
    first, second = (build(ring(4, 2.0, np.random.default_rng(5))) for _ in range(2))
    np.testing.assert_array_equal(first.lut_index, second.lut_index)
    np.testing.assert_array_equal(first.lut_weight, second.lut_weight)


def test_camera_params_are_those_of_the_network_image():
    camera = camera_of(size_px=(320, 128), focal_px=220.0)  # twice the network image
    params = build([camera]).camera_params[0]
    np.testing.assert_allclose(params[:2], [110 / 160, 110 / 64], rtol=1e-6)
    half = (np.array([157.0, 56.0]) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(params[2:4], half / [160, 64], rtol=1e-6)
    np.testing.assert_allclose(params[4:], camera.ego_from_cam[:3].ravel(), rtol=1e-6)


def test_the_effective_pose_counts_and_not_the_calibrated_one():
    camera = camera_of()
    moved = camera.ego_from_cam.copy()
    moved[0, 3] += 4.0  # five cells forward
    at_rest = build_view_geometry([(camera, camera.ego_from_cam)], SPEC)
    driven = build_view_geometry([(camera, moved)], SPEC)
    shape = (*SPEC.bev.shape, SPEC.lut_taps)
    before, after = (g.lut_weight.reshape(shape) for g in (at_rest, driven))
    np.testing.assert_allclose(after[:, 15:], before[:, 10:-5], atol=1e-3)


def test_a_scaled_image_gives_the_same_table():
    small, large = camera_of(), camera_of(size_px=(480, 192), focal_px=330.0)
    k = large.pixel_from_cam.copy()
    k[:2, 2] = (small.pixel_from_cam[:2, 2] + 0.5) * 3 - 0.5
    large = CameraModel(
        width_px=480, height_px=192, pixel_from_cam=k, ego_from_cam=small.ego_from_cam
    )
    np.testing.assert_allclose(build([large]).lut_weight, build([small]).lut_weight, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_no_camera_and_no_visible_cell_give_an_empty_table(count):
    looking_away = camera_of(position=(100.0, 0.0, 1.5))
    geometry = build([looking_away] * count)
    assert not geometry.lut_weight.any()
    assert not geometry.lut_index.any()
    assert geometry.frustum_mask.shape == (count, SPEC.depth.count, *SPEC.feature_shape)
    assert geometry.camera_params.shape == (count, 16)


def test_more_cameras_than_taps_still_give_shares():
    spec = spec_of(lut_taps=4)
    geometry = build([camera_of(roll=0.01 * i) for i in range(6)], spec)
    seen = geometry.lut_weight.any(axis=1)
    np.testing.assert_allclose(geometry.lut_weight[seen].sum(axis=1), 1, atol=1e-5)


def test_coarse_cells_and_fine_bins_work_too():
    spec = spec_of(
        bev=BevGrid(x_min_m=0.0, x_max_m=32.0, y_min_m=-32.0, y_max_m=32.0, cell_m=4.0),
        depth=DepthBins(min_m=0.5, max_m=30.5, step_m=0.25),
        lut_taps=8,
    )
    geometry = build([camera_of()], spec)
    assert geometry.lut_weight.any(axis=1).mean() > 0.2


class TestChangedViews:
    """Images zoomed, turned or mirrored, and scenes turned, scaled or mirrored."""

    @given(seeds, st.booleans(), st.booleans())
    @settings(max_examples=15)
    def test_a_moved_cell_reads_what_the_cell_read_before(self, seed, flip_x, flip_y):
        grid = BevGrid(x_min_m=-16.0, x_max_m=16.0, y_min_m=-12.8, y_max_m=12.8, cell_m=0.8)
        spec = spec_of(bev=grid)
        camera = ring(1, 3.0, np.random.default_rng(seed))[0]
        before = build([camera], spec)
        changed_from_ego = np.diag([-1.0 if flip_x else 1, -1.0 if flip_y else 1, 1, 1])
        after = build_view_geometry(
            [(camera, camera.ego_from_cam)], spec, changed_from_ego=changed_from_ego
        )
        rng = np.random.default_rng(seed)
        rows = rng.uniform(0, 1, (1, spec.feature_shape[1], spec.depth.count))
        expected = gather(before, rows, spec)
        expected = expected[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        np.testing.assert_allclose(gather(after, rows, spec), expected, atol=1e-4)
        np.testing.assert_array_equal(after.frustum_mask, before.frustum_mask)

    @given(seeds, st.floats(-3, 3), st.floats(0.85, 1.2), st.booleans())
    @settings(max_examples=15)
    def test_positions_read_through_the_table_are_the_changed_ones(self, seed, yaw, scale, flip):
        rng = np.random.default_rng(seed)
        spec = spec_of(lut_taps=32)
        camera = ring(1, 0.0, rng)[0]
        cos, sin = scale * np.cos(yaw), scale * np.sin(yaw)
        changed_from_ego = np.diag([1.0, -1.0 if flip else 1, 1, 1]) @ np.array(
            [[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, scale, 0], [0, 0, 0, 1]]
        )
        geometry = build_view_geometry(
            [(camera, camera.ego_from_cam)], spec, changed_from_ego=changed_from_ego
        )
        points = frustum(camera, spec)[:, 0]  # a level camera: all rows of a column lie alike
        moved = points @ changed_from_ego[:3, :3].T
        centers = spec.bev.centers()
        back = np.concatenate([centers, np.zeros((*centers.shape[:2], 1))], axis=-1)
        back = back @ np.linalg.inv(changed_from_ego)[:3, :3].T
        margin = np.stack(np.meshgrid(*[[-2.0, 0.0, 2.0]] * 2), axis=-1).reshape(-1, 2)
        is_inner = in_view(camera, back[:, :, None, :2] + margin, spec).all(axis=-1)
        range_m = np.linalg.norm(back[..., :2] - camera.ego_from_cam[:2, 3], axis=-1)
        is_inner &= range_m > 6
        if is_inner.any():
            read = [gather(geometry, moved[..., axis].T, spec) for axis in (0, 1)]
            error = (np.stack(read, axis=-1) - centers)[is_inner]
            assert np.abs(error).max() < 0.3
            assert np.abs(np.median(error, axis=0)).max() < 0.04

    @given(seeds, st.floats(0.8, 1.3), st.floats(-20, 20), st.booleans())
    @settings(max_examples=15)
    def test_a_changed_image_is_read_as_a_camera_with_that_projection(
        self, seed, zoom, offset, flip
    ):
        camera = ring(1, 3.0, np.random.default_rng(seed))[0]
        changed_from_network = np.array(
            [[-zoom if flip else zoom, 0, offset + 80], [0, zoom, 1], [0, 0, 1.0]]
        )
        k = changed_from_network @ camera.pixel_from_cam
        geometry = build_view_geometry([(camera, camera.ego_from_cam)], SPEC, [k])
        read = gather(geometry, np.ones((1, SPEC.feature_shape[1], SPEC.depth.count)))
        points = np.concatenate(
            [SPEC.bev.centers(), np.full((*SPEC.bev.shape, 1), REFERENCE_HEIGHT_M)], axis=-1
        )
        points_cam = (points - camera.ego_from_cam[:3, 3]) @ camera.ego_from_cam[:3, :3]
        depth = points_cam[..., 2]
        u = (points_cam @ k.T)[..., 0] / np.where(depth > 0, depth, np.nan)
        inner = (depth > SPEC.depth.min_m + 1) & (depth < SPEC.depth.max_m - 1)
        inner &= (u > 4) & (u < SPEC.image_width_px - 5)
        outer = (u < -30) | (u > SPEC.image_width_px + 30)  # where a cell is under 30 px wide
        outer = (outer & (depth > 6)) | (depth < SPEC.depth.min_m - 1)
        assert (read[inner] > 0).all()
        assert (read[outer] == 0).all()

    def test_a_mirrored_image_gives_the_mirrored_columns(self):
        camera = camera_of(0.3)
        mirror = np.array([[-1.0, 0, SPEC.image_width_px - 1], [0, 1, 0], [0, 0, 1]])
        pose = camera.ego_from_cam
        before = build([camera])
        after = build_view_geometry([(camera, pose)], SPEC, [mirror @ camera.pixel_from_cam])
        rows = np.random.default_rng(0).uniform(0, 1, (1, SPEC.feature_shape[1], SPEC.depth.count))
        np.testing.assert_allclose(gather(after, rows[:, ::-1]), gather(before, rows), atol=1e-5)
        np.testing.assert_array_equal(after.frustum_mask, before.frustum_mask[..., ::-1])

    def test_parameters_of_a_doubly_mirrored_world_are_those_of_a_real_camera(self):
        """A mirrored image of a mirrored scene is what a camera on the other side would see."""
        camera = camera_of(0.3, position=(1.5, 0.4, 1.5))
        mirror = np.array([[-1.0, 0, SPEC.image_width_px - 1], [0, 1, 0], [0, 0, 1]])
        after = build_view_geometry(
            [(camera, camera.ego_from_cam)],
            SPEC,
            [mirror @ camera.pixel_from_cam],
            np.diag([1.0, -1, 1, 1]),
        )
        other = camera_of(-0.3, position=(1.5, -0.4, 1.5))
        k = other.pixel_from_cam.copy()
        k[0, 2] = SPEC.image_width_px - 1 - k[0, 2]
        expected = build_view_geometry([(other, other.ego_from_cam)], SPEC, [k])
        np.testing.assert_allclose(after.camera_params, expected.camera_params, atol=1e-5)
        np.testing.assert_allclose(after.lut_weight, expected.lut_weight, atol=1e-4)

    def test_no_change_is_the_vehicles_geometry_bit_by_bit(self):
        cameras = ring(3, 3.0, np.random.default_rng(0))
        poses = [(camera, camera.ego_from_cam) for camera in cameras]
        before = build_view_geometry(poses, SPEC)
        windows = [fit_window(camera, SPEC).pixel_from_cam for camera in cameras]
        after = build_view_geometry(poses, SPEC, windows)
        for name in ("lut_index", "lut_weight", "frustum_mask", "camera_params", "tap_camera"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
