# SPDX-License-Identifier: Apache-2.0
"""Markers: what was there before goes, boxes stand where they are, arrows show motion."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from visualization_msgs.msg import ImageMarker, Marker

from imkd_core.camera_view import ImageLines
from imkd_core.types import Detections
from imkd_ros.node.markers import MIN_SPEED_MPS, detection_markers, image_marker, marker_color

pytestmark = pytest.mark.ros

STAMP = Time(sec=12, nanosec=34)


def detections(count, velocity=(2.0, -1.0)):
    return Detections(
        stamp_ns=12_000_000_034,
        class_names=("car", "pedestrian"),
        center_m=np.arange(3 * count, dtype=np.float32).reshape(count, 3),
        size_m=np.tile(np.float32([4, 2, 1.5]), (count, 1)),
        yaw_rad=np.full(count, 0.5, np.float32),
        velocity_mps=np.tile(np.float32(velocity), (count, 1)),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        labels=np.arange(count) % 2,
    )


def by_namespace(array, namespace):
    return [m for m in array.markers if m.ns == namespace and m.action == Marker.ADD]


def test_an_empty_frame_deletes_all_and_adds_nothing():
    array = detection_markers(detections(0), "base_link", STAMP)
    assert [marker.action for marker in array.markers] == [Marker.DELETEALL]


def test_every_box_has_edges_and_a_label_behind_one_deletion():
    array = detection_markers(detections(3), "base_link", STAMP)
    assert array.markers[0].action == Marker.DELETEALL
    assert sum(marker.action == Marker.DELETEALL for marker in array.markers) == 1
    boxes = by_namespace(array, "boxes")
    assert [len(marker.points) for marker in boxes] == [24, 24, 24]
    assert by_namespace(array, "labels")[1].text == "pedestrian 0.70"
    assert all(marker.header.frame_id == "base_link" for marker in array.markers)
    assert all(marker.header.stamp == STAMP for marker in array.markers)
    identities = [(marker.ns, marker.id) for marker in array.markers[1:]]
    assert len(set(identities)) == len(identities)


def test_edges_are_as_long_as_the_box_and_centred_on_it():
    found = detections(1)
    edges = by_namespace(detection_markers(found, "base_link", STAMP), "boxes")[0].points
    points = np.array([[p.x, p.y, p.z] for p in edges])
    np.testing.assert_allclose(points.mean(axis=0), found.center_m[0], atol=1e-5)
    lengths = np.linalg.norm(points[::2] - points[1::2], axis=1)
    np.testing.assert_allclose(sorted(lengths), [1.5] * 4 + [2.0] * 4 + [4.0] * 4, atol=1e-5)


def test_an_arrow_spans_the_way_of_one_second():
    found = detections(1)
    arrow = by_namespace(detection_markers(found, "base_link", STAMP), "velocities")[0]
    start, end = arrow.points
    assert (end.x - start.x, end.y - start.y, end.z - start.z) == (2.0, -1.0, 0.0)


@pytest.mark.parametrize("velocity", [(0.0, 0.0), (MIN_SPEED_MPS / 2, 0.0), (np.nan, np.nan)])
def test_what_stands_or_has_no_known_velocity_has_no_arrow(velocity):
    array = detection_markers(detections(2, velocity), "base_link", STAMP)
    assert by_namespace(array, "velocities") == []


def test_classes_differ_in_colour_and_colours_never_run_out():
    assert marker_color(0) != marker_color(1)
    assert marker_color(3) == marker_color(13)
    assert marker_color(0, alpha=0.5).a == 0.5


def test_lines_over_an_image_are_one_list_with_a_colour_for_each():
    ends = np.arange(8, dtype=np.float64).reshape(2, 2, 2)
    marker = image_marker(ImageLines(ends_px=ends, labels=np.array([0, 1])), "CAM", STAMP)
    assert (marker.type, marker.action, marker.ns) == (
        ImageMarker.LINE_LIST,
        ImageMarker.ADD,
        "CAM",
    )
    assert marker.header.stamp == STAMP
    assert [(point.x, point.y) for point in marker.points] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert marker.outline_colors == [marker_color(0), marker_color(1)]


def test_an_image_without_boxes_has_an_empty_list_of_lines():
    nothing = ImageLines(ends_px=np.zeros((0, 2, 2)), labels=np.zeros(0, int))
    marker = image_marker(nothing, "CAM", STAMP)
    assert (len(marker.points), len(marker.outline_colors)) == (0, 0)
    assert marker.header.stamp == STAMP
