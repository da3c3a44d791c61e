# SPDX-License-Identifier: Apache-2.0
"""Boxes written as bytes are what the type support of ROS reads, and writes."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs.msg import Detection3DArray

from imkd_core.types import Detections
from imkd_ros.bridge.box_cdr import can_write, detection3d_array_cdr
from imkd_ros.bridge.convert_out import ros_messages, to_detection3d_array

CLASSES = ("car", "truck", "traffic_cone", "bus", "pedestrian", "späti")


def boxes(count: int, seed: int = 0, stamp_ns: int = 1_700_000_000_123_456_789) -> Detections:
    rng = np.random.default_rng(seed)
    return Detections(
        stamp_ns=stamp_ns,
        class_names=CLASSES,
        labels=rng.integers(0, len(CLASSES), count),
        scores=rng.random(count).astype(np.float32),
        center_m=rng.normal(0, 30, (count, 3)).astype(np.float32),
        size_m=rng.uniform(0.1, 9, (count, 3)).astype(np.float32),
        yaw_rad=rng.uniform(-3, 3, count).astype(np.float32),
        velocity_mps=rng.normal(0, 5, (count, 2)).astype(np.float32),
    )


@given(
    st.integers(0, 7), st.integers(0, 2**32 - 1), st.text("abcé_/", max_size=12), st.integers(0, 9)
)
def test_it_is_what_ros_writes_but_for_what_is_in_the_gaps(count, seed, frame_id, seconds):
    found = boxes(count, seed, seconds * 10**9 + 5)
    cdr = detection3d_array_cdr(found, frame_id)
    message = to_detection3d_array(found, frame_id)
    assert deserialize_message(cdr, Detection3DArray) == message
    assert len(cdr) == len(serialize_message(message))


def test_a_full_frame_is_read_back_box_by_box():
    found = boxes(200)
    message = deserialize_message(detection3d_array_cdr(found, "base_link"), Detection3DArray)
    assert len(message.detections) == 200
    for number in (0, 7, 199):
        item = message.detections[number]
        assert item.results[0].hypothesis.class_id == found.names[number]
        assert item.bbox.size.x == found.size_m[number, 0]
        assert item.header.frame_id == "base_link"


def test_another_layout_of_the_messages_is_not_written():
    classes = ros_messages()
    assert can_write(classes)
    older = SimpleNamespace(**vars(classes))
    fields = {"header": "std_msgs/Header", "results": "...", "bbox": "...", "source_cloud": "..."}
    older.Detection3D = SimpleNamespace(get_fields_and_field_types=lambda: fields)
    assert not can_write(older)
