# SPDX-License-Identifier: Apache-2.0
"""Check this installation and say how to mend each fault.

Looks at Python, the libraries of the vehicle side, ROS 2 and its message packages, inference
providers, OpenVINO, TensorRT and its engines, shared memory for large images, and model bundles,
each of which is opened and run once as the node would by default. Prints one line per check; the
exit code is 0 when nothing is red and 1 otherwise.

Examples:
  imkd doctor
  imkd doctor --model models/imkd_tiny
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from imkd_core.cli.checks import AMBER, GREEN, RED, Check, check_module
from imkd_core.cli.inference_checks import (
    check_choice,
    check_engines,
    check_openvino,
    check_providers,
    check_tensorrt,
)
from imkd_core.errors import ImkdError
from imkd_core.resources import bundles

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


def run(arguments: argparse.Namespace) -> int:
    """Print the table and return 1 when something is red."""
    checks = list(all_checks(arguments.model, arguments.engines))
    width = max(len(check.name) for check in checks)
    for check in checks:
        sys.stdout.write(f"{check.level:<6} {check.name:<{width}}  {check.found}\n")
        if check.remedy and check.level != GREEN:
            sys.stdout.write(f"{'':<6} {'':<{width}}  -> {check.remedy}\n")
    faults = sum(check.level == RED for check in checks)
    sys.stdout.write(f"{len(checks)} checks, {faults} faults\n")
    return 1 if faults else 0


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
