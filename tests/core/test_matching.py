# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.evaluation.matching import match_boxes, pair_errors, required_boxes
from imkd_core.types import Detections

CLASSES = ("car", "barrier", "traffic_cone")


def boxes(xy, labels=None, scores=None, size=None, yaw=None, velocity=None, classes=CLASSES):
    n = len(xy)
    return Detections(
        stamp_ns=1,
        class_names=classes,
        center_m=np.column_stack([np.reshape(xy, (n, 2)), np.zeros(n)]),
        size_m=np.ones((n, 3)) if size is None else np.array(size, float),
        yaw_rad=np.zeros(n) if yaw is None else np.array(yaw, float),
        velocity_mps=np.zeros((n, 2)) if velocity is None else np.array(velocity, float),
        scores=np.ones(n) if scores is None else np.array(scores, float),
        labels=np.zeros(n, np.int64) if labels is None else np.array(labels, np.int64),
    )


scenes = st.integers(0, 8).flatmap(
    lambda n: st.builds(
        boxes,
        st.lists(st.tuples(*[st.integers(-8, 8).map(lambda v: v / 4)] * 2), min_size=n, max_size=n),
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.lists(st.integers(0, 4).map(lambda v: v / 4), min_size=n, max_size=n),
    )
)


@given(scenes, scenes, st.sampled_from([0.5, 1.0, 2.0]))
def test_pairs_are_one_to_one_of_one_class_and_near(found, truth, limit):
    matching = match_boxes(found, truth, max_distance_m=limit)
    first, second = matching.pairs[:, 0], matching.pairs[:, 1]
    assert len(set(first.tolist())) == len(set(second.tolist())) == len(matching.pairs)
    assert [found.names[i] for i in first] == [truth.names[j] for j in second]
    assert (matching.errors.center_m < limit).all()
    assert (np.diff(found.scores[first]) <= 0).all()


@given(scenes, scenes)
def test_the_result_is_that_of_the_rule_written_as_loops(found, truth):
    taken, expected = set(), []
    for i in sorted(range(len(found)), key=lambda i: -found.scores[i]):
        free = [
            (float(np.hypot(*(found.center_m[i, :2] - truth.center_m[j, :2]))), j)
            for j in range(len(truth))
            if j not in taken and found.names[i] == truth.names[j]
        ]
        if free and min(free)[0] < 1.0:
            taken.add(min(free)[1])
            expected.append([i, min(free)[1]])
    assert match_boxes(found, truth).pairs.tolist() == expected


@given(scenes)
def test_truth_finds_itself(truth):
    distinct = np.unique(np.column_stack([truth.center_m, truth.labels]), axis=0, return_index=True)
    truth = truth.select(distinct[1])
    matching = match_boxes(truth, truth)
    if len(truth):
        assert matching.recall == matching.precision == 1.0
        assert matching.errors.largest()["center_m"] == 0
    assert sorted(matching.pairs[:, 0]) == list(range(len(truth)))


def test_the_better_score_takes_the_box_and_each_box_is_used_once():
    truth = boxes([(0, 0)])
    found = boxes([(0.1, 0), (0.4, 0)], scores=[0.5, 0.9])
    matching = match_boxes(found, truth)
    assert matching.pairs.tolist() == [[1, 0]]
    assert matching.precision == 0.5
    assert matching.recall == 1.0
    assert matching.is_right.tolist() == [False, True]


def test_the_limit_itself_is_too_far():
    assert match_boxes(boxes([(1.0, 0)]), boxes([(0, 0)])).recall == 0
    assert match_boxes(boxes([(0.999, 0)]), boxes([(0, 0)])).recall == 1


def test_classes_are_compared_by_name():
    truth = boxes([(0, 0)], labels=[0], classes=("barrier", "car"))
    assert match_boxes(boxes([(0, 0)], labels=[1]), truth).recall == 1
    assert match_boxes(boxes([(0, 0)], labels=[0]), truth).recall == 0


def test_scores_below_the_limit_are_not_looked_at():
    found = boxes([(0, 0), (5, 5)], scores=[0.3, 0.29])
    matching = match_boxes(found, boxes([(0, 0), (5, 5)]), min_score=0.3)
    assert matching.precision == 1.0
    assert matching.recall == 0.5
    assert len(matching.class_of_detection) == 1


def test_recall_counts_required_boxes_and_precision_all():
    truth = boxes([(0, 0), (5, 0), (9, 0)])
    found = boxes([(0, 0), (5, 0)])
    matching = match_boxes(found, truth, is_required=np.array([True, False, True]))
    assert matching.recall == 0.5
    assert matching.precision == 1.0
    assert matching.is_found.tolist() == [True, True, False]


def test_recall_and_precision_are_told_by_class():
    truth = boxes([(0, 0), (5, 0), (9, 0)], labels=[0, 0, 1])
    found = boxes([(0, 0), (20, 0)], labels=[0, 2])
    matching = match_boxes(found, truth)
    assert matching.recall_by_class() == {"car": 0.5, "barrier": 0.0}
    assert matching.precision_by_class() == {"car": 1.0, "traffic_cone": 0.0}


def test_nothing_found_or_nothing_true_has_no_part():
    none, one = boxes([]), boxes([(0, 0)])
    assert np.isnan(match_boxes(none, none).recall)
    assert np.isnan(match_boxes(none, one).precision)
    assert match_boxes(none, one).recall == 0
    assert match_boxes(one, none).precision == 0
    assert np.isnan(match_boxes(none, one).errors.mean()["center_m"])
    assert match_boxes(none, one).recall_by_class() == {"car": 0.0}


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_yaw_errors_follow_the_devkit(first, second):
    names = [0, 1, 2]
    found = boxes([(0, 0)] * 3, labels=names, yaw=[first] * 3)
    truth = boxes([(0, 0)] * 3, labels=names, yaw=[second] * 3)
    car, barrier, cone = pair_errors(found, truth).yaw_rad
    assert np.isnan(cone)
    assert 0 <= car <= np.pi
    assert 0 <= barrier <= np.pi / 2 + 1e-12
    devkit = pytest.importorskip("nuscenes.eval.common.utils")
    x, y = float(truth.yaw_rad[0]), float(found.yaw_rad[0])
    assert car == pytest.approx(abs(devkit.angle_diff(x, y, 2 * np.pi)), abs=1e-6)
    assert barrier == pytest.approx(abs(devkit.angle_diff(x, y, np.pi)), abs=1e-6)


def test_a_barrier_turned_round_is_right_and_a_car_is_not():
    found = boxes([(0, 0)] * 2, labels=[0, 1], yaw=[3.0, 3.0])
    truth = boxes([(0, 0)] * 2, labels=[0, 1], yaw=[3.0 - np.pi, 3.0 - np.pi])
    np.testing.assert_allclose(pair_errors(found, truth).yaw_rad, [np.pi, 0], atol=1e-6)


def test_unknown_velocities_are_left_out_of_the_mean():
    truth = boxes([(0, 0), (5, 0)], velocity=[(np.nan, np.nan), (3, 4)])
    errors = match_boxes(boxes([(0, 0), (5, 0)]), truth).errors
    assert np.isnan(errors.velocity_mps[0])
    assert errors.mean()["velocity_mps"] == 5.0
    assert errors.largest()["velocity_mps"] == 5.0


def test_size_errors_are_those_of_aligned_boxes():
    found = boxes([(0, 0)], size=[(4.0, 2.0, 1.0)], yaw=[1.0])
    truth = boxes([(0, 0)], size=[(5.0, 2.0, 2.0)])
    errors = pair_errors(found, truth)
    assert errors.size[0] == pytest.approx(1 - 8 / 20)
    assert errors.size_m[0] == 1.0
    devkit = pytest.importorskip("nuscenes.eval.common.utils")
    first, second = (SimpleNamespace(size=np.array(s)) for s in ((2, 4, 1), (2, 5, 2)))
    assert errors.size[0] == pytest.approx(1 - devkit.scale_iou(first, second))


def test_required_boxes_have_points_and_lie_in_the_grid():
    grid = BevGrid(x_min_m=-8.0, x_max_m=16.0, y_min_m=-4.0, y_max_m=4.0, cell_m=0.8)
    truth = boxes([(0, 0), (12, 0), (0, 12), (15.9, -3.9), (0, 0)])
    points = np.array([5, 100, 100, 6, 4])
    assert required_boxes(truth, points, grid).tolist() == [True, True, False, True, False]
    assert required_boxes(truth, points, grid, 0).sum() == 4
