# SPDX-License-Identifier: Apache-2.0
"""Boxes as columns in the global frame: made from detections, capped, checked."""

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.boxes import (
    ATTRIBUTES,
    BoxTable,
    attributes_by_rule,
    found_boxes,
)
from imkd_core.geometry import rigid_transform, rotation_from_quaternion
from imkd_core.types import Detections
from tests.core.evaluation.oracle import random_boxes


def detections(n, *, class_names=NUSCENES_CLASSES, scores=None):
    rng = np.random.default_rng(n)
    return Detections(
        stamp_ns=1,
        class_names=class_names,
        center_m=rng.uniform(-40, 40, (n, 3)),
        size_m=rng.uniform(0.5, 5, (n, 3)),
        yaw_rad=rng.uniform(-3, 3, n),
        velocity_mps=rng.normal(0, 2, (n, 2)),
        scores=rng.random(n) if scores is None else scores,
        labels=rng.integers(0, len(class_names), n),
    )


POSE = rigid_transform(rotation_from_quaternion([0.9, 0.01, -0.02, 0.43]), [600.0, 1600.0, 2.0])


def test_boxes_go_to_the_global_frame_with_the_full_pose():
    found = detections(20)
    table = found_boxes(found, 3, POSE)
    back = (table.center_m - POSE[:3, 3]) @ POSE[:3, :3]
    np.testing.assert_allclose(back, found.center_m, atol=1e-9)
    heading = POSE[:3, :3] @ np.array([np.cos(found.yaw_rad[0]), np.sin(found.yaw_rad[0]), 0])
    assert table.yaw_rad[0] == pytest.approx(np.arctan2(heading[1], heading[0]))
    velocity = POSE[:3, :3] @ np.array([*found.velocity_mps[0], 0])
    np.testing.assert_allclose(table.velocity_mps[0], velocity[:2], atol=1e-9)
    assert (table.sample == 3).all()
    assert (table.points == -1).all()
    distance = np.linalg.norm((table.center_m - POSE[:3, 3])[:, :2], axis=1)
    np.testing.assert_allclose(table.ego_distance_m, distance)


def test_the_best_boxes_of_a_sample_are_kept_and_of_equal_ones_the_first():
    scores = np.full(600, 0.25)
    scores[580:] = 0.75
    found = detections(600, scores=scores)
    table = found_boxes(found, 0, np.eye(4))
    assert len(table) == 500
    assert (table.score == 0.75).sum() == 20
    np.testing.assert_allclose(table.center_m[:480], found.center_m[:480].astype(np.float64))


def test_classes_are_taken_by_name_and_foreign_ones_refused():
    some = detections(10, class_names=("pedestrian", "car"))
    names = [NUSCENES_CLASSES[label] for label in found_boxes(some, 0, np.eye(4)).label]
    assert names == some.names
    foreign = detections(3, class_names=("car", "tram"))
    with pytest.raises(ConfigError, match="tram"):
        found_boxes(foreign, 0, np.eye(4))


def test_no_detections_give_an_empty_table():
    assert len(found_boxes(detections(0), 0, POSE)) == 0


@pytest.mark.parametrize(
    ("name", "speed_mps", "attribute"),
    [
        ("car", 0.3, "vehicle.moving"),
        ("car", 0.2, "vehicle.parked"),
        ("bus", 0.1, "vehicle.stopped"),
        ("bicycle", 0.1, "cycle.without_rider"),
        ("motorcycle", 5.0, "cycle.with_rider"),
        ("pedestrian", 0.0, "pedestrian.standing"),
        ("pedestrian", 1.0, "pedestrian.moving"),
        ("trailer", float("nan"), "vehicle.parked"),
    ],
)
def test_attributes_follow_the_speed(name, speed_mps, attribute):
    label = np.array([NUSCENES_CLASSES.index(name)])
    index = attributes_by_rule(label, np.array([[0.0, speed_mps]]))[0]
    assert ATTRIBUTES[index] == attribute


def test_barriers_and_cones_have_no_attribute():
    labels = np.array([NUSCENES_CLASSES.index(n) for n in ("barrier", "traffic_cone")])
    assert attributes_by_rule(labels, np.ones((2, 2))).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("center_m", np.full((5, 3), np.nan), "center_m"),
        ("score", np.full(5, np.nan), "score"),
        ("size_m", np.zeros((5, 3)), "positive"),
        ("label", np.full(5, 10), "label"),
        ("attribute", np.full(5, 8), "attribute"),
        ("yaw_rad", np.zeros(4), "must be"),
        ("velocity_mps", np.full((5, 2), np.inf), "infinite"),
    ],
)
def test_columns_that_cannot_be_are_refused(column, value, words):
    boxes = random_boxes(np.random.default_rng(0), 5, 1)
    columns = {name: getattr(boxes, name) for name in BoxTable.__dataclass_fields__}
    with pytest.raises(DataError, match=words):
        BoxTable(**columns | {column: value})
