# SPDX-License-Identifier: Apache-2.0
"""Boxes over each camera's images, over real DDS: under the image's own stamp, while one looks."""

import copy

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image
from visualization_msgs.msg import ImageMarker

from imkd_core.drawing import class_color
from imkd_ros.node import outputs
from tests.ros.node_bench import HEIGHT, SENSORS, WIDTH, benches, image, to_time

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

TOPIC = "/imkd_detector/debug/annotations/"


@pytest.fixture
def bench(tmp_path, bundle, ros_environment):
    sensors = copy.deepcopy(SENSORS)
    sensors["cameras"]["CAM_B"]["stamp_offset_ms"] = -15.0
    with benches(tmp_path, bundle=bundle, sensors=sensors) as make:
        bench = make()
        bench.start()
        bench.calibrate()
        yield bench


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def feed(bench, condition):
    """Publish frames until a condition holds; return their stamps, none without success."""
    stamps = []
    for _ in range(60):
        stamps.append(bench.publish_frame())
        if bench.wait(condition, 0.1):
            return stamps
    return []


def test_lines_come_under_the_stamp_in_the_images_header_and_lie_over_the_boxes(bench):
    over_a, over_b = [], []
    bench.listen(ImageMarker, f"{TOPIC}CAM_A", over_a)
    bench.listen(ImageMarker, f"{TOPIC}CAM_B", over_b)
    stamps = feed(bench, lambda: over_a and over_b)
    assert {stamp_of(message) for message in (*over_a, *over_b)} <= set(stamps)
    seen = over_a[-1]
    assert (seen.type, seen.action, seen.ns) == (ImageMarker.LINE_LIST, ImageMarker.ADD, "CAM_A")
    assert len(seen.points) == 2 * len(seen.outline_colors) > 0
    ends = np.array([(point.x, point.y) for point in seen.points])
    assert (ends >= -0.5).all()
    assert (ends <= (WIDTH - 0.5, HEIGHT - 0.5)).all()
    color = tuple(round(value / 255, 3) for value in class_color(1))
    of_box = [tuple(round(v, 3) for v in (c.r, c.g, c.b)) == color for c in seen.outline_colors]
    low, high = (edge(ends[np.repeat(of_box, 2)], axis=0) for edge in (np.min, np.max))
    center = (63.5, 31.5 + 60 * 1.5 / 3.5)  # (5, 0, 0), from a camera at (1.5, 0, 1.5)
    assert (low < center).all()
    assert (high > center).all()


def test_only_the_camera_that_somebody_looks_at_costs_anything(bench, monkeypatch):
    made = []

    def counted(*arguments):
        made.append(arguments)
        return original(*arguments)

    original = outputs.image_lines
    monkeypatch.setattr(outputs, "image_lines", counted)
    bench.listen_to_boxes()
    assert bench.feed(lambda: len(bench.boxes) > 2)
    assert made == []
    over_a = []
    bench.listen(ImageMarker, f"{TOPIC}CAM_A", over_a)
    assert bench.feed(lambda: len(over_a) > 2)
    rig = bench.node._session._pipeline.rig
    assert {id(camera) for _, camera, _ in made} == {id(rig.cameras["CAM_A"])}


def test_an_image_that_was_left_out_as_bad_has_lines_too_so_that_a_viewer_goes_on(bench):
    over_a = []
    bench.listen(ImageMarker, f"{TOPIC}CAM_A", over_a)
    old = image(bench.now_ns())
    sent = []

    def masked_and_annotated():
        stamp_ns = bench.publish_frame(skip=("CAM_A",))
        sent.append(stamp_ns)
        old.header.stamp = to_time(stamp_ns)
        bench.publisher(Image, "/a/image").publish(old)
        bench.wait(lambda: over_a and stamp_of(over_a[-1]) == stamp_ns, 0.2)
        return "CAM_A" in bench.node._session._watch.masked

    assert any(masked_and_annotated() for _ in range(60))
    masked_from = len(sent)
    for _ in range(3):
        masked_and_annotated()
    assert bench.wait(lambda: over_a and stamp_of(over_a[-1]) in sent[masked_from:])
