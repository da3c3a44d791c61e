# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.data.changes.bev_change import BevChange, sample_bev_change, warp_map
from imkd_core.geometry import box_corners
from imkd_core.recipe import AugmentConfig
from imkd_core.types import Detections

GRID = BevGrid(x_min_m=-12.0, x_max_m=20.0, y_min_m=-8.0, y_max_m=12.0, cell_m=0.5)
CENTRED = BevGrid(x_min_m=-12.0, x_max_m=12.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)

changes = st.builds(
    BevChange,
    yaw_rad=st.floats(-3, 3),
    scale=st.floats(0.8, 1.2),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
)


def boxes(seed=0, n=5):
    rng = np.random.default_rng(seed)
    return Detections(
        stamp_ns=5,
        class_names=("car",),
        center_m=rng.uniform(-10, 10, (n, 3)).astype(np.float32),
        size_m=rng.uniform(1, 5, (n, 3)).astype(np.float32),
        yaw_rad=rng.uniform(-3, 3, n).astype(np.float32),
        velocity_mps=rng.uniform(-9, 9, (n, 2)).astype(np.float32),
        scores=np.ones(n, np.float32),
        labels=np.zeros(n, np.int64),
    )


@given(changes, st.integers(0, 99))
def test_the_corners_of_changed_boxes_are_the_changed_corners(change, seed):
    before = boxes(seed)
    after = change.apply_to_boxes(before)
    corners = box_corners(before.center_m, before.size_m, before.yaw_rad).reshape(-1, 3)
    expected = change.apply_to_points(corners).reshape(-1, 8, 3)
    found = box_corners(after.center_m, after.size_m, after.yaw_rad)
    distance = np.linalg.norm(expected[:, :, None] - found[:, None], axis=-1)
    assert distance.min(axis=2).max() < 1e-4  # as sets: a mirror renames left and right


@given(changes, st.integers(0, 99))
def test_velocities_are_the_changed_paths_of_the_boxes(change, seed):
    before = boxes(seed)
    later = np.concatenate([before.velocity_mps, np.zeros((5, 1))], axis=1) + before.center_m
    moved = change.apply_to_points(later) - change.apply_to_points(before.center_m)
    np.testing.assert_allclose(change.apply_to_boxes(before).velocity_mps, moved[:, :2], atol=1e-4)


@given(changes, st.integers(0, 99))
def test_radar_keeps_its_radial_speed_and_its_other_columns(change, seed):
    points = np.random.default_rng(seed).uniform(-9, 9, (6, 7)).astype(np.float32)
    after = change.apply_to_radar(points)

    def radial(values):
        ray = values[:, :2] / np.linalg.norm(values[:, :2], axis=1, keepdims=True)
        return (ray * values[:, 4:6]).sum(axis=1)

    np.testing.assert_allclose(radial(after), change.scale * radial(points), atol=1e-4)
    np.testing.assert_array_equal(after[:, [3, 6]], points[:, [3, 6]])


def test_no_change_changes_nothing_at_all():
    before, values = boxes(), np.random.default_rng(0).normal(size=(3, *GRID.shape))
    assert BevChange().is_identity
    assert BevChange().apply_to_boxes(before) is before
    warped = warp_map(values.astype(np.float32), GRID, BevChange())
    np.testing.assert_array_equal(warped, values.astype(np.float32))


def test_an_unknown_velocity_stays_unknown():
    before = boxes()
    unknown = Detections(
        **{
            name: getattr(before, name)
            for name in (
                *("stamp_ns", "class_names", "center_m", "size_m"),
                *("yaw_rad", "scores", "labels"),
            )
        },
        velocity_mps=np.full((5, 2), np.nan, np.float32),
    )
    assert np.isnan(BevChange(yaw_rad=1.0).apply_to_boxes(unknown).velocity_mps).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (BevChange(flip_x=True), lambda m: m[..., ::-1]),
        (BevChange(flip_y=True), lambda m: m[..., ::-1, :]),
        (BevChange(yaw_rad=np.pi), lambda m: m[..., ::-1, ::-1]),
        (BevChange(yaw_rad=np.pi, flip_x=True, flip_y=True), lambda m: m),
    ],
)
def test_flips_and_half_turns_of_a_centred_map_are_exact(change, expected):
    values = np.random.default_rng(0).normal(size=(6, *CENTRED.shape)).astype(np.float32)
    np.testing.assert_array_equal(warp_map(values, CENTRED, change, 9.0), expected(values))


@given(changes, st.floats(-6, 14), st.floats(-4, 8))
def test_a_bump_on_a_map_moves_where_the_point_moves(change, x, y):
    def bump(at):
        return np.exp(-((GRID.centers() - at) ** 2).sum(axis=-1) / (2 * 1.5**2))

    moved = change.apply_to_points(np.array([[x, y, 0.0]]))[0, :2]
    values = np.stack([bump((x, y)), 2 * bump((x, y))]).astype(np.float32)
    warped = warp_map(values, GRID, change)
    row, column = np.rint(GRID.fractional_index(moved)).astype(int)
    if 0 <= row < GRID.rows and 0 <= column < GRID.columns:
        back = np.linalg.inv(change.changed_from_ego[:2, :2]) @ GRID.centers()[row, column]
        expected = np.exp(-((back - (x, y)) ** 2).sum() / (2 * 1.5**2))
        assert warped[0, row, column] == pytest.approx(expected, abs=0.03)
        assert warped[1, row, column] == pytest.approx(2 * warped[0, row, column], rel=1e-5)


def test_a_linear_map_stays_linear_and_uncovered_cells_are_filled():
    values = GRID.centers().transpose(2, 0, 1).astype(np.float32)
    change = BevChange(yaw_rad=0.3, scale=0.9, flip_y=True)
    warped = warp_map(values, GRID, change, fill=-99.0)
    back = GRID.centers() @ np.linalg.inv(change.changed_from_ego[:2, :2]).T
    inner = (np.abs(back - [4, 2]) < [15.5, 9.5]).all(axis=-1)  # a border blends into itself
    np.testing.assert_allclose(warped.transpose(1, 2, 0)[inner], back[inner], atol=0.02)
    outside = (np.abs(back - [4, 2]) > [16.01, 10.01]).any(axis=-1)
    assert outside.any()
    assert (warped[:, outside] == -99).all()


def test_one_map_and_a_stack_of_it_are_warped_alike():
    values = np.random.default_rng(0).normal(size=(9, *GRID.shape)).astype(np.float32)
    change = BevChange(yaw_rad=0.3, scale=1.1)
    stack = warp_map(values, GRID, change)
    for index, layer in enumerate(values):
        np.testing.assert_array_equal(stack[index], warp_map(layer, GRID, change))


def test_draws_stay_in_their_ranges_and_default_to_nothing():
    rng = np.random.default_rng(0)
    augment = AugmentConfig(bev_yaw_deg=20, bev_scale=0.1, flip_x=0.5, flip_y=0.25)
    drawn = [sample_bev_change(rng, augment) for _ in range(400)]
    assert max(abs(c.yaw_rad) for c in drawn) <= np.deg2rad(20)
    assert 0.9 <= min(c.scale for c in drawn) < 0.92
    assert np.mean([c.flip_x for c in drawn]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([c.flip_y for c in drawn]) == pytest.approx(0.25, abs=0.08)
    before = rng.bit_generator.state
    assert sample_bev_change(rng, AugmentConfig()).is_identity
    assert rng.bit_generator.state == before
