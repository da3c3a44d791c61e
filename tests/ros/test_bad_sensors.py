# SPDX-License-Identifier: Apache-2.0
"""A camera that sends the same picture again and again: told and masked, in node and replay."""

import pytest

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.health.faults import FROZEN
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.replay import Replay
from tests.core.data.made_up import write_dataroot
from tests.ros.tiny_bundle import write_tiny_bundle

TOPIC = "/sensing/cam_front/image/compressed"
FRAMES = 8


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture(scope="module")
def frozen_bag(tmp_path_factory):
    """A drive whose front camera shows its first picture to the end, under new stamps."""
    folder = tmp_path_factory.mktemp("frozen")
    drive = write_dataroot(folder / "root", frames=FRAMES, lidar_points=10)
    nuscenes = NuScenes(drive.root)
    with BagWriter(folder / "good") as bag:
        write_scene(nuscenes, nuscenes.scenes[0], bag, SceneOptions())
    first = None
    with open_bag(folder / "good") as bag, BagWriter(folder / "frozen") as copy:
        for message in bag.messages():
            cdr = bytes(message.cdr)
            if message.topic == TOPIC:
                first = first or cdr
                cdr = cdr[:12] + first[12:]  # the stamp stands in bytes 4 to 12
            copy.write(message.topic, message.type_name, message.stamp_ns, cdr)
    return folder / "frozen"


@pytest.mark.parametrize("masks", [True, False])
def test_the_replay_tells_a_frozen_camera_and_masks_it_by_parameter(frozen_bag, bundle, masks):
    overrides = {"model.bundle": str(bundle), "health.mask_bad_sensors": masks}
    told, used = [], []
    with Replay(read_settings(None, overrides)) as replay:
        for _ in range(2):  # the second bag begins anew
            told.clear(), used.clear()
            for frame, _ in replay.run(frozen_bag):
                told.append({one.fault for one in replay.findings if one.sensor == "CAM_FRONT"})
                used.append("CAM_FRONT" in frame.cameras)
        counted = replay.counters.get("CAM_FRONT", {}).get(FROZEN, 0)
    assert told == [set()] * 4 + [{FROZEN}] * 4
    assert used == [True] * 4 + [not masks] * 4
    assert counted == (4 if masks else 0)


@pytest.mark.ros
@pytest.mark.usefixtures("ros_environment")
def test_the_node_tells_a_frozen_camera_masks_it_and_takes_it_back(tmp_path, bundle):
    pytest.importorskip("rclpy")
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import Image

    from tests.ros.node_bench import benches, image, to_time

    with benches(tmp_path, bundle=bundle) as make:
        bench = make()
        bench.start()
        bench.listen_to_boxes()
        bench.calibrate()
        old = image(bench.now_ns())

        def feed_frozen(condition):
            def publish_and_look():
                stamp_ns = bench.publish_frame(skip=("CAM_A",))
                old.header.stamp = to_time(stamp_ns)
                bench.publisher(Image, "/a/image").publish(old)
                return bench.wait(condition, 0.1)

            return any(publish_and_look() for _ in range(80))

        def live_cameras():
            return bench.boxes[-1].detections[0].bbox.center.position.x

        assert feed_frozen(lambda: bench.level("CAM_A") == 1)
        assert "the same measurement again and again" in bench.status("CAM_A").message
        assert feed_frozen(lambda: bench.boxes and live_cameras() == 1)
        assert bench.level("CAM_B") == 0
        request = SetParameters.Request(
            parameters=[Parameter("health.mask_bad_sensors", value=False).to_parameter_msg()]
        )
        assert bench.call(SetParameters, "set_parameters", request).results[0].successful
        assert feed_frozen(lambda: live_cameras() == 2)
        assert bench.feed(lambda: bench.level("CAM_A") == 0)
