# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.learning.lidar_points import (
    padded,
    prepare_points,
    read_points,
    thinned,
    within,
    without_clutter,
    without_share,
)
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.geometry import points_in_box, transform_points
from imkd_core.teaching import LIDAR_POINT_COLUMNS, TeacherConfig
from tests.core.data.made_up import write_dataroot

GRID = BevGrid(x_min_m=-8.0, x_max_m=24.0, y_min_m=-6.0, y_max_m=6.0, cell_m=0.5)
SPEC = InputSpec(image_height_px=64, image_width_px=96, bev=GRID)


def cloud(count, seed=0, spread_m=10.0):
    rng = np.random.default_rng(seed)
    points = np.zeros((count, 5), np.float32)
    points[:, :2] = rng.normal(0, spread_m, (count, 2))
    points[:, 2] = rng.uniform(-6, 4, count)
    points[:, 3] = rng.uniform(0, 255, count)
    points[:, 4] = rng.integers(0, 3, count) * 0.05
    return points


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=400)
    return NuScenes(root).samples()[1]


def test_points_stand_in_the_ego_frame_of_the_reference(record):
    points = read_points(record, 1)
    raw, ego_from_lidar = record.lidar(1, 1.0)
    np.testing.assert_allclose(
        points[:, :3], transform_points(ego_from_lidar, raw.points[:, :3]), atol=1e-4
    )
    truth = record.truth()
    boxes = truth.detections
    counts = [
        points_in_box(points, boxes.center_m[i], boxes.size_m[i], boxes.yaw_rad[i]).sum()
        for i in range(len(boxes))
    ]
    assert (np.array(counts) >= 0.9 * truth.num_lidar_points).all()


def test_older_sweeps_are_merged_with_their_age(record):
    points = read_points(record, 3)
    assert points.shape[1] == 5
    assert len(np.unique(points[:, 4])) == min(3, len(record.history("LIDAR_TOP", 3)))
    assert points[0, 4] == 0
    assert (np.diff(points[:, 4]) >= 0).all()


@given(seed=st.integers(0, 50))
def test_only_points_on_the_grid_and_between_the_heights_stay(seed):
    points = cloud(300, seed)
    kept = within(points, SPEC)
    _, inside = GRID.cell_index(points[:, :2])
    expected = inside & (points[:, 2] >= SPEC.z_min_m) & (points[:, 2] <= SPEC.z_max_m)
    np.testing.assert_array_equal(kept, points[expected])


@given(seed=st.integers(0, 50), limit=st.integers(1, 400))
def test_thinning_keeps_points_of_the_cloud_and_never_more_than_allowed(seed, limit):
    points = within(cloud(300, seed, spread_m=2.0), SPEC)
    kept = thinned(points, GRID, limit, np.random.default_rng(seed))
    assert len(kept) <= limit
    rows = {row.tobytes() for row in points}
    assert all(row.tobytes() in rows for row in kept[:, :5])
    assert len({row.tobytes() for row in kept}) == len(kept)
    if limit >= len(points):
        assert len(kept) == len(points)


@given(seed=st.integers(0, 30))
def test_thinning_empties_no_pillar_while_there_is_room_for_one_point_in_each(seed):
    points = within(cloud(400, seed, spread_m=3.0), SPEC)
    cells, _ = GRID.cell_index(points[:, :2])
    pillars = np.unique(cells, axis=0)
    kept = thinned(points, GRID, len(pillars) + 5, np.random.default_rng(seed))
    kept_cells, _ = GRID.cell_index(kept[:, :2])
    np.testing.assert_array_equal(np.unique(kept_cells, axis=0), pillars)
    assert len(kept) <= len(pillars) + 5


def test_every_point_knows_how_crowded_its_pillar_was_before_thinning():
    points = np.zeros((7, 5), np.float32)
    points[5:, 0] = 3.0
    kept = thinned(points, GRID, 4, np.random.default_rng(0))
    counts = np.rint(np.expm1(kept[:, LIDAR_POINT_COLUMNS.index("log_count")]))
    assert sorted(counts) == [2, 2, 5, 5]
    np.testing.assert_array_equal(counts == 2, kept[:, 0] == 3.0)


def test_an_empty_cloud_is_padding_alone():
    inputs = prepare_points(
        np.zeros((0, 5), np.float32), SPEC, TeacherConfig(max_points=10), np.random.default_rng(0)
    )
    assert inputs["points"].shape == (10, len(LIDAR_POINT_COLUMNS))
    assert not inputs["mask"].any()
    assert not inputs["points"].any()


def test_padding_follows_the_points():
    values, mask = padded(np.ones((3, 2), np.float32), 5)
    assert mask.tolist() == [True, True, True, False, False]
    assert values.sum(axis=1).tolist() == [2, 2, 2, 0, 0]


def test_the_same_chance_gives_the_same_points():
    points = cloud(500, spread_m=2.0)
    config = TeacherConfig(max_points=60)
    first, second, other = (
        prepare_points(points, SPEC, config, np.random.default_rng(seed))["points"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_dropping_takes_a_share_and_nothing_where_it_is_off():
    points = cloud(5000)
    assert without_share(points, 0.0, np.random.default_rng(0)) is points
    shares = [
        1 - len(without_share(points, 0.4, np.random.default_rng(s))) / 5000 for s in range(20)
    ]
    assert 0 <= min(shares) < 0.1
    assert 0.3 < max(shares) < 0.45


def test_a_change_moves_points_and_boxes_alike(record):
    change = BevChange(yaw_rad=0.3, scale=1.04, flip_y=True)
    points, boxes = read_points(record, 1), record.truth().detections
    changed, moved = change.apply_to_points(points), change.apply_to_boxes(boxes)
    for i in range(len(boxes)):
        before = points_in_box(points, boxes.center_m[i], boxes.size_m[i], boxes.yaw_rad[i])
        after = points_in_box(changed, moved.center_m[i], moved.size_m[i], moved.yaw_rad[i])
        assert (before != after).mean() < 0.01


def test_lone_dark_returns_nearby_are_clutter_and_a_wall_is_not():
    wall = cloud(400, 1)
    wall[:, :3] = np.random.default_rng(0).uniform((6, -1, 0), (6.1, 1, 1), (400, 3))
    wall[:, 3] = 3
    drops = np.zeros((60, 5), np.float32)
    drops[:, :3] = np.random.default_rng(1).uniform((-5, -5, 0), (5, 5, 3), (60, 3))
    drops[:, 3] = 2
    far = drops.copy()
    far[:, 0] += 40
    bright = drops.copy()
    bright[:, 3] = 90
    for group, least, most in ((wall, 0.97, 1), (drops, 0, 0.1), (far, 1, 1), (bright, 1, 1)):
        share = len(without_clutter(group)) / len(group)
        assert least <= share <= most


def test_filtering_clutter_of_an_empty_cloud_gives_an_empty_cloud():
    assert without_clutter(np.zeros((0, 5), np.float32)).shape == (0, 5)


def test_points_on_the_upper_border_count_to_the_last_pillar():
    points = np.zeros((2, 5), np.float32)
    points[:, 0] = np.nextafter(np.float32(24), np.float32(0))
    points[:, 1] = np.nextafter(np.float32(6), np.float32(0))
    inputs = prepare_points(
        points, SPEC, replace(TeacherConfig(), max_points=4), np.random.default_rng(0)
    )
    assert inputs["mask"].sum() == 2
