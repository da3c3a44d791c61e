# SPDX-License-Identifier: Apache-2.0
"""Boxes in messages of a bag are those of the detections, number by number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.box_messages import make_box_array, make_objects_table
from imkd_core.data.bags.messages import read_point_cloud, serialize, typestore
from imkd_core.types import Detections


def boxes(n: int) -> Detections:
    rng = np.random.default_rng(n)
    return Detections(
        stamp_ns=1_600_000_000_123_456_789,
        class_names=("car", "pedestrian", "barrier"),
        center_m=rng.normal(0, 20, (n, 3)),
        size_m=rng.uniform(0.3, 9, (n, 3)),
        yaw_rad=rng.uniform(-3.1, 3.1, n),
        velocity_mps=np.where(rng.random((n, 2)) < 0.3, np.nan, rng.normal(0, 5, (n, 2))),
        scores=rng.random(n),
        labels=rng.integers(0, 3, n),
    )


@given(n=st.integers(0, 6))
def test_the_table_has_a_row_a_box_and_keeps_unknown_velocities(n):
    given_boxes = boxes(n)
    extra = {"num_lidar_points": np.arange(n, dtype=np.uint32)}
    table = read_point_cloud(make_objects_table(given_boxes, "base_link", extra=extra))
    assert " ".join(table) == (
        "x y z length width height yaw vx vy score class_id num_lidar_points"
    )
    np.testing.assert_array_equal(table["y"], given_boxes.center_m[:, 1])
    np.testing.assert_array_equal(table["width"], given_boxes.size_m[:, 1])
    np.testing.assert_array_equal(table["vy"], given_boxes.velocity_mps[:, 1])
    np.testing.assert_array_equal(table["class_id"], given_boxes.labels)
    assert table["score"].dtype == np.float32
    assert table["class_id"].dtype == np.uint32


@given(n=st.integers(0, 6))
def test_the_array_survives_serialisation(n):
    given_boxes = boxes(n)
    ids = [f"object {i}" for i in range(n)]
    variances = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    array = make_box_array(given_boxes, "base_link", ids=ids, variances=variances)
    name = "vision_msgs/msg/Detection3DArray"
    back = typestore().deserialize_cdr(serialize(name, array), name)
    assert (back.header.stamp.sec, back.header.stamp.nanosec) == (1_600_000_000, 123_456_789)
    assert [item.id for item in back.detections] == ids
    for i, item in enumerate(back.detections):
        (result,) = item.results
        assert result.hypothesis.class_id == given_boxes.names[i]
        assert result.hypothesis.score == pytest.approx(float(given_boxes.scores[i]))
        np.testing.assert_array_equal(np.diag(result.pose.covariance.reshape(6, 6)), variances)
        turn = item.bbox.center.orientation
        yaw_rad = 2 * np.arctan2(turn.z, turn.w)
        assert np.cos(yaw_rad - given_boxes.yaw_rad[i]) == pytest.approx(1.0)
        assert item.bbox.size.x == given_boxes.size_m[i, 0]


def test_the_stamp_can_be_another():
    array = make_box_array(boxes(1), "base_link", stamp_ns=7)
    assert (array.header.stamp.nanosec, array.detections[0].header.stamp.nanosec) == (7, 7)
    assert array.detections[0].id == ""
    assert make_objects_table(boxes(1), "base_link", stamp_ns=7).header.stamp.nanosec == 7
