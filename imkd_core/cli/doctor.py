# SPDX-License-Identifier: Apache-2.0
"""Check this installation, a running graph or a recording, and say how to mend each fault.

Alone it looks at Python, the libraries of the vehicle side, ROS 2 and its message packages,
inference providers, OpenVINO, TensorRT and its engines, shared memory for large images, and model
bundles, each of which is opened and run once as the node would by default.

With --live it listens to the running ROS graph for some seconds, with --bag it looks through a
recording: topics, types, QoS, rates, stamps against the clock, frames and TF, CameraInfo against
the images, fields and units of the radars, what the sensors cover, ego motion, the model, what
runs it, and the load of the machine; with --live also whether the detector runs and what it says.
Give the sensor file, the parameter file, namespace and remappings that the node is started with.

Prints one line per check: 'ok', 'note' (worth a look) or 'FAULT', and '->' with the remedy. The
exit code is 0 without a fault, 1 with one, 2 when it could not look.

Examples:
  imkd doctor
  imkd doctor --model models/imkd_tiny
  imkd doctor --live --sensors my_sensors.yaml --params my.param.yaml
  imkd doctor --live --namespace front --remap '~/input/cam/image:=/cam/image_raw' --seconds 10
  imkd doctor --bag drive --sensors my_sensors.yaml --json out/doctor.json
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imkd_core.cli.checks import check_module
from imkd_core.cli.doctor_table import write_json, write_table
from imkd_core.cli.inference_checks import (
    check_choice,
    check_engines,
    check_openvino,
    check_providers,
    check_tensorrt,
)
from imkd_core.errors import ConfigError, ImkdError
from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.resources import bundles

if TYPE_CHECKING:
    from imkd_ros.doctor.facts import Observation
    from imkd_ros.doctor.wanted import Wanted

#: Python versions that the package supports (REP-2000: Humble 3.10, Jazzy and later 3.12).
OLDEST_PYTHON = (3, 10)

#: module -> what to do when it cannot be imported
CORE_MODULES = {
    "numpy": "pip install numpy",
    "cv2": "pip install opencv-python-headless, or the system package python3-opencv",
    "yaml": "pip install pyyaml, or the system package python3-yaml",
    "onnxruntime": "pip install onnxruntime (no system package exists)",
}

OFFLINE_MODULES = {
    "rosbags": "pip install rosbags (needed to read and write recordings)",
    "torch": "pip install torch (needed to train and export; never on the vehicle)",
}

ROS_MODULES = {
    "rclpy": "source your ROS 2 installation, or run tools/setup.sh for a machine without ROS",
    "sensor_msgs.msg": "install the ROS package sensor_msgs",
    "nav_msgs.msg": "install the ROS package nav_msgs",
    "diagnostic_msgs.msg": "install the ROS package diagnostic_msgs",
    "visualization_msgs.msg": "install the ROS package visualization_msgs",
    "tf2_msgs.msg": "install the ROS package tf2_msgs, or run tools/setup.sh",
    "vision_msgs.msg": "install the ROS package vision_msgs, or run tools/setup.sh",
}

#: Packages that only a full ROS installation brings; the node works without them.
OPTIONAL_ROS_MODULES = {
    "launch_ros": "needed for 'ros2 launch imkd_ros detector.launch.py'; comes with ROS 2",
    "message_filters": "needed for sync.method: message_filters; comes with ROS 2",
}

#: How long --live listens, seconds.
LIVE_SECONDS = 5.0

#: Room in shared memory that six raw 1600 x 900 images in flight need.
SHARED_MEMORY_BYTES = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--model",
        type=Path,
        help="bundle to check (default: every bundle in the installed models folder)",
    )
    parser.add_argument(
        "--engines",
        type=Path,
        help="folder of TensorRT's engines, as model.engine_folder (default: the user's cache)",
    )
    _add_vehicle_arguments(parser)


def _add_vehicle_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--live", action="store_true", help="look at the running ROS graph")
    source.add_argument("--bag", type=Path, help="look through a recording (MCAP or SQLite)")
    parser.add_argument("--seconds", type=float, help="how long to listen with --live (default: 5)")
    parser.add_argument("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    parser.add_argument("--params", type=Path, help="parameter file of the node")
    parser.add_argument("--namespace", help="namespace of the node, as for the launch file")
    parser.add_argument(
        "--remap", action="append", metavar="FROM:=TO", help="as for 'ros2 run'; may be repeated"
    )
    parser.add_argument(
        "--use-sim-time",
        choices=("auto", "true", "false"),
        help="whether the node goes by /clock (default: auto, ask the node or the parameter file)",
    )
    parser.add_argument("--json", type=Path, help="write the table to this file as well")


def run(arguments: argparse.Namespace) -> int:
    """Print the table and return 1 when something is red."""
    if arguments.live or arguments.bag is not None:
        checks, about = _vehicle_checks(arguments)
    else:
        _refuse_vehicle_options(arguments)
        checks, about = list(all_checks(arguments.model, arguments.engines)), "this installation"
    if arguments.json is not None:
        write_json(arguments.json, checks, {"source": about})
    sys.stdout.write(f"{about}\n" if about != "this installation" else "")
    return write_table(checks)


def _refuse_vehicle_options(arguments: argparse.Namespace) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("seconds", "sensors", "params", "namespace", "remap", "use_sim_time")
        if getattr(arguments, name) is not None
    ]
    if given:
        raise ConfigError(f"{', '.join(given)} goes with --live or --bag")


def _vehicle_checks(arguments: argparse.Namespace) -> tuple[list[Check], str]:
    """Look at a graph or a recording; return the table and what was looked at."""
    from imkd_core.cli.vehicle_checks import check_vehicle_model
    from imkd_ros.bridge.parameter_file import read_settings
    from imkd_ros.doctor.judge_topics import rate_hz
    from imkd_ros.doctor.judgement import judge
    from imkd_ros.doctor.wanted import wanted

    overrides = {"model.bundle": arguments.model, "sensors_file": arguments.sensors}
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    settings = read_settings(arguments.params, given)
    want = wanted(
        settings,
        arguments.namespace or "",
        arguments.remap or (),
        _sim_time(arguments.use_sim_time, arguments.params),
    )
    observation = _observe(arguments, want)
    rates = [rate_hz(observation, want, name) for name in want.sensors.cameras]
    checks = judge(observation, want)
    checks += check_vehicle_model(settings, len(want.sensors.cameras), max(rates, default=0.0))
    return checks, f"{observation.source}, {observation.seconds:.1f} s"


def _observe(arguments: argparse.Namespace, want: "Wanted") -> "Observation":
    if arguments.bag is not None:
        if arguments.seconds is not None:
            raise ConfigError("--seconds goes with --live; a recording is read to its end")
        from imkd_ros.doctor.recording import observe_bag

        return observe_bag(arguments.bag, want)
    try:
        from imkd_ros.doctor.live import observe_graph
    except ImportError as error:
        raise ConfigError(f"--live needs ROS 2 ({error}); {ROS_MODULES['rclpy']}") from None
    return observe_graph(want, LIVE_SECONDS if arguments.seconds is None else arguments.seconds)


def _sim_time(word: str | None, parameters: Path | None) -> bool | None:
    """Return whether the node goes by /clock; None where nobody says."""
    if word in ("true", "false"):
        return word == "true"
    if parameters is None:
        return None
    from imkd_ros.bridge.parameter_file import says_sim_time

    return says_sim_time(parameters)


def all_checks(model: Path | None, engine_folder: Path | None = None) -> Iterator[Check]:
    """Yield every check in the order of the table.

    Args:
        model: bundle; those of the models folder when None.
        engine_folder: of TensorRT's engines; the user's cache folder when None.
    """
    yield check_python(sys.version_info[:2])
    for module, remedy in CORE_MODULES.items():
        yield check_module(module, remedy, RED)
    for module, remedy in OFFLINE_MODULES.items():
        yield check_module(module, remedy, AMBER)
    for module, remedy in ROS_MODULES.items():
        yield check_module(module, remedy, RED)
    for module, remedy in OPTIONAL_ROS_MODULES.items():
        yield check_module(module, remedy, AMBER)
    yield check_providers(CORE_MODULES["onnxruntime"])
    yield check_openvino()
    yield check_tensorrt()
    yield check_engines(engine_folder)
    yield check_shared_memory(Path("/dev/shm"))
    yield from check_models(model)


def check_python(version: tuple[int, int]) -> Check:
    """Check the Python version."""
    found = ".".join(str(part) for part in version)
    wanted = ".".join(str(part) for part in OLDEST_PYTHON)
    if version < OLDEST_PYTHON:
        return Check(name="Python", level=RED, found=found, remedy=f"use Python {wanted} or newer")
    return Check(name="Python", level=GREEN, found=found)


def check_shared_memory(folder: Path) -> Check:
    """Check that shared memory can hold the segment of config/fastdds.xml."""
    name = "shared memory"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Check(
            name=name,
            level=AMBER,
            found=f"{folder} is not writable",
            remedy="raw images between processes will be slow; use compressed images",
        )
    total = shutil.disk_usage(folder).total
    found = f"{total >> 20} MiB in {folder}"
    if total <= SHARED_MEMORY_BYTES:
        return Check(
            name=name,
            level=AMBER,
            found=found,
            remedy="too small for raw images with config/fastdds.xml; start the container with "
            "--shm-size=512m, or use compressed images",
        )
    return Check(name=name, level=GREEN, found=found)


def check_models(model: Path | None) -> Iterator[Check]:
    """Check one bundle, or every bundle of the models folder."""
    from imkd_core.runtime.bundle import load_bundle

    if model is None:
        paths = bundles()
        if not paths:
            yield Check(
                name="model",
                level=AMBER,
                found="no bundle came with the package",
                remedy="make one with 'imkd train' and 'imkd export', or name one with --model",
            )
        for path in paths:
            yield from check_models(path)
        return
    try:
        bundle = load_bundle(model)
    except ImkdError as error:
        yield Check(
            name=f"model {model.name}",
            level=RED,
            found=str(error),
            remedy="export the bundle again with 'imkd export', or copy it again whole",
        )
        return
    size = f"{bundle.inputs.image_width_px} x {bundle.inputs.image_height_px} px"
    yield Check(
        name=f"model {bundle.name}",
        level=GREEN,
        found=f"{', '.join(bundle.files)}; {len(bundle.head.class_names)} classes; images {size}",
    )
    yield check_choice(bundle)
