# SPDX-License-Identifier: Apache-2.0
"""The walls, tried: a fresh interpreter that refuses packages imports every vehicle module."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAINING_SIDE = ("imkd_core.data", "imkd_core.model", "imkd_core.training", "imkd_core.export")
TRAINING_PACKAGES = (
    "torch", "jaxtyping", "beartype", "onnx", "onnxscript", "safetensors", "scipy", "nuscenes",
)  # fmt: skip
# Imported where a backend, a bag or a report is made, not when the module is.
LATE_PACKAGES = ("onnxruntime", "tensorrt", "tensorrt_rtx")
ROS_PACKAGES = (
    "rclpy", "rpyutils", "ament_index_python", "launch", "launch_ros", "message_filters",
    "sensor_msgs_py", "tf2_ros", "builtin_interfaces", "rcl_interfaces", "std_srvs",
    "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "nav_msgs", "rosgraph_msgs",
    "sensor_msgs", "std_msgs", "tf2_msgs", "vision_msgs", "visualization_msgs", "imkd_ros",
)  # fmt: skip

CHILD = """
import importlib, json, sys

class Refuse:
    def __init__(self, names):
        self.names = names
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"refused by the test: {name}", name=name)

refused, modules = json.loads(sys.stdin.read())
loaded_before = sorted(set(refused) & {name.split(".")[0] for name in sys.modules})
sys.meta_path.insert(0, Refuse(set(refused)))
failures = {}
for module in modules:
    try:
        importlib.import_module(module)
    except BaseException as error:
        failures[module] = f"{type(error).__name__}: {error}"
print(json.dumps([loaded_before, failures]))
"""


def modules_of(package: str) -> list[str]:
    """All modules of a package, found as files, so that none is imported here."""
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def is_vehicle_side(module: str) -> bool:
    """Not the training side, and not a verb of the command line (those import what they need)."""
    inside_cli = module.startswith("imkd_core.cli.")
    return not inside_cli and not any(
        module == side or module.startswith(f"{side}.") for side in TRAINING_SIDE
    )


def import_without(refused: tuple[str, ...], modules: list[str]) -> dict[str, str]:
    """Import the modules in a fresh interpreter; return what failed, and why."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([refused, modules]),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded_before, failures = json.loads(done.stdout.splitlines()[-1])
    assert not loaded_before, f"loaded before the wall stood: {loaded_before}"
    return failures


def test_the_wall_refuses_what_it_names():
    failures = import_without(("torch", "numpy"), ["torch", "numpy.linalg", "json"])
    assert set(failures) == {"torch", "numpy.linalg"}


def test_the_walk_finds_the_modules_it_should():
    core = modules_of("imkd_core")
    vehicle = [module for module in core if is_vehicle_side(module)]
    assert {"imkd_core", "imkd_core.geometry", "imkd_core.runtime"} <= set(vehicle)
    assert "imkd_ros" in modules_of("imkd_ros")
    assert set(core) - set(vehicle)  # the training side was found, and left out
    assert not any(module.startswith(TRAINING_SIDE) for module in vehicle)


def test_vehicle_core_imports_without_training_packages_and_without_ros():
    modules = [module for module in modules_of("imkd_core") if is_vehicle_side(module)]
    assert import_without(TRAINING_PACKAGES + LATE_PACKAGES + ROS_PACKAGES, modules) == {}


def test_training_side_imports_without_ros():
    pytest.importorskip("torch")
    modules = [module for module in modules_of("imkd_core") if not is_vehicle_side(module)]
    assert import_without(ROS_PACKAGES, [m for m in modules if ".cli." not in m]) == {}


def test_ros_package_imports_without_training_packages():
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("rclpy is not installed")
    assert import_without(TRAINING_PACKAGES + LATE_PACKAGES, modules_of("imkd_ros")) == {}
