# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS: stamps that lie, cameras without calibration, frames that do not come."""

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from tests.ros.node_bench import LATCHED, STATIC, compressed, image
from tests.ros.status_bench import feeds, stamps_of
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

MS = 1_000_000
CAMERAS, ALL = ("CAM_A", "CAM_B"), ("CAM_A", "CAM_B", "RADAR")


@pytest.fixture
def make_bench(make_calibrated_bench):
    return make_calibrated_bench


@pytest.fixture
def make_uncalibrated(make_bench, monkeypatch):
    """Make benches that are started, and whose cameras never say their CameraInfo."""

    def only_transforms(bench):
        static = bench.publisher(TFMessage, "/tf_static", LATCHED)
        static.publish(TFMessage(transforms=list(STATIC)))

    monkeypatch.setattr("tests.ros.node_bench.Bench.calibrate", only_transforms)
    return make_bench


def test_without_any_camera_info_the_radars_drive_and_the_topics_are_named(make_uncalibrated):
    bench = make_uncalibrated()
    bench.listen_to_boxes()
    status = feeds(bench, "radar_only")
    assert status.missing == dict.fromkeys(CAMERAS, "uncalibrated")
    assert status.values["used"] == "RADAR"
    assert bench.wait(lambda: status.stamp_ns in stamps_of(bench))
    assert bench.feed(lambda: bench.level("calibration") == 1)
    assert "CAM_A, CAM_B" in bench.status("calibration").message
    for name, topic in zip(CAMERAS, ("/a/info", "/b/info"), strict=True):
        assert bench.feed(lambda name=name: bench.level(name) == 1)
        assert f"no usable CameraInfo on {topic}" in bench.status(name).message
    assert bench.feed(lambda: bench.level("frames") == 2)


def test_a_camera_whose_stamps_go_back_a_second_is_left_out_alone(make_bench):
    bench = make_bench()
    bench.listen_to_boxes()
    feeds(bench, "full")
    begin_ns, sent = bench.now_ns(), []

    def lies():
        stamp_ns = bench.publish_frame(skip=("CAM_B",))
        sent.append(stamp_ns)
        assert bench.wait(lambda: stamp_ns in stamps_of(bench))
        lie = compressed(stamp_ns - 1000 * MS)
        bench.publisher(CompressedImage, "/b/image/compressed").publish(lie)
        bench.wait(lambda: False, 0.1)

    for _ in range(15):
        lies()
    answered = [stamp for stamp in stamps_of(bench) if stamp >= begin_ns]
    assert [stamp for stamp in answered if stamp in sent] == sent
    assert min(answered) >= begin_ns
    assert bench.node._session._pipeline._sync.jumps == 0
    assert bench.drops("CAM_B")["stamp behind"] >= 10
    assert bench.wait(lambda: bench.level("CAM_B") == 1)
    assert "synchronise the clocks" in bench.status("CAM_B").message
    assert {told.missing.get("CAM_A") for told in bench.told if told.stamp_ns in sent} == {None}
    feeds(bench, "full")


def test_every_frame_that_a_reset_forgets_is_told(make_bench):
    bench = make_bench(**{"sync.deadline_ms": 900.0})
    bench.listen_to_boxes()
    feeds(bench, "full")
    pipeline = bench.node._session._pipeline
    told = "no frame: a reset forgot its readings"

    def forgets():
        """Reset while a frame waits; whether it did: a busy machine may be too late for it."""
        bench.wait(lambda: False, 0.3)
        stamp_ns = bench.now_ns()
        bench.publisher(Image, "/a/image").publish(image(stamp_ns))
        bench.wait(lambda: pipeline._sync.pending, 1.0)
        assert bench.call(Trigger, "reset", Trigger.Request()).success
        assert bench.wait(lambda: stamp_ns in {t.stamp_ns for t in bench.told})
        return (stamp_ns, told) in {(t.stamp_ns, t.outcome) for t in bench.told}

    assert any(forgets() for _ in range(5))
    feeds(bench, "full")


@pytest.mark.parametrize(("needs_it", "level"), [(True, 2), (False, 1)])
def test_ego_motion_that_stays_away_is_an_error_where_boxes_depend_on_it(
    make_bench, tmp_path, needs_it, level
):
    sweeps = write_tiny_bundle(tmp_path / "sweeps", radar_sweeps=3 if needs_it else 1)
    bench = make_bench(bundle=sweeps.root, **{"ego_motion.odometry_topic": "/odometry"})
    bench.listen_to_boxes()
    apart = {name: 20 * MS * number for number, name in enumerate(ALL)}

    def lacks():
        stamp_ns = bench.now_ns()
        for name in ALL:
            others = [other for other in ALL if other != name]
            bench.publish_frame(stamp_ns - apart[name], skip=others)
        bench.wait(lambda: False, 0.1)
        return bench.level("ego_motion")

    assert any(lacks() == 1 for _ in range(100))
    for _ in range(25):
        lacks()
    assert any(lacks() == level for _ in range(75))
    message = bench.status("ego_motion").message
    assert "start the odometry" in message
    assert ("older scans" in message) == needs_it
