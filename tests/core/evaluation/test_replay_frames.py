# SPDX-License-Identifier: Apache-2.0
"""Frames and truth come back from their lines as they were."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.replay_frames import (
    FrameRecord,
    TrueFrame,
    frame_line,
    read_frames,
    read_truth,
    truth_line,
)
from imkd_core.geometry import rigid_transform
from imkd_core.types import Detections

CLASSES = ("cyclist", "car")


def detections(count, seed=0, classes=CLASSES, stamp_ns=1_700_000_000_000_000_001):
    rng = np.random.default_rng(seed)
    velocity = rng.normal(size=(count, 2))
    velocity[::3] = np.nan
    return Detections(
        stamp_ns=stamp_ns,
        class_names=classes,
        center_m=rng.normal(size=(count, 3)),
        size_m=rng.uniform(0.1, 9, (count, 3)),
        yaw_rad=rng.uniform(-3, 3, count),
        velocity_mps=velocity,
        scores=np.round(rng.uniform(size=count), 6),
        labels=rng.integers(0, len(classes), count),
    )


def assert_same(one, two):
    for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.stamp_ns, one.class_names) == (two.stamp_ns, two.class_names)


def pose(seed):
    return rigid_transform(np.eye(3), np.random.default_rng(seed).normal(size=3))


@given(count=st.integers(0, 5), seed=st.integers(0, 99), with_pose=st.booleans())
def test_a_frame_comes_back_as_it_was(tmp_path_factory, count, seed, with_pose):
    found = detections(count, seed)
    frame = FrameRecord(
        stamp_ns=found.stamp_ns,
        level="degraded",
        age_ms={"CAM_FRONT": -12.5},
        missing={"CAM_BACK": "left out: frozen"},
        findings=({"sensor": "CAM_BACK", "fault": "frozen"},),
        odom_from_ego=pose(seed) if with_pose else None,
        detections=found,
    )
    path = tmp_path_factory.mktemp("frames") / "frames.jsonl"
    path.write_text(f"{frame_line(frame)}\n")
    (back,) = read_frames(path, CLASSES)
    assert_same(back.detections, found)
    assert (back.level, back.outcome) == ("degraded", "answered")
    assert (back.age_ms, back.missing) == (frame.age_ms, frame.missing)
    assert back.findings == frame.findings
    assert (back.odom_from_ego is None) != with_pose
    if with_pose:
        np.testing.assert_array_equal(back.odom_from_ego, frame.odom_from_ego)


def test_an_empty_answer_is_one_and_a_frame_that_was_stopped_is_none(tmp_path):
    lines = [
        frame_line(FrameRecord(stamp_ns=1, level="blind", outcome="empty: policy blind")),
        frame_line(FrameRecord(stamp_ns=2, level="blind", outcome="stopped: policy blind")),
        frame_line(FrameRecord(stamp_ns=3, level="full", outcome="replaced by a newer frame")),
    ]
    (tmp_path / "f").write_text("\n".join(lines))
    frames = read_frames(tmp_path / "f", CLASSES)
    assert len(frames[0].detections) == 0
    assert [frame.detections is None for frame in frames] == [False, True, True]


@given(count=st.integers(0, 4), seed=st.integers(0, 99))
def test_truth_comes_back_as_it_was(tmp_path_factory, count, seed):
    boxes = detections(count, seed, NUSCENES_CLASSES)
    truth = TrueFrame(
        boxes=Detections(**{**vars(boxes), "scores": np.ones(count)}),
        attributes=np.arange(count) - 1,
        points=np.arange(count) - 1,
        odom_from_ego=pose(seed),
    )
    path = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    path.write_text(f"{truth_line(truth)}\n")
    (back,) = read_truth(path)
    assert_same(back.boxes, truth.boxes)
    np.testing.assert_array_equal(back.attributes, truth.attributes)
    np.testing.assert_array_equal(back.points, truth.points)
    np.testing.assert_array_equal(back.odom_from_ego, truth.odom_from_ego)


def test_the_columns_of_truth_must_fit_each_other():
    with pytest.raises(DataError, match="lengths of the columns"):
        TrueFrame(
            boxes=detections(2, 0, NUSCENES_CLASSES), attributes=np.zeros(2), points=np.zeros(1)
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: "{",
        lambda line: "[1]",
        lambda line: line.replace("level", "lovel"),
        lambda line: line.replace('"car"', '"tree"').replace('"cyclist"', '"tree"'),
        lambda line: json.dumps({**json.loads(line), "odom_from_ego": [1, 2]}),
    ],
)
def test_a_damaged_line_is_named(tmp_path, spoil):
    good = frame_line(
        FrameRecord(stamp_ns=1, level="full", detections=detections(1), odom_from_ego=pose(1))
    )
    (tmp_path / "f").write_text(f"{good}\n{spoil(good)}\n")
    with pytest.raises(DataError, match=r"f, line 2 is damaged .* replay the recording again"):
        read_frames(tmp_path / "f", CLASSES)


def test_a_file_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none.*replay the recording again"):
        read_truth(tmp_path / "none")
