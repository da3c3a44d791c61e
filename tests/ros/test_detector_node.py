# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS: life cycle, parameters, calibration, outputs."""

import shutil
import threading

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import DescribeParameters
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import Marker, MarkerArray

from imkd_ros.bridge.convert_out import from_objects_cloud
from tests.ros.node_bench import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    LATCHED,
    STATIC,
    image,
    transform,
)
from tests.ros.tiny_bundle import CLASSES, write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


def facts(message):
    """What the tiny bundle was given: live cameras, fx / W, radar there or not."""
    first = message.detections[0].bbox.center.position
    return first.x, round(first.y, 4), first.z


# -- outputs


def test_a_frame_in_gives_its_boxes_with_the_reference_stamp(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    stamps = []

    def fed():
        stamps.append(bench.publish_frame())
        return bench.wait(lambda: bench.boxes, 0.15)

    assert any(fed() for _ in range(50)), bench.drops("frames")
    message = bench.boxes[0]
    stamp = message.header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec in stamps
    assert message.header.frame_id == "base_link"
    assert {d.results[0].hypothesis.class_id for d in message.detections} == set(CLASSES)
    assert facts(message) == (2.0, 0.4688, 1.0)


def test_all_outputs_of_a_frame_agree_and_carry_its_stamp(make_bench):
    bench = make_bench()
    bench.start()
    tables, markers, latencies = [], [], []
    bench.listen_to_boxes()
    bench.listen(PointCloud2, "/imkd_detector/output/objects", tables)
    bench.listen(MarkerArray, "/imkd_detector/debug/markers", markers)
    bench.listen(DiagnosticArray, "/imkd_detector/debug/latency", latencies)
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes and tables and markers and latencies)
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in bench.boxes}
    stamp = (tables[-1].header.stamp.sec, tables[-1].header.stamp.nanosec)
    assert bench.wait(lambda: stamp in by_stamp or bench.boxes, 2.0)
    table = from_objects_cloud(tables[-1], CLASSES)
    array = by_stamp[stamp]
    assert [d.results[0].hypothesis.class_id for d in array.detections] == table.names
    assert table.velocity_mps[0, 0] == pytest.approx(0.2, abs=0.02)  # both images grey 51 of 255
    assert markers[-1].markers[0].action == Marker.DELETEALL
    stages = {value.key for value in latencies[-1].status[0].values}
    of_detector = {"preprocess", "inference", "decode"}
    assert stages == {"sync", "queue", "images", *of_detector, "publish", "total"}


def test_a_picture_of_all_cameras_comes_while_somebody_looks(make_bench):
    bench = make_bench(**{"debug.mosaic_tile_width_px": 64})
    bench.start()
    pictures = []
    subscription = bench.listen(Image, "/imkd_detector/debug/image_mosaic", pictures)
    bench.calibrate()
    assert bench.feed(lambda: pictures)
    assert (pictures[0].encoding, pictures[0].step) == ("rgb8", 3 * pictures[0].width)
    assert len(pictures[0].data) == pictures[0].step * pictures[0].height
    assert any(thread.name == "imkd_mosaic" for thread in threading.enumerate())
    bench.peer.destroy_subscription(subscription)
    assert bench.wait(lambda: not bench.node._session._outputs.has_subscriber)
    assert bench.change(DEACTIVATE)
    assert not any(thread.name == "imkd_mosaic" for thread in threading.enumerate())


def test_an_empty_frame_is_published_and_deletes_the_markers_before(make_bench):
    bench = make_bench()
    bench.start()
    markers = []
    bench.listen_to_boxes()
    bench.listen(MarkerArray, "/imkd_detector/debug/markers", markers)
    bench.calibrate()
    assert bench.feed(lambda: markers and len(markers[-1].markers) > 1)
    assert bench.set_parameter("post.score_threshold", 1.0).successful
    assert bench.feed(lambda: bench.boxes and not bench.boxes[-1].detections)
    assert bench.feed(lambda: len(markers[-1].markers) == 1)
    assert markers[-1].markers[0].action == Marker.DELETEALL


def test_class_names_are_latched_for_whoever_comes_late(make_bench):
    bench = make_bench()
    bench.start()
    labels = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.listen(LabelInfo, "/imkd_detector/output/label_info", labels, latched)
    assert bench.wait(lambda: labels)
    assert [item.class_name for item in labels[0].class_map] == list(CLASSES)


def test_nothing_is_inferred_while_nobody_listens_but_health_goes_on(make_bench):
    bench = make_bench()
    bench.start()
    bench.calibrate()
    state = bench.node._session._state
    assert bench.feed(lambda: state.frames_in >= 3)
    assert state.frames_out == 0
    assert bench.wait(lambda: bench.status("frames") is not None)
    subscription = bench.listen_to_boxes()
    assert bench.feed(lambda: state.frames_out >= 2)
    bench.peer.destroy_subscription(subscription)
    assert bench.wait(lambda: not bench.node._session._outputs.has_subscriber)
    bench.wait(lambda: False, 0.3)
    before = state.frames_out, state.frames_in
    assert bench.feed(lambda: state.frames_in >= before[1] + 3)
    assert state.frames_out == before[0]


def test_an_overloaded_node_answers_the_newest_frame_and_counts_the_rest(make_bench, tmp_path):
    slow = write_tiny_bundle(tmp_path / "slow", heavy=12).root
    bench = make_bench(bundle=slow)
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    state = bench.node._session._state
    assert bench.feed(lambda: state.frames_replaced >= 3 and bench.boxes, period_s=0.02)
    assert bench.wait(lambda: state.frames_in == state.frames_out + state.frames_replaced, 30.0)
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in bench.boxes]
    assert stamps == sorted(stamps)


# -- life cycle


def test_all_transitions_several_times_leave_no_thread_and_no_topic_behind(make_bench):
    bench = make_bench()
    bench.listen_to_boxes()
    topics = None
    for _ in range(3):
        assert bench.change(CONFIGURE)
        assert bench.change(ACTIVATE)
        assert bench.state() == "active"
        assert any(t.name == "imkd_inference" for t in threading.enumerate())
        assert bench.change(DEACTIVATE)
        assert not any(t.name == "imkd_inference" for t in threading.enumerate())
        assert bench.change(ACTIVATE)
        assert bench.change(DEACTIVATE)
        assert bench.change(CLEANUP)
        assert bench.state() == "unconfigured"
        own = (len(list(bench.node.subscriptions)), len(list(bench.node.publishers)))
        own += (len(list(bench.node.timers)), len(bench.node._managed_entities))
        topics = topics or own
        assert own == topics
    bench.start()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)


def test_a_node_that_is_not_active_takes_no_sensor_but_learns_its_calibration(make_bench):
    bench = make_bench()
    assert bench.change(CONFIGURE)
    bench.calibrate()
    assert bench.node.count_subscribers("/a/image") == 0
    assert bench.change(ACTIVATE)
    bench.open_topics()
    bench.listen_to_boxes()
    assert bench.feed(lambda: bench.boxes)


def test_reset_is_a_service(make_bench):
    bench = make_bench()
    assert not bench.call(Trigger, "reset", Trigger.Request()).success
    bench.start()
    assert bench.call(Trigger, "reset", Trigger.Request()).success


# -- parameters


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sync.deadline_ms", -3.0, ["sync.deadline_ms", "1 to 5000"]),
        ("model.threads", "two", ["model.threads", "0 to 64"]),
        ("model.precision", "int3", ["model.precision", "'fp32'"]),
        ("model.thread", 2, ["model.thread", "did you mean 'model.threads'"]),
        ("post.class_score_thresholds", "tram=0.3", ["post.class_score_thresholds", "car"]),
        ("sensors_file", "/nowhere.yaml", ["/nowhere.yaml", "sensors_file"]),
        ("model.bundle", "/nowhere", ["/nowhere", "bundle"]),
        ("model.bundle", "/some/net.pth", ["net.pth", "never loaded"]),
        ("sync.dead_after_ms", 20.0, ["dead_after", "deadline"]),
        ("ego_motion.odometry_topic", "/an odometry", ["ego_motion.odometry_topic", "topic name"]),
    ],
)
def test_a_wrong_parameter_refuses_configure_by_name(make_bench, capfd, name, value, words):
    bench = make_bench(**{name: value})
    assert not bench.change(CONFIGURE)
    assert bench.state() == "unconfigured"
    log = capfd.readouterr().err
    assert all(word in log for word in words), log


def test_a_refused_parameter_can_be_mended_without_a_restart(make_bench):
    bench = make_bench(**{"sync.deadline_ms": -3.0})
    assert not bench.change(CONFIGURE)
    assert bench.set_parameter("sync.deadline_ms", 80.0).successful
    assert bench.change(CONFIGURE)


def test_thresholds_change_at_run_time_and_wrong_ones_do_not(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)
    assert len(bench.boxes[-1].detections) == 2
    assert bench.set_parameter("post.class_score_thresholds", "pedestrian=0.6").successful
    assert bench.feed(lambda: len(bench.boxes[-1].detections) == 1)
    refused = bench.set_parameter("post.class_score_thresholds", "tram=0.6")
    assert not refused.successful
    assert "tram" in refused.reason
    assert "car" in refused.reason
    refused = bench.set_parameter("post.score_threshold", 7.0)
    assert not refused.successful
    assert "'post.score_threshold' must be a number from -1 to 1" in refused.reason
    assert "'post.max_boxes' must be a whole" in bench.set_parameter("post.max_boxes", "x").reason
    assert "did you mean 'post.max_boxes'" in bench.set_parameter("post.max_box", 1).reason
    assert bench.set_parameter("diagnostics.latency_warn_ms", 150).successful  # whole, not 150.0
    assert bench.set_parameter("post.max_boxes", 1).successful


def test_what_configure_reads_is_fixed_until_cleanup_and_says_so(make_bench):
    bench = make_bench()
    assert bench.change(CONFIGURE)
    refused = bench.set_parameter("sync.deadline_ms", 80.0)
    assert not refused.successful
    assert "clean up" in refused.reason
    assert bench.change(CLEANUP)
    assert bench.set_parameter("sync.deadline_ms", 80.0).successful


def test_descriptors_tell_the_ranges(make_bench):
    bench = make_bench()
    names = ["sync.deadline_ms", "model.threads", "model.precision"]
    answer = bench.call(
        DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names)
    )
    deadline, threads, precision = answer.descriptors
    assert deadline.floating_point_range[0].to_value == 5000.0
    assert threads.integer_range[0].from_value == 0
    assert "fp16" in precision.additional_constraints


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_bundle_refuses_configure_and_names_the_file(
    make_bench, bundle, tmp_path, capfd, damage
):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    model = copy / "model.onnx"
    data = model.read_bytes()
    model.write_bytes(data[: len(data) // 2] if damage == "truncated" else data[:-1] + b"?")
    if damage == "missing":
        model.unlink()
    bench = make_bench(bundle=copy)
    assert not bench.change(CONFIGURE)
    log = capfd.readouterr().err
    assert "model.onnx" in log
    assert "again" in log
    shutil.copyfile(bundle / "model.onnx", model)
    assert bench.change(CONFIGURE)


# -- calibration


def test_calibration_that_comes_late_is_waited_for_and_said(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    assert bench.feed(lambda: bench.drops("frames").get("uncalibrated", 0) >= 2)
    assert bench.feed(lambda: bench.level("calibration") == 2)
    assert "CameraInfo on /a/info" in bench.status("calibration").message
    assert not bench.boxes
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes, seconds=3.0)


def test_a_missing_transform_is_named_with_what_to_start(make_bench):
    bench = make_bench()
    bench.start()
    bench.calibrate(transforms=STATIC[:1])
    text = {}

    def said():
        status = bench.status("CAM_B")
        text["it"] = status.message if status else ""
        return "base_link" in text["it"] and "cam_b" in text["it"] and "start" in text["it"]

    assert bench.feed(said), text
    assert bench.level("frames") == 1
    assert "CAM_B" in bench.status("frames").message


def test_a_camera_without_calibration_is_left_out_and_the_others_go_on(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate(transforms=(STATIC[0], STATIC[2]))
    assert bench.feed(lambda: bench.boxes)
    assert facts(bench.boxes[-1])[0] == 1.0


def test_changed_intrinsics_hold_from_the_next_frame_on(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)
    bench.calibrate(focal_px=80.0)
    bench.wait(lambda: False, 0.2)
    bench.boxes.clear()
    assert bench.feed(lambda: bench.boxes)
    assert facts(bench.boxes[0])[1] == pytest.approx(80 / 128)


def test_changed_extrinsics_rebuild_the_table_once_and_log_one_line(make_bench, capfd):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: len(bench.boxes) >= 2)
    detector = bench.node._session._detector
    builds = detector.geometry_builds
    moved = transform("base_link", "cam_a", xyz=(1.5, 0.2, 1.5), wxyz=(0.5, -0.5, 0.5, -0.5))
    capfd.readouterr()
    bench.publisher(TFMessage, "/tf_static", LATCHED).publish(TFMessage(transforms=[moved]))
    assert bench.feed(lambda: detector.geometry_builds == builds + 1)
    assert bench.feed(lambda: len(bench.boxes) >= 6)
    assert detector.geometry_builds == builds + 1
    assert bench.wait(lambda: "rig rebuilt" in capfd.readouterr().err)


# -- sensors that fail


def test_a_dead_camera_is_masked_and_the_output_continues(make_bench):
    bench = make_bench(**{"diagnostics.sensor_timeout_sec": 0.4, "sync.dead_after_ms": 300.0})
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes and facts(bench.boxes[-1])[0] == 2.0)
    count = len(bench.boxes)
    assert bench.feed(
        lambda: len(bench.boxes) > count + 3 and facts(bench.boxes[-1])[0] == 1.0,
        skip=("CAM_B",),
    )
    assert bench.feed(lambda: bench.level("CAM_B") == 1, skip=("CAM_B",))
    assert "/b/image/compressed" in bench.status("CAM_B").message
    assert bench.feed(lambda: facts(bench.boxes[-1])[0] == 2.0)
    assert bench.feed(lambda: bench.level("frames") == 0)


def test_without_any_camera_the_diagnostics_are_an_error(make_bench):
    bench = make_bench(**{"diagnostics.sensor_timeout_sec": 0.3})
    bench.start()
    bench.calibrate()
    assert bench.feed(lambda: bench.level("frames") == 2, skip=("CAM_A", "CAM_B"))
    assert "no camera" in bench.status("frames").message


def test_a_volatile_publisher_of_static_transforms_is_explained(make_bench):
    bench = make_bench()
    bench.start()
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    bench.peer.create_publisher(TFMessage, "/tf_static", 10, event_callbacks=quiet)
    assert bench.wait(lambda: bench.status("qos tf_static") is not None)
    assert "TRANSIENT_LOCAL" in bench.status("qos tf_static").message


def test_auto_takes_the_transport_that_delivers(make_bench):
    sensors = {
        "cameras": {"CAM_A": {"image": "/a/image", "camera_info": "/a/info"}},
        "radars": {"RADAR": {"points": "/radar/points", "fields": {"vx": "vx", "vy": "vy"}}},
    }
    bench = make_bench(sensors=sensors)
    assert bench.change(CONFIGURE)
    assert bench.change(ACTIVATE)
    publisher = bench.publisher(Image, "/a/image")
    assert bench.wait(lambda: publisher.get_subscription_count() > 0)
    assert bench.node.count_subscribers("/a/image/compressed") == 1
    publisher.publish(image(bench.now_ns()))
    assert bench.wait(lambda: bench.node.count_subscribers("/a/image/compressed") == 0)
    assert bench.node.count_subscribers("/a/image") == 1
    assert bench.change(DEACTIVATE)
    assert bench.node.count_subscribers("/a/image") == 0
