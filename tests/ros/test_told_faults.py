# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of sensors that send and are of no use, over the real middleware."""

import pytest

pytest.importorskip("rclpy")

from rclpy.event_handler import SubscriptionEventCallbacks
from sensor_msgs.msg import CompressedImage, PointCloud2
from vision_msgs.msg import Detection3DArray

from tests.ros.node_bench import LATCHED, compressed, scan
from tests.ros.test_bad_input import with_impossible_table

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

SECOND = 1_000_000_000


def is_well(bench):
    return bench.level("frames") == 0 and "all sensors" in bench.status("frames").message


def test_a_radar_that_is_late_for_every_frame_is_told_and_its_return_too(make_calibrated_bench):
    bench = make_calibrated_bench()
    bench.listen_to_boxes()
    assert bench.feed(lambda: is_well(bench))
    radar = bench.publisher(PointCloud2, "/radar/points")

    def is_told():
        radar.publish(scan(bench.now_ns() - 2 * SECOND // 5))
        words = bench.status("RADAR").message  # of stamps out of order, until these have caught up
        return bench.level("RADAR") == 1 and "left out" in words and "look at its driver" in words

    assert bench.feed(is_told, skip=("RADAR",))
    assert bench.feed(lambda: "running without RADAR" in bench.status("frames").message)
    assert bench.feed(lambda: is_well(bench))


def test_a_camera_none_of_whose_images_can_be_decoded_is_not_said_to_be_in_use(
    make_calibrated_bench,
):
    bench = make_calibrated_bench()
    bench.listen_to_boxes()
    assert bench.feed(lambda: is_well(bench))
    camera = bench.publisher(CompressedImage, "/b/image/compressed")

    def is_told():
        camera.publish(with_impossible_table(compressed(bench.now_ns())))
        return bench.level("frames") == 1

    assert bench.feed(is_told, skip=("CAM_B",))
    assert "running without CAM_B (corrupt)" in bench.status("frames").message
    assert bench.level("CAM_B") == 1
    assert bench.feed(lambda: is_well(bench))


def test_a_rig_of_another_clock_is_told_so_and_the_latency_asks_for_no_threads(
    make_calibrated_bench,
):
    bench = make_calibrated_bench()
    bench.listen_to_boxes()

    def is_told():
        bench.publish_frame(bench.now_ns() - 37 * SECOND)
        return bench.level("latency") == 1 and bench.level("RADAR") == 1

    assert bench.wait(is_told)
    for name in ("CAM_A", "CAM_B", "RADAR"):
        assert "stale clock: its stamps are 37.0 s old" in bench.status(name).message
    assert "threads" not in bench.status("latency").message


def test_a_listener_that_does_not_fit_is_forgotten_when_it_went(make_calibrated_bench):
    bench = make_calibrated_bench()
    name = "qos ~/output/detections"
    topic = "/imkd_detector/output/detections"
    wrong = bench.peer.create_subscription(
        Detection3DArray,
        topic,
        print,
        LATCHED,
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
    )
    assert bench.wait(lambda: bench.level(name) == 1)
    assert not bench.wait(lambda: bench.level(name) == 0, 5.0)
    bench.peer.destroy_subscription(wrong)
    assert bench.wait(lambda: bench.level(name) == 0)


def test_without_a_listener_a_black_camera_is_not_said_to_be_looked_at(make_calibrated_bench):
    bench = make_calibrated_bench()
    assert bench.feed(lambda: bench.level("CAM_A") == 0, grey=0)
    assert "pictures are not looked at: nobody listens" in bench.status("CAM_A").message
    bench.listen_to_boxes()
    assert bench.feed(lambda: bench.level("CAM_A") == 1, grey=0)
    assert "black" in bench.status("CAM_A").message
