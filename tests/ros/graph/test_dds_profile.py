# SPDX-License-Identifier: Apache-2.0
"""The DDS profile follows the middleware, fits the machine, and is one the middleware reads."""

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from imkd_ros.graph import dds_profile as module
from imkd_ros.graph.dds_profile import (
    CYCLONEDDS_BUFFER_BYTES,
    choose_profile,
    named_profile,
    write_profile,
)

NEW, OLD = module.FASTDDS_VARIABLES


def number_of(profile, element) -> int:
    (number,) = re.findall(rf"<{element}>(\d+)</{element}>", profile.read_text())
    return int(number)


@pytest.fixture
def free_mib(monkeypatch):
    """Set the free shared memory of the machine."""

    def set_it(mib):
        usage = module.shutil.disk_usage("/")._replace(free=mib << 20)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage)

    return set_it


@pytest.mark.parametrize(
    ("mib", "expected_mib"), [(4000, 64), (320, 64), (64, 12.8), (20, 4), (19, None)]
)
def test_segments_fit_the_shared_memory(project_root, tmp_path, free_mib, mib, expected_mib):
    free_mib(mib)
    written = write_profile(project_root / "config" / "fastdds.xml", tmp_path / "new", tmp_path)
    if expected_mib is None:
        assert written is None
    else:
        assert number_of(written, "segment_size") == int(expected_mib * (1 << 20))
        assert number_of(written, "maxMessageSize") <= number_of(written, "segment_size") // 2
        assert "useBuiltinTransports" in written.read_text()


def test_without_profile_or_shared_memory_the_default_stays(project_root, tmp_path):
    assert write_profile(tmp_path / "none.xml", tmp_path, tmp_path) is None
    profile = project_root / "config" / "fastdds.xml"
    assert write_profile(profile, tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, NEW),
        ({"ROS_DISTRO": "kilted"}, NEW),
        ({"ROS_DISTRO": "jazzy"}, OLD),
        ({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", "ROS_DISTRO": "humble"}, OLD),
        ({"RMW_IMPLEMENTATION": "rmw_fastrtps_dynamic_cpp"}, NEW),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "ROS_DISTRO": "jazzy"}, "CYCLONEDDS_URI"),
    ],
)
def test_middleware_and_distribution_say_which_profile(tmp_path, free_mib, environment, variable):
    free_mib(4000)
    profile = choose_profile(tmp_path, environment, shared_memory=tmp_path)
    assert list(profile.variables) == [variable]
    path = profile.variables[variable]
    assert path.startswith("file:///" if variable == "CYCLONEDDS_URI" else str(tmp_path))
    named = named_profile(tmp_path / "mine.xml", environment)
    assert list(named.variables) == [variable]
    assert named.variables[variable].endswith("/mine.xml")


@pytest.mark.parametrize(
    "environment",
    [
        {NEW: "/mine.xml"},
        {OLD: "/mine.xml"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "CYCLONEDDS_URI": "file:///mine.xml"},
    ],
)
def test_a_profile_of_the_users_own_stays(tmp_path, environment):
    assert choose_profile(tmp_path, environment) == module.DdsProfile()


def test_what_the_machine_lacks_is_said_with_the_remedy(tmp_path, free_mib):
    free_mib(10)
    small = choose_profile(tmp_path, {}, shared_memory=tmp_path)
    assert not small.variables
    assert "--shm-size" in small.remark
    cyclone = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    limit = tmp_path / "rmem_max"
    limit.write_text("212992\n")
    slow = choose_profile(tmp_path, cyclone, receive_limit=limit)
    assert "208 KiB" in slow.remark
    assert f"net.core.rmem_max={CYCLONEDDS_BUFFER_BYTES}" in slow.remark
    assert slow.variables, "it runs with less, and says so"
    limit.write_text(f"{CYCLONEDDS_BUFFER_BYTES}\n")
    assert not choose_profile(tmp_path, cyclone, receive_limit=limit).remark
    other = choose_profile(tmp_path, {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"})
    assert "rmw_zenoh_cpp" in other.remark
    assert not other.variables


def test_cyclones_profile_asks_for_what_the_code_says_and_needs_no_minimum(project_root):
    root = ET.parse(project_root / "config" / "cyclonedds.xml").getroot()
    (buffer,) = root.iter("{https://cdds.io/config}SocketReceiveBufferSize")
    assert buffer.attrib == {"max": f"{CYCLONEDDS_BUFFER_BYTES >> 20}MiB"}


PARTICIPANT = """
import rclpy
from pathlib import Path
rclpy.init()
node = rclpy.create_node("profile_test")
print(*(path.stat().st_size for path in Path("/dev/shm").glob("fastdds_????????????????")))
rclpy.shutdown()
"""


@pytest.mark.ros
@pytest.mark.parametrize("mib", [310, 27])
def test_fast_dds_makes_the_segments_that_the_fitted_profile_says(
    ros_environment, project_root, tmp_path, free_mib, mib
):
    free_mib(mib)
    profile = write_profile(project_root / "config" / "fastdds.xml", tmp_path, tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", PARTICIPANT],
        env={**os.environ, NEW: str(profile), OLD: str(profile)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Error" not in run.stderr
    wanted = number_of(profile, "segment_size")
    assert any(wanted <= int(size) < 1.07 * wanted for size in run.stdout.split())


@pytest.mark.skipif(
    importlib.util.find_spec("cyclonedds") is None, reason="the Python binding is not installed"
)
@pytest.mark.parametrize(("wrong", "code"), [("", 0), ("FragmntSize", 1)])
def test_cyclone_reads_its_profile_and_would_refuse_a_wrong_one(
    project_root, tmp_path, wrong, code
):
    text = (project_root / "config" / "cyclonedds.xml").read_text()
    profile = tmp_path / "cyclonedds.xml"
    profile.write_text(text.replace("FragmentSize", wrong) if wrong else text)
    program = "from cyclonedds.domain import DomainParticipant; DomainParticipant(57)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CYCLONEDDS_URI": profile.as_uri()},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == code, run.stderr
