# SPDX-License-Identifier: Apache-2.0
"""Benchmarks and scenarios of faults share their drives: made where none are named, and once."""

import argparse

import pytest

from benchmarks import fault_drives
from benchmarks.fault_drives import FaultDrives, add_options

PLAN = FaultDrives(name="health", seed=1, conditions=("fog",), count=4, duration_s=6.0, quick_s=2.5)


class Reader:
    scenes = ("a", "b", "c")


@pytest.fixture
def made(monkeypatch):
    made = []

    def simulate(root, count, options, *, workers):
        made.append((root.name, count, options.duration_s, options.seed, workers))

    monkeypatch.setattr(fault_drives, "simulate", simulate)
    monkeypatch.setattr(fault_drives, "open_nuscenes", lambda root, version: Reader())
    return made


def options(*words, quick=False):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return argparse.Namespace(**vars(parser.parse_args(words)), quick=quick)


def scenes(folder, *words, quick=False):
    return [scene for _, scene in PLAN.scenes(options(*words, quick=quick), folder)]


def test_drives_are_made_where_none_are_named_a_single_short_one_in_a_quick_run(made, tmp_path):
    assert scenes(tmp_path) == ["a", "b", "c"]
    assert scenes(tmp_path, quick=True) == ["a"]
    assert made == [("health-4x6s", 4, 6.0, 1, 1), ("health-1x2.5s", 1, 2.5, 1, 1)]


def test_named_drives_are_taken_as_many_as_asked_for_of_each_folder(made, tmp_path):
    named = ["--data", str(tmp_path), str(tmp_path), "--drives", "2"]
    assert scenes(tmp_path, *named) == ["a", "b", "a", "b"]
    assert made == []


def test_drives_that_are_kept_have_the_same_name_with_any_number_of_workers(made, tmp_path):
    assert PLAN.made(tmp_path, workers=2) == PLAN.made(tmp_path) == tmp_path / "health-4x6s"
