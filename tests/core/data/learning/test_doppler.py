# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.changes.sensor_dropout import RadarReturns
from imkd_core.data.learning.doppler import MARGIN_M, doppler_targets, returns_in_boxes
from imkd_core.geometry import points_in_box
from imkd_core.types import Detections

seeds = st.integers(0, 200)
changes = st.builds(
    BevChange,
    yaw_rad=st.floats(-3, 3),
    scale=st.floats(0.9, 1.1),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
)


def boxes_of(n, seed, velocity=None):
    rng = np.random.default_rng(seed)
    center = np.stack([20 * np.arange(n), rng.uniform(-20, 20, n), np.ones(n)], axis=1)
    return Detections(
        stamp_ns=1,
        class_names=("car",),
        center_m=center.astype(np.float32),
        size_m=np.tile(np.float32([5, 2, 1.5]), (n, 1)),
        yaw_rad=rng.uniform(-3, 3, n).astype(np.float32),
        velocity_mps=np.full((n, 2), np.nan, np.float32)
        if velocity is None
        else np.tile(np.float32(velocity), (n, 1)),
        scores=np.ones(n, np.float32),
        labels=np.zeros(n, np.int64),
    )


def measured(boxes, per_box, seed, ages=(0.0,)):
    """Returns of two radars on moving boxes: each sees the part of the velocity along its ray."""
    rng = np.random.default_rng(seed)
    rows, origins = [], []
    for index in range(len(boxes)):
        for number in range(per_box):
            age = ages[number % len(ages)]
            velocity = np.nan_to_num(boxes.velocity_mps[index])
            at = boxes.center_m[index, :2] + rng.uniform(-0.6, 0.6, 2) - age * velocity
            origin = np.array([3.0, 0.8 if number % 2 else -0.8])
            sight = (at - origin) / np.linalg.norm(at - origin)
            radial = (velocity @ sight) * sight
            rows.append([*at, 0.0, 5.0, *radial, age])
            origins.append(origin)
    return RadarReturns(
        points=np.array(rows, np.float32).reshape(-1, 7),
        origin_m=np.array(origins, np.float32).reshape(-1, 2),
        scan=np.zeros(len(rows), np.int64),
        scans=1,
    )


@given(seeds, st.floats(-15, 15), st.floats(-15, 15), changes)
def test_the_true_velocity_fulfils_the_targets_in_any_changed_scene(seed, vx, vy, change):
    boxes = boxes_of(4, seed, (vx, vy))
    returns = measured(boxes, 3, seed, ages=(0.0, 0.2))
    inside = returns_in_boxes(returns, boxes)
    after = change.apply_to_boxes(boxes)
    targets = doppler_targets(returns.changed(change), inside, after)
    said = (targets[:, :2] * after.velocity_mps).sum(axis=1)
    np.testing.assert_allclose(said, targets[:, 2], atol=1e-3)
    np.testing.assert_allclose(targets[:, 3], 3 / 4)
    moved = returns_in_boxes(returns.changed(change), after)
    assert (moved == inside).mean() > 0.99  # the margin is not scaled


@given(seeds)
def test_without_motion_the_returns_on_a_box_are_those_within_its_grown_footprint(seed):
    boxes = boxes_of(3, seed)
    rng = np.random.default_rng(seed)
    points = rng.uniform(-30, 60, (200, 7)).astype(np.float32)
    points[:100, :2] = np.tile(boxes.center_m[:, :2], (34, 1))[:100] + rng.uniform(-4, 4, (100, 2))
    returns = RadarReturns(
        points=points,
        origin_m=np.zeros((200, 2), np.float32),
        scan=np.zeros(200, np.int64),
        scans=1,
    )
    inside = returns_in_boxes(returns, boxes)
    assert inside.any()
    flat = np.concatenate([points[:, :2], np.ones((200, 1))], axis=1)
    for index in range(3):
        grown = boxes.size_m[index] + [2 * MARGIN_M, 2 * MARGIN_M, 9]
        expected = points_in_box(flat, boxes.center_m[index], grown, boxes.yaw_rad[index])
        assert (inside[index] == expected).mean() > 0.99  # rounding at borders


def test_returns_of_earlier_scans_are_looked_for_where_the_box_was():
    boxes = boxes_of(1, 0, (20.0, 0.0))
    returns = measured(boxes, 1, 0, ages=(0.4,))
    assert returns_in_boxes(returns, boxes).all()
    assert not returns_in_boxes(returns, boxes_of(1, 0)).any()


def test_boxes_without_returns_and_no_boxes_weigh_nothing():
    boxes, none = boxes_of(2, 0), boxes_of(0, 0)
    returns = measured(none, 1, 0)
    assert returns_in_boxes(returns, boxes).shape == (2, 0)
    np.testing.assert_array_equal(
        doppler_targets(returns, returns_in_boxes(returns, boxes), boxes), np.zeros((2, 4))
    )
    returns = measured(boxes, 2, 0)
    assert doppler_targets(returns, returns_in_boxes(returns, none), none).shape == (0, 4)


def test_more_returns_weigh_more():
    boxes = boxes_of(1, 0, (3.0, 1.0))
    weights = []
    for count in (1, 2, 5):
        returns = measured(boxes, count, 0)
        weights.append(
            float(doppler_targets(returns, returns_in_boxes(returns, boxes), boxes)[0, 3])
        )
    assert weights == pytest.approx([1 / 2, 2 / 3, 5 / 6])


def test_the_ground_under_a_moving_object_and_ghosts_do_not_count():
    boxes = boxes_of(1, 0, (-5.0, 9.0))  # away from the radar
    returns = measured(boxes, 3, 0)
    alone = doppler_targets(returns, returns_in_boxes(returns, boxes), boxes)
    points = np.concatenate([returns.points, returns.points[:1]])
    points[-1, 4:6] = 0  # the ground stands still
    more = RadarReturns(
        points=points,
        origin_m=np.concatenate([returns.origin_m, returns.origin_m[:1]]),
        scan=np.zeros(4, np.int64),
        scans=1,
    )
    inside = returns_in_boxes(more, boxes)
    assert inside.sum() == 4
    np.testing.assert_allclose(doppler_targets(more, inside, boxes), alone)
    unknown = boxes_of(1, 0)
    assert doppler_targets(more, inside, unknown)[0, 3] == np.float32(4 / 5)
