# SPDX-License-Identifier: Apache-2.0
"""Radar statistics against a plain loop over points; merging against the sensor's own motion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imkd_core.bev_grid import BevGrid
from imkd_core.config import RADAR_GRID_CHANNELS
from imkd_core.geometry import rigid_transform
from imkd_core.radar_grid import merge_scans, radar_statistics
from imkd_core.types import Frame
from tests.core.rigs import STAMP_NS, cloud_of, rotation

GRID = BevGrid(x_min_m=-2.0, x_max_m=4.0, y_min_m=-3.0, y_max_m=1.0, cell_m=1.0)

coordinates = st.floats(-5, 5, width=32)
points = hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(7)), elements=coordinates)


def by_hand(points: np.ndarray) -> np.ndarray:
    """Oracle: method.md 3.2, one cell and one point at a time."""
    cells: dict[tuple[int, int], list[np.ndarray]] = {}
    for point in np.asarray(points, np.float64):
        x, y = point[:2]
        if -2 <= x < 4 and -3 <= y < 1:
            cells.setdefault((int(np.floor(y + 3)), int(np.floor(x + 2))), []).append(point)
    grid = np.zeros((12, 4, 6))
    for (row, column), members in cells.items():
        rcs = [(p[3] - 4.783) / 7.576 for p in members]
        v = [p[4:6] / 1.976 for p in members]
        ray = [p[:2] / max(np.hypot(*p[:2]), 1e-9) for p in members]
        radial = [float(a @ b) for a, b in zip(v, ray, strict=True)]
        grid[:, row, column] = [
            np.log(1 + len(members)),
            np.mean(rcs),
            np.max(rcs),
            np.mean([a[0] for a in v]),
            np.mean([a[1] for a in v]),
            np.max([np.hypot(*a) for a in v]),
            np.std(radial),
            np.mean([p[6] for p in members]),
            np.min([p[6] for p in members]),
            np.mean([p[0] - (column - 2 + 0.5) for p in members]),
            np.mean([p[1] - (row - 3 + 0.5) for p in members]),
            1,
        ]
    return grid


@given(points)
def test_statistics_equal_a_plain_loop(points):
    statistics = radar_statistics(points, GRID)
    assert statistics.dtype == np.float32
    np.testing.assert_allclose(statistics, by_hand(points), rtol=1e-5, atol=1e-5)


@given(points, st.randoms(use_true_random=False))
def test_the_order_of_returns_does_not_matter(points, random):
    order = random.sample(range(len(points)), len(points))
    np.testing.assert_allclose(
        radar_statistics(points[order], GRID), radar_statistics(points, GRID), rtol=1e-6, atol=1e-6
    )


@given(points)
def test_returns_outside_change_nothing(points):
    outside = points.copy()
    outside[:, 0] = 4.0  # the range is half open
    both = radar_statistics(np.concatenate([points, outside]), GRID)
    np.testing.assert_array_equal(both, radar_statistics(points, GRID))


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 9), st.just(7)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_extreme_values_never_give_nan(points):
    points[:, :2] = np.clip(points[:, :2], -1, 0.5)
    assert np.isfinite(radar_statistics(points, GRID)).all()


def test_no_return_gives_zeros():
    statistics = radar_statistics(np.zeros((0, 7), np.float32), GRID)
    assert statistics.shape == (len(RADAR_GRID_CHANNELS), 4, 6)
    assert not statistics.any()


def test_a_return_stands_in_the_row_of_its_y_and_the_column_of_its_x():
    statistics = radar_statistics(np.array([[3.5, -2.5, 0, 5, 1, 2, 0.1]], np.float32), GRID)
    assert np.argwhere(statistics[RADAR_GRID_CHANNELS.index("occupancy")]).tolist() == [[0, 5]]


def test_the_radial_speed_is_that_along_the_ray_from_the_ego_origin():
    moving_across = [[3.5, 0.0, 0, 0, 0, v, 0] for v in (-4, 4)]
    moving_along = [[3.5, 0.0, 0, 0, v, 0, 0] for v in (-1.976, 1.976)]
    spread = RADAR_GRID_CHANNELS.index("radial_speed_std")
    across, along = (
        radar_statistics(np.array(points, np.float32), GRID)[spread].max()
        for points in (moving_across, moving_along)
    )
    assert across == pytest.approx(0, abs=1e-6)
    assert along == pytest.approx(1)


def test_a_return_at_the_ego_origin_has_no_ray():
    points = np.array([[0, 0, 0, 0, 3, 4, 0], [0, 0, 0, 0, -3, 4, 0]], np.float32)
    assert np.isfinite(radar_statistics(points, GRID)).all()


@given(st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi), st.floats(-20, 20), st.floats(-20, 20))
def test_merging_turns_positions_and_velocities_into_the_reference_frame(yaw, ego_yaw, x, y):
    """A return and where it is a second later turn together: velocity is their difference."""
    ego_from_radar = rigid_transform(rotation(yaw, 0, 0), (3.0, -1.0, 0.5))
    reference_from_ego = rigid_transform(rotation(ego_yaw, 0, 0), (x, y, 0.0))
    scan_ns = STAMP_NS - 80_000_000
    now = [10.0, 2.0, 0.0, 7.0, 3.0, -4.0, 0.25]
    later = [13.0, -2.0, 0.0, 7.0, 3.0, -4.0, 0.25]
    frame = Frame(
        stamp_ns=STAMP_NS, cameras={}, radars={}, reference_from_ego={scan_ns: reference_from_ego}
    )
    merged = merge_scans((cloud_of("R", [now, later], scan_ns),), ego_from_radar, frame)
    expected = reference_from_ego @ ego_from_radar @ [10.0, 2.0, 0.0, 1.0]
    np.testing.assert_allclose(merged[0, :3], expected[:3], atol=1e-4)
    np.testing.assert_allclose(merged[0, 4:6], merged[1, :2] - merged[0, :2], atol=1e-4)
    np.testing.assert_allclose(merged[:, 6], 0.25 + 0.08, atol=1e-6)
    assert (merged[:, 3] == 7.0).all()


def test_merging_keeps_all_scans_and_each_ones_age():
    stamps = (STAMP_NS + 20_000_000, STAMP_NS, STAMP_NS - 75_000_000)
    clouds = tuple(cloud_of("R", np.full((i + 1, 7), float(i)), s) for i, s in enumerate(stamps))
    frame = Frame(stamp_ns=STAMP_NS, cameras={}, radars={})
    merged = merge_scans(clouds, np.eye(4), frame)
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged[:, 6], [-0.02, 1, 1, 2.075, 2.075, 2.075], atol=1e-6)
    np.testing.assert_array_equal(merged[:, 0], [0, 1, 1, 2, 2, 2])


@pytest.mark.parametrize("clouds", [(), (cloud_of("R", []),)])
def test_merging_nothing_gives_no_points(clouds):
    frame = Frame(stamp_ns=STAMP_NS, cameras={}, radars={})
    assert merge_scans(clouds, np.eye(4), frame).shape == (0, 7)
