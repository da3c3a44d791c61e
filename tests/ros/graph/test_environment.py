# SPDX-License-Identifier: Apache-2.0
"""The supervisor's ROS graph is its own, fits the machine, and is undone at the end."""

import fcntl
import os
import time
from pathlib import Path

from imkd_ros.graph.environment import graph_environment, remove_dead_segments


def test_only_segments_without_an_owner_are_removed(tmp_path):
    old_s = time.time() - 60
    for name in ("0123456789abcdef", "1111111111111111", "2222222222222222"):
        for path in (tmp_path / f"fastdds_{name}", tmp_path / f"fastdds_{name}_el"):
            path.write_bytes(b"")
            os.utime(path, (old_s, old_s))
    os.utime(tmp_path / "fastdds_2222222222222222_el")
    (tmp_path / "fastdds_port7400_el").write_bytes(b"")
    with (tmp_path / "fastdds_1111111111111111_el").open("ab") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        assert remove_dead_segments(tmp_path) == 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [
        "fastdds_1111111111111111",
        "fastdds_1111111111111111_el",
        "fastdds_2222222222222222",
        "fastdds_2222222222222222_el",
        "fastdds_port7400_el",
    ]


def test_the_environment_is_set_and_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "33")
    monkeypatch.delenv("ROS_LOG_DIR", raising=False)
    before = dict(os.environ)
    with graph_environment(tmp_path, None) as environment:
        assert environment["ROS_DOMAIN_ID"] == os.environ["ROS_DOMAIN_ID"] == "33"
        assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
        assert Path(environment["ROS_LOG_DIR"]).parent == tmp_path
    assert dict(os.environ) == before
    with graph_environment(tmp_path, 44) as environment:
        assert environment["ROS_DOMAIN_ID"] == "44"


def test_a_free_domain_is_found_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "domain_coordinator", None)
    with graph_environment(tmp_path, None) as environment:
        assert 1 <= int(environment["ROS_DOMAIN_ID"]) <= 101


def test_a_profile_that_the_user_chose_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    with graph_environment(tmp_path, 1) as environment:
        assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
