# SPDX-License-Identifier: Apache-2.0
"""Predictions of a scene in a file: there and back, under one key alone."""

import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.evaluation.predictions import (
    ScenePredictions,
    read_predictions,
    write_predictions,
)
from tests.core.evaluation.test_boxes import detections


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "scene.npz"
    found = {"b": detections(3), "a": detections(0), "c": detections(7)}
    write_predictions(path, ScenePredictions(key="k", detections=found, skipped={"d": "torn"}))
    return path, found


def test_what_was_written_is_read_back(stored):
    path, found = stored
    back = read_predictions(path, "k")
    assert list(back.detections) == ["b", "a", "c"]
    assert back.skipped == {"d": "torn"}
    for token, one in found.items():
        for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
            np.testing.assert_array_equal(getattr(back.detections[token], name), getattr(one, name))
        assert back.detections[token].class_names == one.class_names


def test_another_key_or_no_file_gives_nothing(stored, tmp_path):
    assert read_predictions(stored[0], "other") is None
    assert read_predictions(tmp_path / "none.npz", "k") is None


def test_a_scene_of_skipped_samples_alone_is_kept(tmp_path):
    path = tmp_path / "s.npz"
    write_predictions(path, ScenePredictions(key="k", detections={}, skipped={"d": "torn"}))
    assert read_predictions(path, "k").skipped == {"d": "torn"}


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_torn_file_is_named(stored, kept):
    path, _ = stored
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"scene\.npz is damaged"):
        read_predictions(path, "k")
