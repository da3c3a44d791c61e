# SPDX-License-Identifier: Apache-2.0
"""Figures of recordings without truth, from answers to a folder that can be compared."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from imkd_core.errors import ConfigError
from imkd_core.evaluation.comparison import compare_runs
from imkd_core.evaluation.drive_figures import figures_path, read_drive_figures
from imkd_core.evaluation.replay_figures import drive_names, replayed_drive, write_replay_figures
from imkd_core.evaluation.steadiness import SUMS, steady_figures
from imkd_core.geometry import rigid_transform
from imkd_core.types import Detections

#: The vehicle's own motion between two frames, metres.
STEP_M = 3.0


def answers(count=6, gone=(), without_pose=(), start_ns=10**18):
    """One standing car ahead of a vehicle that drives towards it."""
    found = []
    for t in range(count):
        boxes = 0 if t in gone else 1
        detections = Detections(
            stamp_ns=start_ns + t * 500_000_000,
            class_names=("cyclist", "car"),
            center_m=np.tile([50.0 - STEP_M * t, 2.0, 1.0], (boxes, 1)),
            size_m=np.ones((boxes, 3)),
            yaw_rad=np.zeros(boxes),
            velocity_mps=np.zeros((boxes, 2)),
            scores=np.full(boxes, 0.8),
            labels=np.ones(boxes, np.int64),
        )
        pose = rigid_transform(np.eye(3), [100.0 + STEP_M * t, 0.0, 0.0])
        found.append((detections, None if t in without_pose else pose))
    return found


def test_a_standing_car_is_steady_while_the_vehicle_moves():
    drive = replayed_drive("one", answers())
    figures = steady_figures(drive.sums)
    assert (drive.frames, drive.without_pose) == (6, 0)
    assert figures["track_length_s"] == 2.5
    assert figures["flicker"] == 0
    assert figures["position_jitter_m"] == pytest.approx(0, abs=1e-5)


def test_frames_without_a_pose_are_counted_and_make_no_figure():
    drive = replayed_drive("one", answers(without_pose={2, 3}))
    assert (drive.frames, drive.without_pose) == (6, 2)
    assert drive.sums[SUMS.index("frames")] == 4
    none = replayed_drive("none", answers(without_pose=range(6)))
    assert none.without_pose == 6
    assert math.isnan(steady_figures(none.sums)["flicker"])
    assert replayed_drive("nothing", []).frames == 0


def test_a_recording_that_loops_is_two_parts():
    once, twice = answers(), [*answers(), *answers()]
    expected = 2 * replayed_drive("one", once).sums
    np.testing.assert_allclose(replayed_drive("two", twice).sums, expected)


def test_the_folder_tells_a_reader_and_can_be_compared(tmp_path):
    for name, gone in (("a", ()), ("b", (3,))):
        drives = [
            replayed_drive("monday", answers(gone=gone)),
            replayed_drive("tuesday", answers(without_pose={0})),
        ]
        whole = write_replay_figures(tmp_path / name, drives, {"model": name})
        told = json.loads((tmp_path / name / "figures.json").read_text())
        assert told["all"]["flicker"] == whole.steadiness["flicker"]
        assert (whole.judgement, told["truth"], told["with_truth"]) == (None, None, [])
        assert told["drives"]["tuesday"]["frames_without_pose"] == 1
        assert told["drives"]["monday"]["seconds"] == 2.5
    one, two = (read_drive_figures(figures_path(tmp_path / name)) for name in ("a", "b"))
    assert one.hits is None
    comparison = compare_runs(one, two, draws=5)
    assert comparison.rows["flicker"].difference.value == pytest.approx(1 / 8)
    assert not comparison.has_truth


def test_recordings_are_named_by_folder_or_file_each_by_its_own(tmp_path):
    (tmp_path / "run.1").mkdir()
    paths = [tmp_path / "run.1", tmp_path / "two.mcap", Path("three")]
    assert drive_names(paths) == ["run.1", "two", "three"]
    with pytest.raises(ConfigError, match="two recordings are called 'two'"):
        drive_names([*paths, tmp_path / "other" / "two.mcap"])
