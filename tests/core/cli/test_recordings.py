# SPDX-License-Identifier: Apache-2.0
"""A folder of bags stands for its bags; a bag, whole or not, for itself."""

from pathlib import Path

import pytest

from imkd_core.cli.replaying.recordings import recordings_of
from imkd_core.errors import DataError


def make(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_folder_stands_for_the_bags_right_in_it_by_name(tmp_path):
    week = make(
        tmp_path / "week",
        "tuesday/metadata.yaml",
        "monday/metadata.yaml",
        "friday.mcap",
        "sunday.db3",
        "notes/plan.txt",
        "notes/deep/metadata.yaml",
        ".trash/metadata.yaml",
        "readme.md",
    )
    found = [path.name for path in recordings_of([week])]
    assert found == ["friday.mcap", "monday", "sunday.db3", "tuesday"]


def test_a_bag_that_lacks_its_metadata_is_not_passed_over(tmp_path):
    week = make(tmp_path / "week", "monday/metadata.yaml", "cut/cut_0.mcap")
    assert recordings_of([week]) == [week / "cut", week / "monday"]


@pytest.mark.parametrize("files", [("metadata.yaml", "in/metadata.yaml"), ("drive_0.mcap",)])
def test_a_bag_stands_for_itself(tmp_path, files):
    bag = make(tmp_path / "drive", *files)
    assert recordings_of([bag]) == [bag]


def test_what_is_no_folder_is_left_to_whoever_opens_it(tmp_path):
    week = make(tmp_path / "week", "monday/metadata.yaml")
    paths = [tmp_path / "none", make(tmp_path, "one.mcap") / "one.mcap"]
    assert recordings_of([*paths, week]) == [*paths, week / "monday"]


@pytest.mark.parametrize("files", [("readme.md",), ("a/b/metadata.yaml",)])
def test_a_folder_without_bags_is_told_what_was_looked_for(tmp_path, files):
    folder = make(tmp_path / "week", *files)
    with pytest.raises(DataError, match=r"no bag in .*week: looked for a metadata.yaml .*\.mcap"):
        recordings_of([folder])
