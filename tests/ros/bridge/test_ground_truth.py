# SPDX-License-Identifier: Apache-2.0
"""True boxes in messages arrive with their classes, tracks, velocities and LiDAR returns."""

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.bags.box_messages import make_box_array, make_objects_table
from imkd_core.data.nuscenes.truth import DETECTION_CLASS_OF_CATEGORY
from imkd_core.errors import ConfigError, DataError, SensorError
from imkd_core.types import Detections
from imkd_ros.bridge.ground_truth import class_map, read_boxes

STAMP_NS = 1_700_000_000_123_456_789


def boxes(*names: str) -> Detections:
    n = len(names)
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=tuple(sorted(set(names))),
        center_m=np.arange(3 * n, dtype=np.float32).reshape(n, 3) + 0.5,
        size_m=np.tile(np.float32([4.0, 2.0, 1.5]), (n, 1)),
        yaw_rad=np.linspace(-3, 3, n).astype(np.float32),
        velocity_mps=np.arange(2 * n, dtype=np.float32).reshape(n, 2),
        scores=np.full(n, 0.2, np.float32),
        labels=np.array([sorted(set(names)).index(name) for name in names], np.int64),
    )


def test_a_class_is_stored_as_a_category_of_that_class():
    classes = class_map({})
    for name in NUSCENES_CLASSES:
        assert DETECTION_CLASS_OF_CATEGORY[classes[name]] == name
    for category in DETECTION_CLASS_OF_CATEGORY:
        assert classes[category] == category, "a finer name is kept"


def test_names_of_ones_own_are_mapped_and_others_left_out():
    classes = class_map({"van": "truck", "ghost": ""})
    found = read_boxes(make_box_array(boxes("car", "ghost", "van"), "base_link"), None, classes)
    assert found.categories == ("vehicle.car", "vehicle.truck")
    np.testing.assert_array_equal(found.boxes.center_m[1], boxes("a", "b", "c").center_m[2])
    with pytest.raises(ConfigError, match="mapped to 'lorry'"):
        class_map({"van": "lorry"})


def test_unknown_classes_are_all_named():
    message = make_box_array(boxes("car", "yak", "emu"), "base_link")
    with pytest.raises(DataError, match=r"emu, yak.*--class"):
        read_boxes(message, None, class_map({}))


def test_without_a_table_nothing_is_said_of_velocity_and_returns():
    found = read_boxes(make_box_array(boxes("car", "bus"), "/base_link"), None, class_map({}))
    assert (found.stamp_ns, found.frame_id) == (STAMP_NS, "base_link")
    assert np.isnan(found.boxes.velocity_mps).all()
    assert found.lidar_points.tolist() == [-1, -1]
    assert found.tracks == ("", "")


def test_a_table_brings_velocities_and_returns_in_the_order_of_the_boxes():
    given = boxes("car", "ghost", "bus")
    message = make_box_array(given, "base_link", ids=("a", "b", "c"))
    extra = {"num_lidar_points": np.array([7, 8, 9], np.uint32)}
    table = make_objects_table(given, "base_link", extra=extra)
    found = read_boxes(message, table, class_map({"ghost": ""}))
    np.testing.assert_array_equal(found.boxes.velocity_mps, given.velocity_mps[[0, 2]])
    assert found.lidar_points.tolist() == [7, 9]
    assert found.tracks == ("a", "c")


@pytest.mark.parametrize("change", ["fewer", "elsewhere", "other frame"])
def test_a_table_of_other_objects_is_refused(change):
    given = boxes("car", "bus")
    other = given.select(np.array([0])) if change == "fewer" else given
    if change == "elsewhere":
        other = given.select(np.array([1, 0]))
    table = make_objects_table(other, "odom" if change == "other frame" else "base_link")
    with pytest.raises(DataError, match=r"in their order.*--objects"):
        read_boxes(make_box_array(given, "base_link"), table, class_map({}))


def test_an_id_that_stands_twice_and_a_box_without_class_are_refused():
    message = make_box_array(boxes("car", "bus"), "base_link", ids=("a", "a"))
    with pytest.raises(DataError, match="the id 'a'"):
        read_boxes(message, None, class_map({}))
    message.detections[1].results = []
    with pytest.raises(SensorError, match="no hypothesis"):
        read_boxes(message, None, class_map({}))


def test_a_message_without_boxes_is_a_key_frame_without_objects():
    nothing = boxes("car").select(np.array([], np.int64))
    found = read_boxes(make_box_array(nothing, "base_link"), None, class_map({}))
    assert len(found.boxes) == 0
