# SPDX-License-Identifier: Apache-2.0
"""A ROS parameter file gives the replay the settings that it gives the node."""

from pathlib import Path

import pytest

from imkd_core.errors import ConfigError
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.bridge.parameters import SPECS


def test_without_a_file_all_defaults_hold():
    assert dict(read_settings(None).values) == {n: spec.default for n, spec in SPECS.items()}


def test_the_file_of_the_package_holds_the_defaults(project_root: Path):
    path = project_root / "config" / "detector.param.yaml"
    assert read_settings(path).values == read_settings(None).values


def test_sections_nested_names_and_overrides_win_in_this_order(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    model: {threads: 3}\n"
        "    sync: {deadline_ms: 90}\n    base_frame: base\n"
        "imkd_detector:\n  ros__parameters:\n    model.threads: 4\n    base_frame: other\n"
        "another_node:\n  ros__parameters: {what: 1}\n"
    )
    settings = read_settings(path, {"base_frame": "mine"})
    assert settings.count("model.threads") == 4
    assert settings.number("sync.deadline_ms") == 90.0
    assert settings.text("base_frame") == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no ROS parameter file"),
        ("/**: {parameters: {}}", "no ROS parameter file"),
        ("/**: [1", "not YAML"),
        ("/**: {ros__parameters: {model: {thread: 1}}}", r"did you mean 'model.threads'"),
        ("/**: {ros__parameters: {model: {threads: -1}}}", r"model\.threads"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, message: str):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read the parameter file"):
        read_settings(tmp_path / "none.yaml")
