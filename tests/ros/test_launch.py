# SPDX-License-Identifier: Apache-2.0
"""The launch file, run for real where `launch_ros` is installed.

Its executables are looked for in a prefix of this test's own, whose scripts run this checkout.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS 2 installation")

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header, make_transform

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

START_NS = 1_700_000_000_000_000_000
IMAGE_TOPIC = "/sensing/cam_front/image/compressed"

LAUNCHER = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService(argv=arguments)
service.include_launch_description(
    IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments=[tuple(item.split(":=", 1)) for item in arguments],
    )
)
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory, project_root):
    """An installation of the package, made of links and scripts."""
    root = tmp_path_factory.mktemp("prefix")
    index = root / "share" / "ament_index" / "resource_index" / "packages"
    share, scripts = root / "share" / "imkd_ros", root / "lib" / "imkd_ros"
    for folder in (index, share / "models", scripts):
        folder.mkdir(parents=True)
    (index / "imkd_ros").touch()
    for name in ("config", "launch", "package.xml"):
        (share / name).symlink_to(project_root / name)
    for name, module in (("detector_node", "detector_node"), ("bag_player", "player")):
        script = scripts / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(project_root)!r})\n"
            f"from imkd_ros.{module} import main\nsys.exit(main())\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bag") / "drive"
    with BagWriter(path) as writer:
        for step in range(10):
            stamp_ns = START_NS + step * 100_000_000
            moved = [make_transform(stamp_ns, "odom", "base_link", np.eye(4))]
            message = make("tf2_msgs/msg/TFMessage", transforms=moved)
            writer.write("/tf", "tf2_msgs/msg/TFMessage", stamp_ns, message)
            picture = make(
                "sensor_msgs/msg/CompressedImage",
                header=make_header(stamp_ns, "cam_front_optical_frame"),
                format="jpeg",
                data=np.zeros(100, np.uint8),
            )
            writer.write(IMAGE_TOPIC, "sensor_msgs/msg/CompressedImage", stamp_ns, picture)
    return path


@contextmanager
def launched(prefix, project_root, tmp_path, *arguments):
    """Run the launch file in a session of its own; nothing of it survives the block."""
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{prefix}:{os.environ.get('AMENT_PREFIX_PATH', sys.prefix)}",
        "PYTHONPATH": f"{project_root}:{os.environ.get('PYTHONPATH', '')}",
    }
    log = (tmp_path / "launch.log").open("w+", encoding="utf-8")
    launch_file = str(project_root / "launch" / "detector.launch.py")
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, launch_file, *arguments],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process, lambda: (tmp_path / "launch.log").read_text(encoding="utf-8")
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.close()


def wait_for(text, log, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end and text not in log():
        time.sleep(0.1)
    assert text in log(), log()


def process_ids(log, name):
    return [
        int(line.split("pid [")[1].split("]")[0])
        for line in log().splitlines()
        if f"[{name}" in line and "process started with pid" in line
    ]


def is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_arguments_the_model_of_the_package_runs(prefix, project_root, tmp_path):
    with launched(prefix, project_root, tmp_path) as (process, log):
        wait_for("configured: model 'imkd_tiny'", log)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) in (0, 1)
    assert not any(is_alive(i) for i in process_ids(log, "detector_node"))


def test_the_node_configures_and_activates_itself_and_ends_with_sigint(
    prefix, project_root, tmp_path, bundle
):
    arguments = (f"model:={bundle}", "namespace:=front", "use_sim_time:=false")
    with launched(prefix, project_root, tmp_path, *arguments) as (process, log):
        wait_for("configured: model 'tiny'", log)
        wait_for("no message yet", log)  # it is active, and misses its sensors
        assert "[front.imkd_detector]" in log()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) in (0, 1)
    assert "Traceback" not in log()
    assert not any(is_alive(i) for i in process_ids(log, "detector_node"))


def test_a_bag_is_played_once_the_node_is_active_and_its_end_ends_all(
    prefix, project_root, tmp_path, bundle, bag
):
    arguments = (f"model:={bundle}", f"bag:={bag}", "rate:=2.0")
    with launched(prefix, project_root, tmp_path, *arguments) as (process, log):
        assert process.wait(60) == 0, log()
    text = log()
    assert text.index("configured: model") < text.index("[bag_player-2]: process started")
    assert f'"{IMAGE_TOPIC}": 10' in text
    assert "bad image" in text  # the made-up pictures are none: the node heard them
    started = process_ids(log, "detector_node") + process_ids(log, "bag_player")
    assert len(started) == 2
    assert not any(is_alive(i) for i in started)


@pytest.mark.parametrize("victim", ["detector_node", "bag_player"])
def test_when_one_dies_none_is_left(prefix, project_root, tmp_path, bundle, bag, victim):
    arguments = (f"model:={bundle}", f"bag:={bag}", "loop:=0")
    with launched(prefix, project_root, tmp_path, *arguments) as (process, log):
        wait_for("[bag_player-2]: process started", log)
        os.kill(process_ids(log, victim)[0], signal.SIGKILL)
        process.wait(30)
    started = process_ids(log, "detector_node") + process_ids(log, "bag_player")
    assert not any(is_alive(i) for i in started)


def test_a_refused_configure_ends_everything_with_the_reason(
    prefix, project_root, tmp_path, bundle
):
    wrong = tmp_path / "wrong.param.yaml"
    wrong.write_text("/**:\n  ros__parameters:\n    model.threads: -1\n", encoding="utf-8")
    with launched(prefix, project_root, tmp_path, f"model:={bundle}", f"params:={wrong}") as (
        process,
        log,
    ):
        assert process.wait(30) == 1
    assert "'model.threads' must be a whole number from 0 to 64" in log()
    assert "refused to configure" in log()
    assert not any(is_alive(i) for i in process_ids(log, "detector_node"))


def test_with_respawn_a_node_that_is_killed_comes_back_and_ends_with_the_launch(
    prefix, project_root, tmp_path, bundle
):
    arguments = (f"model:={bundle}", "namespace:=front", "respawn:=true")
    with launched(prefix, project_root, tmp_path, *arguments) as (process, log):
        wait_for("keeper: active", log)
        (keeper,) = process_ids(log, "keeper")
        children = Path(f"/proc/{keeper}/task/{keeper}/children")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        wait_for("it is started again", log)
        wait_for("(start 2)", log)
        end = time.monotonic() + 60
        while log().count("keeper: active") < 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert log().count("keeper: active") == 2
        second = int(children.read_text().split()[0])
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) in (0, 1)
    assert not any(is_alive(i) for i in (keeper, second))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("rviz:=perhaps", "true, false"),
        ("respawn:=perhaps", "true, false"),
        ("sensors:=/no/where", "not exist"),
        ("bag:=/etc", "bag"),
        ("dds_profile:=/no/where.xml", "auto, none or a file"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(
    prefix, project_root, tmp_path, bundle, argument, words
):
    with launched(prefix, project_root, tmp_path, f"model:={bundle}", argument) as (process, log):
        assert process.wait(30) == 1
    assert argument.split(":=", 1)[0] in log()
    assert words in log()
