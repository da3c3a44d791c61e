# SPDX-License-Identifier: Apache-2.0
"""The detection metrics against nuscenes-devkit, number by number, and by hand where it is easy."""

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import ConfigError
from imkd_core.evaluation.boxes import BoxTable, RackTable
from imkd_core.evaluation.nuscenes_metrics import (
    DetectionRules,
    counted,
    detection_score,
    evaluate,
)
from tests.core.evaluation.oracle import (
    assert_equal_to_devkit,
    devkit_metrics,
    noisy_copies,
    random_boxes,
)

#: The devkit warns of what it meets (means of nothing, deprecated calls).
needs_devkit = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _devkit():
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")


@needs_devkit
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [False, True])
def test_random_detections_score_as_in_the_devkit(seed, ties):
    rng = np.random.default_rng(seed)
    truth = random_boxes(rng, 400, 7, true=True)
    found = noisy_copies(rng, truth, spread_m=(0.3, 1.0, 2.5)[seed % 3], ties=ties)
    assert_equal_to_devkit(evaluate(found, truth, 7), devkit_metrics(found, truth, 7))


@needs_devkit
@pytest.mark.parametrize("ties", [False, True])
def test_crowds_in_which_many_boxes_compete_score_as_in_the_devkit(ties):
    rng = np.random.default_rng(5)
    truth = random_boxes(rng, 150, 2, true=True, classes=[8])
    found = random_boxes(rng, 300, 2, classes=[8], ties=ties)
    assert_equal_to_devkit(evaluate(found, truth, 2), devkit_metrics(found, truth, 2))


@needs_devkit
@pytest.mark.parametrize(("found_count", "true_count"), [(0, 0), (0, 40), (40, 0), (1, 1)], ids=str)
def test_nothing_found_or_nothing_there_scores_as_in_the_devkit(found_count, true_count):
    rng = np.random.default_rng(1)
    truth = random_boxes(rng, true_count, 3, true=True)
    found = random_boxes(rng, found_count, 3)
    assert_equal_to_devkit(evaluate(found, truth, 3), devkit_metrics(found, truth, 3))


@needs_devkit
@pytest.mark.parametrize("unknown", [0.5, 1.0])
def test_unknown_velocities_score_as_in_the_devkit(unknown):
    rng = np.random.default_rng(2)
    truth = random_boxes(rng, 200, 4, true=True, nan_velocity=unknown)
    found = noisy_copies(rng, truth, spread_m=0.3)
    assert_equal_to_devkit(evaluate(found, truth, 4), devkit_metrics(found, truth, 4))


@needs_devkit
def test_absent_classes_count_in_the_devkits_means_and_not_in_ours_of_the_present():
    rng = np.random.default_rng(3)
    truth = random_boxes(rng, 200, 4, true=True, classes=[0, 5, 9], nan_velocity=0)
    found = noisy_copies(rng, truth, spread_m=0.2, miss=0.0)
    metrics = evaluate(found, truth, 4)
    assert_equal_to_devkit(metrics, devkit_metrics(found, truth, 4))
    assert metrics.classes["bus"].truth == 0
    assert metrics.classes["bus"].ap == 0
    assert metrics.present_mean_ap == pytest.approx(metrics.mean_ap * 10 / 3)
    assert metrics.present_nds > metrics.nds


@needs_devkit
def test_true_boxes_that_all_lie_on_one_point_are_taken_in_their_order():
    rng = np.random.default_rng(4)
    truth = random_boxes(rng, 20, 1, true=True, classes=[0])
    columns = {name: getattr(truth, name) for name in BoxTable.__dataclass_fields__}
    stacked = BoxTable(**columns | {"center_m": np.zeros((20, 3))})
    found = BoxTable(**columns | {"center_m": np.full((20, 3), 0.1), "score": np.full(20, 0.5)})
    assert_equal_to_devkit(evaluate(found, stacked, 1), devkit_metrics(found, stacked, 1))


def test_the_truth_given_back_scores_one():
    truth = random_boxes(np.random.default_rng(0), 300, 5, true=True, nan_velocity=0)
    has_attribute = truth.select(truth.attribute >= 0)
    metrics = evaluate(has_attribute, has_attribute, 5)
    assert metrics.nds == pytest.approx(1, abs=1e-9)
    assert metrics.mean_ap == pytest.approx(1)
    assert all(value == pytest.approx(0, abs=1e-6) for value in metrics.errors.values())


def test_a_turned_barrier_is_right_and_a_turned_car_is_wrong():
    labels = [NUSCENES_CLASSES.index("barrier"), NUSCENES_CLASSES.index("car")]
    truth = random_boxes(np.random.default_rng(0), 40, 2, true=True, classes=labels)
    columns = {name: getattr(truth, name) for name in BoxTable.__dataclass_fields__}
    found = BoxTable(**columns | {"yaw_rad": truth.yaw_rad + np.pi})
    classes = evaluate(found, truth, 2).classes
    assert classes["barrier"].errors["orientation_rad"] == pytest.approx(0, abs=1e-9)
    assert classes["car"].errors["orientation_rad"] == pytest.approx(np.pi)
    assert np.isnan(classes["barrier"].errors["velocity_mps"])
    assert np.isnan(classes["traffic_cone"].errors["orientation_rad"])


def test_boxes_out_of_range_without_points_or_in_a_rack_do_not_count():
    rng = np.random.default_rng(0)
    bicycle, car = NUSCENES_CLASSES.index("bicycle"), NUSCENES_CLASSES.index("car")
    boxes = random_boxes(rng, 4, 1, true=True)
    columns = {name: getattr(boxes, name) for name in BoxTable.__dataclass_fields__}
    boxes = BoxTable(
        **columns
        | {
            "label": [bicycle, car, car, car],
            "center_m": [[5.0, 1, 0], [5.0, 1, 0], [50.0, 0, 0], [49.99, 0, 0]],
            "ego_distance_m": [5.1, 5.1, 50.0, 49.99],
            "points": [3, 3, 3, 3],
        }
    )
    rack_from_global = np.eye(4)
    rack_from_global[:3, 3] = (-5, 0, 0)
    rack = RackTable(
        sample=np.array([0]),
        rack_from_global=rack_from_global[None],
        size_m=np.array([[0.5, 2.0, 1.0]]),
    )
    assert counted(boxes, racks=rack).ego_distance_m.tolist() == [5.1, 49.99]
    assert len(counted(boxes)) == 3
    unseen = BoxTable(
        **{name: getattr(boxes, name) for name in columns} | {"points": [0, 0, 1, -1]}
    )
    assert counted(unseen).points.tolist() == [-1]
    elsewhere = RackTable(
        sample=np.array([1]), rack_from_global=rack.rack_from_global, size_m=rack.size_m
    )
    assert len(counted(boxes, racks=elsewhere)) == 3


def test_detection_score_cuts_errors_at_one_and_leaves_out_what_no_class_has():
    assert detection_score(0.5, {"a": 0.2, "b": 3.0}) == pytest.approx((2.5 + 0.8) / 7)
    assert detection_score(0.5, {"a": 0.2, "b": float("nan")}) == pytest.approx(3.3 / 6)


def test_rules_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ConfigError, match="error_distance_m"):
        DetectionRules(error_distance_m=3.0)
    with pytest.raises(ConfigError, match="every nuScenes class"):
        DetectionRules(class_range_m={"car": 50.0})
    with pytest.raises(ConfigError, match="below 1"):
        DetectionRules(min_precision=1.0)
