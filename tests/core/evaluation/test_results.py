# SPDX-License-Identifier: Apache-2.0
"""Result files: there and back, refused when broken, and never half written."""

import json
from pathlib import Path

import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.results import read_results, write_atomic, write_results
from imkd_core.geometry import rotation_from_quaternion
from tests.core.evaluation.oracle import random_boxes

TOKENS = ("b", "a", "c")


@pytest.fixture
def boxes():
    return random_boxes(np.random.default_rng(0), 30, 3)


@pytest.fixture
def written(boxes, tmp_path):
    path = tmp_path / "results.json"
    write_results(path, boxes, TOKENS)
    return path


def test_what_was_written_is_read_back(boxes, written):
    back = read_results(written, TOKENS, np.zeros((3, 3)))
    for name in BoxTable.__dataclass_fields__:
        np.testing.assert_allclose(
            getattr(back, name), getattr(boxes, name), atol=1e-12, err_msg=name
        )


def test_a_tilted_ego_frame_keeps_the_heading_and_tilts_the_box(boxes, tmp_path):
    tilt = rotation_from_quaternion([1.0, 0.02, -0.03, 0.4])
    pose = np.eye(4)
    pose[:3, :3] = tilt
    write_results(tmp_path / "r.json", boxes, TOKENS, [pose] * 3)
    back = read_results(tmp_path / "r.json", TOKENS, np.zeros((3, 3)))
    np.testing.assert_allclose(back.yaw_rad, boxes.yaw_rad, atol=1e-9)
    raw = json.loads((tmp_path / "r.json").read_text())["results"]
    rotation = rotation_from_quaternion(raw["b"][0]["rotation"])
    np.testing.assert_allclose(rotation[:, 2], tilt[:, 2], atol=1e-9)


def test_samples_without_boxes_are_in_the_file(tmp_path):
    write_results(tmp_path / "r.json", BoxTable.empty(), TOKENS)
    assert len(read_results(tmp_path / "r.json", TOKENS, np.zeros((3, 3)))) == 0
    assert json.loads((tmp_path / "r.json").read_text())["results"] == {t: [] for t in TOKENS}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("translation", [1.0, float("nan"), 0.0], "translation holds"),
        ("translation", [1.0, 2.0], "3 numbers"),
        ("size", [1.0, float("nan"), 1.0], "size holds"),
        ("size", [1.0, 0.0, 1.0], "positive"),
        ("rotation", [0.0, 0.0, 0.0, 0.0], "unit quaternion"),
        ("rotation", ["a", 0, 0, 0], "4 numbers"),
        ("velocity", [float("inf"), 0.0], "velocity holds"),
        ("detection_score", float("nan"), "finite"),
        ("detection_score", None, "finite"),
        ("detection_name", "tram", "unknown class 'tram'"),
        ("attribute_name", "car.flying", "unknown attribute"),
        ("sample_token", "z", "another sample"),
    ],
)
def test_a_broken_box_is_refused_by_name(written, field, value, words):
    raw = json.loads(written.read_text())
    raw["results"]["b"][2][field] = value
    written.write_text(json.dumps(raw))
    with pytest.raises(DataError, match=words) as caught:
        read_results(written, TOKENS, np.zeros((3, 3)))
    assert str(written) in str(caught.value)


def test_an_unknown_velocity_is_allowed(written):
    raw = json.loads(written.read_text())
    raw["results"]["b"][0]["velocity"] = [float("nan"), float("nan")]
    written.write_text(json.dumps(raw))
    assert np.isnan(read_results(written, TOKENS, np.zeros((3, 3))).velocity_mps[0]).all()


def test_other_samples_and_too_many_boxes_are_refused(written):
    with pytest.raises(DataError, match="1 are missing, 1 too many"):
        read_results(written, ("b", "a", "d"), np.zeros((3, 3)))
    with pytest.raises(DataError, match="5 are allowed"):
        read_results(written, TOKENS, np.zeros((3, 3)), max_boxes=5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"results": 3}', "{}"])
def test_what_is_no_result_file_is_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(DataError, match=str(path)):
        read_results(path, TOKENS, np.zeros((3, 3)))
    with pytest.raises(DataError, match="cannot read"):
        read_results(tmp_path / "none.json", TOKENS, np.zeros((3, 3)))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    write_atomic(path, b"old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        write_atomic(path, b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]
    assert path.read_bytes() == b"old"
