# SPDX-License-Identifier: Apache-2.0
"""A camera whose transform is that of its housing: told by replay and node, and still used."""

import json

import pytest

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.health.faults import WRONG_AXES
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.replay import Replay
from tests.core.data.made_up import write_dataroot
from tests.ros.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture(scope="module")
def loose_bag(tmp_path_factory):
    """A drive whose front camera has the axes of its housing: x forward, z up."""
    folder = tmp_path_factory.mktemp("loose")
    root = write_dataroot(folder / "root", frames=2, lidar_points=10).root
    (table,) = root.glob("v1.0-*/calibrated_sensor.json")
    records = json.loads(table.read_text("utf-8"))
    sensors = json.loads(table.with_name("sensor.json").read_text("utf-8"))
    (token,) = (one["token"] for one in sensors if one["channel"] == "CAM_FRONT")
    for record in records:
        if record["sensor_token"] == token:
            record["rotation"] = [1.0, 0.0, 0.0, 0.0]
    table.write_text(json.dumps(records), "utf-8")
    nuscenes = NuScenes(root)
    with BagWriter(folder / "bag") as bag:
        write_scene(nuscenes, nuscenes.scenes[0], bag, SceneOptions())
    return folder / "bag"


@pytest.mark.parametrize("watches", [True, False])
def test_the_replay_tells_it_by_parameter_and_leaves_nothing_out(loose_bag, bundle, watches):
    overrides = {"model.bundle": str(bundle), "health.watch_calibration": watches}
    with Replay(read_settings(None, overrides)) as replay:
        outcomes = list(replay.outcomes(loose_bag))
    assert len(outcomes) == 2
    for outcome in outcomes:
        told = [one for one in outcome.findings if one.fault == WRONG_AXES]
        assert [one.sensor for one in told] == (["CAM_FRONT"] if watches else [])
        assert all("that of its housing" in one.remedy for one in told)
        assert "CAM_FRONT" in outcome.status.used
        assert "CAM_FRONT" in outcome.frame.cameras


@pytest.mark.ros
@pytest.mark.usefixtures("ros_environment")
def test_the_node_tells_it_uses_the_camera_and_is_silent_when_told_to(tmp_path, bundle):
    pytest.importorskip("rclpy")
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    from tests.ros.node_bench import STATIC, benches, transform

    with benches(tmp_path, bundle=bundle) as make:
        bench = make()
        bench.start()
        bench.listen_to_boxes()
        loose = transform("base_link", "cam_a", xyz=(1.5, 0.0, 1.5))
        bench.calibrate(transforms=(loose, *STATIC[1:]))
        assert bench.feed(lambda: bench.level("CAM_A") == 1)
        message = bench.status("CAM_A").message
        assert "wrong axes: its frame is that of its housing" in message
        assert message.endswith("(still used)")
        assert bench.boxes[-1].detections[0].bbox.center.position.x == 2
        assert bench.level("CAM_B") == 0
        switched_off = Parameter("health.watch_calibration", value=False).to_parameter_msg()
        request = SetParameters.Request(parameters=[switched_off])
        assert bench.call(SetParameters, "set_parameters", request).results[0].successful
        assert bench.feed(lambda: bench.level("CAM_A") == 0)
