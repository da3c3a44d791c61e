# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.evaluation.proof import (
    CONTROL_GOALS,
    GOALS,
    FrameTruth,
    box_rows,
    class_rows,
    control_entry,
    control_recalls,
    frame_figures,
    largest_difference,
    latency_rows,
    measures,
    moved_boxes,
    worst_figures,
)
from imkd_core.geometry import box_corners, invert_transform, rigid_transform, transform_points
from imkd_core.types import Detections

CLASSES = ("car", "pedestrian")


def boxes(rows, scores=None):
    """Return boxes of rows (label, x, y, yaw, vx, vy)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    n = len(table)
    return Detections(
        stamp_ns=5,
        class_names=CLASSES,
        center_m=np.column_stack([table[:, 1:3], np.ones(n, np.float32)]),
        size_m=np.tile(np.float32([4, 2, 1.5]), (n, 1)),
        yaw_rad=table[:, 3],
        velocity_mps=table[:, 4:],
        scores=np.ones(n, np.float32) if scores is None else np.float32(scores),
        labels=table[:, 0].astype(np.int64),
    )


def truth(rows, required):
    found = boxes(rows)
    return FrameTruth(
        boxes=found,
        is_required=np.array(required, bool),
        lidar_points=np.arange(len(found)),
    )


TRUE_ROWS = [(0, 10, 0, 0.1, 5, 0), (1, -5, 3, 2.0, 0, 0), (0, 20, -4, -1.0, 0, 0)]
TRUTH = truth(TRUE_ROWS, [True, True, False])


def test_the_truth_itself_meets_every_goal():
    figures = frame_figures(TRUTH.boxes, TRUTH)
    assert figures["recall_1m"] == figures["precision_1m"] == 1
    assert all(value == pytest.approx(0, abs=1e-6) for value in list(figures.values())[2:])
    complete = {"delivered_fraction": 1.0, **figures, "online_offline_difference": 0.0}
    assert all(measure.passed for measure in measures(complete, {}))
    assert set(complete) == set(GOALS)


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([TRUE_ROWS[0]], "recall_1m"),
        ([*TRUE_ROWS, (0, -30, 0, 0, 0, 0)], "precision_1m"),
        ([(0, 10.5, 0, 0.1, 5, 0), *TRUE_ROWS[1:]], "center_error_max_m"),
        ([(0, 10, 0, 0.5, 5, 0), *TRUE_ROWS[1:]], "yaw_error_max_rad"),
        ([(0, 10, 0, 0.1, 3, 0), *TRUE_ROWS[1:]], "moving_velocity_error_max_mps"),
    ],
)
def test_each_fault_misses_its_own_goal_alone(rows, name):
    figures = frame_figures(boxes(rows), TRUTH)
    complete = {"delivered_fraction": 1.0, **figures, "online_offline_difference": 0.0}
    missed = [measure.name for measure in measures(complete, {}) if measure.passed is False]
    assert missed == [GOALS[name].label]


def test_a_wrong_size_misses_its_goal():
    wrong = dataclasses.replace(TRUTH.boxes, size_m=TRUTH.boxes.size_m * 1.3)
    assert frame_figures(wrong, TRUTH)["size_error_max"] > GOALS["size_error_max"].at_most


def test_boxes_below_the_score_do_not_count():
    figures = frame_figures(boxes(TRUE_ROWS, [0.9, 0.2, 0.2]), TRUTH)
    assert figures["recall_1m"] == 0.5
    assert figures["precision_1m"] == 1


def test_a_class_mix_up_and_a_box_used_twice_are_not_found():
    swapped = [(1 - row[0], *row[1:]) for row in TRUE_ROWS]
    assert frame_figures(boxes(swapped), TRUTH)["recall_1m"] == 0
    doubled = [*TRUE_ROWS, (0, 10.2, 0, 0.1, 5, 0)]
    assert frame_figures(boxes(doubled), TRUTH)["precision_1m"] == 0.75


def test_no_boxes_at_all_miss_every_goal_and_say_so():
    figures = frame_figures(boxes([]), TRUTH)
    assert figures["recall_1m"] == 0
    assert not any(measure.passed for measure in measures(figures, {}))


def test_the_worst_of_all_frames_counts():
    good, bad = frame_figures(TRUTH.boxes, TRUTH), frame_figures(boxes([TRUE_ROWS[0]]), TRUTH)
    assert worst_figures([good, bad])["recall_1m"] == bad["recall_1m"]
    shifted = frame_figures(boxes([(0, 10.4, 0, 0.1, 5, 0), *TRUE_ROWS[1:]]), TRUTH)
    worst = worst_figures([good, shifted, good])
    assert worst["center_error_max_m"] == pytest.approx(0.4, abs=1e-5)
    assert worst_figures([]) == {}


@given(
    yaw=st.floats(-3, 3),
    x=st.floats(-50, 50),
    y=st.floats(-50, 50),
)
def test_moved_boxes_have_the_corners_moved_and_come_back(yaw, x, y):
    rotation = [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    dst_from_src = rigid_transform(rotation, (x, y, 0.5))
    there = moved_boxes(dst_from_src, TRUTH.boxes, 9)
    assert there.stamp_ns == 9
    corners = box_corners(TRUTH.boxes.center_m, TRUTH.boxes.size_m, TRUTH.boxes.yaw_rad)
    np.testing.assert_allclose(
        box_corners(there.center_m, there.size_m, there.yaw_rad),
        transform_points(dst_from_src, corners),
        atol=1e-4,
    )
    back = moved_boxes(invert_transform(dst_from_src), there, 5)
    assert largest_difference(back, TRUTH.boxes) < 1e-4


def test_different_answers_differ_and_equal_ones_do_not():
    assert largest_difference(TRUTH.boxes, boxes(TRUE_ROWS)) == 0
    moved = boxes([(0, 10.01, 0, 0.1, 5, 0), *TRUE_ROWS[1:]])
    assert largest_difference(TRUTH.boxes, moved) == pytest.approx(0.01, rel=1e-3)
    assert largest_difference(TRUTH.boxes, boxes(TRUE_ROWS[:2])) == float("inf")
    other_time = dataclasses.replace(TRUTH.boxes, stamp_ns=6)
    assert largest_difference(TRUTH.boxes, other_time) == float("inf")
    assert largest_difference(boxes([]), boxes([])) == 0


def test_a_control_splits_recall_by_camera_and_keeps_its_goals():
    is_own = np.array([True, False, False])
    recalls = control_recalls(boxes([TRUE_ROWS[1]]), TRUTH, is_own)
    assert recalls == {"recall": 0.5, "recall_own": 0.0, "recall_others": 1.0}
    entry = control_entry("camera_masked", "the back camera is gone", recalls)
    assert [measure.passed for measure in entry.measures] == [True, True]
    failing = control_entry("cameras_masked", "no camera", {"recall": 0.5})
    assert [measure.passed for measure in failing.measures] == [False]
    reported = control_entry("radar_masked", "no radar", {"recall": 0.5})
    assert [measure.passed for measure in reported.measures] == [None]
    assert all(goals for _, goals in CONTROL_GOALS.values())


def test_rows_tell_found_missed_and_extra_nearest_first():
    found = boxes([TRUE_ROWS[0], (1, 40, 0, 0, 0, 0)])
    rows = box_rows(found, TRUTH)
    assert [row.outcome for row in rows] == ["missed", "found", "extra"]
    assert [row.distance_m for row in rows] == sorted(row.distance_m for row in rows)
    by_class = {row.class_name: row for row in class_rows(found, TRUTH)}
    assert (by_class["car"].found, by_class["car"].true_boxes) == (1, 1)
    assert (by_class["pedestrian"].found, by_class["pedestrian"].extra) == (0, 1)


def test_unknown_velocities_are_left_out_of_rows():
    unknown = dataclasses.replace(
        TRUTH.boxes, velocity_mps=np.full((3, 2), np.nan, dtype=np.float32)
    )
    rows = box_rows(TRUTH.boxes, dataclasses.replace(TRUTH, boxes=unknown))
    assert all(row.velocity_error_mps is None for row in rows)


def test_latency_percentiles_are_taken_over_frames_stage_by_stage():
    stages = [{"inference": float(i), "decode": 1.0} for i in range(101)]
    inference, decode = latency_rows([*stages, {"decode": 1.0}])
    assert (inference.p50_ms, inference.p95_ms, inference.p99_ms) == (50, 95, 99)
    assert decode.stage == "decode"
    assert latency_rows([]) == ()
