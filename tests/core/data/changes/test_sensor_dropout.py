# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.changes.sensor_dropout import (
    RadarChange,
    RadarReturns,
    camera_sides,
    collect_returns,
    disturbed_points,
    live_mask,
    sample_radar_change,
)
from imkd_core.geometry import rigid_transform
from imkd_core.radar_grid import merge_radars, radar_statistics
from imkd_core.recipe import AugmentConfig
from imkd_core.types import Frame, SensorRig
from tests.core.rigs import STAMP_NS, camera_of, cloud_of, rotation

GRID = BevGrid(x_min_m=-16.0, x_max_m=16.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)
POSES = {
    "a": rigid_transform(rotation(0.3, 0, 0), (3.0, 0.5, 0.5)),
    "b": rigid_transform(rotation(-2.0, 0, 0), (-1.0, -0.5, 0.5)),
}


def frame(scans=3, returns=20, seed=0):
    rng = np.random.default_rng(seed)
    stamps = [STAMP_NS - 70_000_000 * number for number in range(scans)]
    return Frame(
        stamp_ns=STAMP_NS,
        cameras={},
        radars={
            name: tuple(cloud_of(name, rng.uniform(-6, 6, (returns, 7)), stamp) for stamp in stamps)
            for name in POSES
        },
        reference_from_ego={
            stamp: rigid_transform(np.eye(3), (-0.5 * number, 0, 0))
            for number, stamp in enumerate(stamps)
        },
    )


def live_scans(change, scans=3, sweeps=3):
    returns = collect_returns(frame(scans), POSES)
    live = live_mask(returns, change, sweeps)
    return sorted(set(returns.scan[live].tolist()))


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_without_a_change_the_returns_are_those_of_the_vehicle(sweeps):
    returns = collect_returns(frame(), POSES)
    live = live_mask(returns, RadarChange(), sweeps)
    points = disturbed_points(returns.select(live), RadarChange(), GRID)
    expected = merge_radars(frame(), POSES, sweeps)
    np.testing.assert_array_equal(points, expected)


def test_returns_know_where_their_radar_was():
    returns = collect_returns(frame(), POSES)
    newest = returns.scan == 0
    np.testing.assert_allclose(returns.origin_m[newest][0], (3.0, 0.5))
    np.testing.assert_allclose(returns.origin_m[~newest & (returns.scan == 2)][0], (2.0, 0.5))


def test_dropped_radars_and_rigs_without_radars_leave_nothing():
    returns = collect_returns(frame(), POSES)
    assert live_mask(returns, RadarChange(drop=True), 3) is None
    empty = collect_returns(Frame(stamp_ns=STAMP_NS, cameras={}, radars={}), POSES)
    assert live_mask(empty, RadarChange(), 3) is None
    assert empty.points.shape == (0, 7)


def test_an_empty_scan_is_a_radar_that_sees_nothing():
    returns = collect_returns(frame(returns=0), POSES)
    live = live_mask(returns, RadarChange(clutter=0.5, noise_m=1.0, drop_points=0.1), 3)
    assert live.shape == (0,)
    change = RadarChange(clutter=0.5, noise_m=1.0)
    assert disturbed_points(returns.select(live), change, GRID).shape == (0, 7)


def test_a_stale_radar_shows_older_scans_as_far_as_there_are_any():
    assert live_scans(RadarChange(missing_scans=1), scans=4) == [1, 2, 3]
    assert live_scans(RadarChange(missing_scans=2), scans=3) == [2]
    assert live_scans(RadarChange(missing_scans=2), scans=1) == [0]


def test_dropped_sweeps_are_counted_behind_the_missing_ones():
    assert live_scans(RadarChange(dropped_sweeps=(0, 2))) == [1]
    assert live_scans(RadarChange(dropped_sweeps=(0,), missing_scans=1), scans=4) == [2, 3]
    assert live_scans(RadarChange(dropped_sweeps=(0,)), scans=1) == [0]  # one always remains


def test_points_are_dropped_by_their_share():
    returns = collect_returns(frame(returns=400), POSES)
    live = live_mask(returns, RadarChange(drop_points=0.25, seed=3), 3)
    assert live.mean() == pytest.approx(0.75, abs=0.05)


def test_noise_moves_positions_and_cross_sections_alone():
    returns = collect_returns(frame(returns=400), POSES)
    points = disturbed_points(returns, RadarChange(noise_m=0.5, seed=1), GRID)
    moved = points - returns.points
    np.testing.assert_array_equal(moved[:, [2, 4, 5, 6]], 0)
    np.testing.assert_allclose(moved[:, [0, 1, 3]].std(axis=0), [0.5, 0.5, 1.0], rtol=0.1)


def test_false_returns_lie_on_the_grid_and_move_along_their_ray():
    returns = collect_returns(frame(), POSES)
    points = disturbed_points(returns, RadarChange(clutter=0.5, seed=1), GRID)
    count = len(returns.points)
    np.testing.assert_array_equal(points[:count], returns.points)
    false = points[count:]
    assert len(false) == round(0.5 * count)
    assert GRID.cell_index(false[:, :2])[1].all()
    cross = false[:, 0] * false[:, 5] - false[:, 1] * false[:, 4]
    np.testing.assert_allclose(cross, 0, atol=1e-3)


@given(st.integers(0, 50), st.booleans(), st.booleans())
def test_the_radar_grid_of_a_flipped_scene_is_the_flipped_grid(seed, flip_x, flip_y):
    returns = collect_returns(frame(seed=seed), POSES)
    change = BevChange(flip_x=flip_x, flip_y=flip_y)
    before = radar_statistics(returns.points, GRID)
    after = radar_statistics(returns.changed(change).points, GRID)
    signs = np.ones((12, 1, 1))
    signs[[3, 9]] *= -1 if flip_x else 1  # vx, x offset
    signs[[4, 10]] *= -1 if flip_y else 1
    expected = before[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1] * signs
    np.testing.assert_allclose(after, expected, atol=1e-4)


@given(st.integers(0, 50), st.floats(-3, 3), st.floats(0.8, 1.2))
def test_radial_speeds_seen_from_the_radar_scale_with_the_scene(seed, yaw, scale):
    returns = collect_returns(frame(seed=seed), POSES)
    after = returns.changed(BevChange(yaw_rad=yaw, scale=scale, flip_y=True))

    def radial(values: RadarReturns):
        sight = values.points[:, :2] - values.origin_m
        sight /= np.linalg.norm(sight, axis=1, keepdims=True)
        return (sight * values.points[:, 4:6]).sum(axis=1)

    np.testing.assert_allclose(radial(after), scale * radial(returns), atol=1e-3)


def test_sides_are_the_cameras_that_look_there():
    headings = {"F": 0, "FL": 55, "BL": 110, "B": 180, "BR": -110, "FR": -55}
    rig = SensorRig(
        cameras={name: camera_of(np.deg2rad(deg)) for name, deg in headings.items()}, radars={}
    )
    assert camera_sides(rig) == (
        {"F", "FL", "FR"},
        {"FL", "BL"},
        {"B", "BL", "BR"},
        {"FR", "BR"},
    )
    front_only = SensorRig(cameras={"F": camera_of()}, radars={})
    assert camera_sides(front_only) == ()


def test_draws_keep_a_sweep_and_their_frequencies():
    rng = np.random.default_rng(0)
    augment = AugmentConfig(drop_radar_sweep=0.9, stale_radar=0.3, radar_noise_m=0.2)
    drawn = [sample_radar_change(rng, augment, 4) for _ in range(500)]
    assert max(len(change.dropped_sweeps) for change in drawn) == 3
    assert np.mean([c.missing_scans > 0 for c in drawn]) == pytest.approx(0.3, abs=0.07)
    assert {c.missing_scans for c in drawn} == {0, 1, 2}
    assert {c.noise_m for c in drawn} == {0.2}
