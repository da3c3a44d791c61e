# SPDX-License-Identifier: Apache-2.0
"""package.xml, setup.py and the lock say what the code needs, and name files that exist."""

import ast
import re
import runpy
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"imkd_core", "imkd_ros"}
# Import names whose rosdep key is another; all other names are ROS packages of the same name.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "numpy": "python3-numpy",
    "yaml": "python3-yaml",
}
# Without a dependable rosdep key: pip extras of setup.py.
PIP_EXTRAS = {
    "onnxruntime": "onnx",
    "rosbags": "bag",
    "rich": "report",
}
OPTIONAL = {"tensorrt", "tensorrt_rtx", "psutil"}  # used where present, said in the README


def imported_names(files: list[Path]) -> dict[str, str]:
    """Top-level names imported by the files, each with one file that does it."""
    found: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found.update({name.split(".")[0]: str(path.relative_to(ROOT)) for name in names})
    return {n: p for n, p in found.items() if n not in sys.stdlib_module_names and n not in OURS}


@pytest.fixture(scope="module")
def dependencies() -> set[str]:
    tags = {"depend", "exec_depend"}
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    return {element.text.strip() for element in package if element.tag in tags and element.text}


@pytest.fixture
def setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: seen.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return seen


def test_package_xml_covers_what_the_node_and_launch_files_import(dependencies, setup_arguments):
    files = sorted((ROOT / "imkd_ros").rglob("*.py")) + sorted((ROOT / "launch").rglob("*.py"))
    assert files
    extras = setup_arguments["extras_require"]
    missing = {}
    for name, where in imported_names(files).items():
        if name in OPTIONAL or PIP_EXTRAS.get(name) in extras:
            continue
        if ROSDEP_KEYS.get(name, name) not in dependencies:
            missing[name] = where
    assert missing == {}, "add them to package.xml"


def test_package_xml_covers_what_the_vehicle_core_imports(dependencies, setup_arguments):
    training_side = {"data", "model", "training", "export", "simulation", "cli"}
    files = [
        path
        for path in sorted((ROOT / "imkd_core").rglob("*.py"))
        if path.relative_to(ROOT / "imkd_core").parts[0] not in training_side
    ]
    assert files
    missing = {
        name: where
        for name, where in imported_names(files).items()
        if name not in OPTIONAL
        and name not in PIP_EXTRAS
        and ROSDEP_KEYS.get(name, name) not in dependencies
    }
    assert missing == {}, "add them to package.xml"


def test_package_xml_and_setup_py_agree(setup_arguments):
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    for tag in ("name", "version", "license"):
        assert package.findtext(tag) == setup_arguments[tag]


def test_setup_installs_both_packages_and_only_them(setup_arguments):
    assert {name.split(".")[0] for name in setup_arguments["packages"]} == OURS
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in OURS
        for path in (ROOT / name).rglob("*.py")
    }
    assert folders == set(setup_arguments["packages"]), "a package folder lacks its __init__.py"


def test_data_files_exist_and_hold_the_ament_marker(setup_arguments):
    data_files = dict(setup_arguments["data_files"])
    assert data_files["share/ament_index/resource_index/packages"] == ["resource/imkd_ros"]
    assert data_files["share/imkd_ros"] == ["package.xml"]
    for names in data_files.values():
        for name in names:
            assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("folder", ["launch", "config", "models"])
def test_every_file_of_a_shared_folder_is_installed(setup_arguments, folder):
    installed = {name for _, names in setup_arguments["data_files"] for name in names}
    present = {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert present <= installed


def test_every_executable_has_its_module_and_function(setup_arguments):
    for entry in setup_arguments["entry_points"]["console_scripts"]:
        module, function = entry.split("=")[1].strip().split(":")
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        assert path.is_file(), entry
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, entry


def test_every_line_of_the_lock_is_pinned_once():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert [
        pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)
    ] == []
    names = [re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins]
    assert len(names) == len(set(names))
    assert {"torch", "numpy", "ros-rclpy", "onnxruntime"} <= set(names)
