# SPDX-License-Identifier: Apache-2.0
"""Suppression obeys its definition; decoding refuses nonsense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imkd_core.config import NUSCENES_CLASSES, HeadSpec
from imkd_core.errors import BackendError, ConfigError
from imkd_core.postprocess import Thresholds, circle_nms, decode_boxes
from tests.core.rigs import STAMP_NS

HEAD = HeadSpec(candidates=40)
RADII = (2.0, 0.5, 0.0)


@st.composite
def boxes(draw):
    """Centres on a fine lattice, distinct scores, three classes."""
    n = draw(st.integers(0, 40))
    lattice = st.integers(-12, 12).map(lambda i: i * 0.26)
    center = draw(hnp.arrays(np.float64, (n, 2), elements=lattice))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    scores = np.array(draw(st.permutations(range(n))), np.float64).reshape(n) / 100
    return center, scores, labels


def is_close(center, labels, first, second):
    distance = np.linalg.norm(center[first] - center[second])
    return labels[first] == labels[second] and distance < RADII[labels[first]]


@given(boxes())
def test_kept_boxes_of_a_class_are_apart_and_dropped_ones_have_a_better_kept_neighbour(case):
    center, scores, labels = case
    kept = circle_nms(center, scores, labels, RADII).tolist()
    for i in kept:
        assert not any(is_close(center, labels, i, j) for j in kept if j != i)
    for i in set(range(len(scores))) - set(kept):
        assert any(is_close(center, labels, i, j) and scores[j] > scores[i] for j in kept)


@given(boxes())
def test_the_kept_come_best_first_and_stay_when_asked_again(case):
    center, scores, labels = case
    kept = circle_nms(center, scores, labels, RADII)
    assert (np.diff(scores[kept]) < 0).all()
    again = circle_nms(center[kept], scores[kept], labels[kept], RADII)
    np.testing.assert_array_equal(again, np.arange(len(kept)))


@given(boxes(), st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(case, random):
    center, scores, labels = case
    order = np.array(random.sample(range(len(scores)), len(scores)), np.int64)
    kept = circle_nms(center[order], scores[order], labels[order], RADII)
    np.testing.assert_array_equal(order[kept], circle_nms(center, scores, labels, RADII))


def test_of_equal_scores_the_earlier_box_wins():
    center = np.array([[0, 0], [0.1, 0], [5, 0], [5, 0.1]])
    kept = circle_nms(center, [0.5, 0.5, 0.7, 0.7], [0, 0, 0, 0], RADII)
    assert kept.tolist() == [2, 0]


def test_radii_are_metres_and_not_squared():
    center = np.array([[0, 0], [1.9, 0], [0, 10], [2.1, 10]])
    kept = circle_nms(center, [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0], RADII)
    assert kept.tolist() == [0, 2, 3]


def test_other_classes_do_not_suppress_and_radius_0_keeps_all():
    center = np.zeros((4, 2))
    assert circle_nms(center, [0.9, 0.8, 0.7, 0.6], [0, 1, 2, 2], RADII).tolist() == [0, 1, 2, 3]


def test_a_box_far_beyond_the_world_does_not_confuse_the_classes():
    center = np.array([[0, 0], [0, 0], [1e30, 0], [0.1, 0]])
    assert circle_nms(center, [0.9, 0.8, 0.7, 0.6], [0, 1, 0, 1], RADII).tolist() == [0, 1, 2]


def test_a_suppressed_box_suppresses_nothing():
    center = np.array([[0, 0], [1.5, 0], [3, 0]])
    assert circle_nms(center, [0.9, 0.8, 0.7], [0, 0, 0], RADII).tolist() == [0, 2]


def outputs(n: int = 3, **changes) -> dict[str, np.ndarray]:
    """Well-formed outputs: n cars 10 m apart."""
    box = np.zeros((n, 10), np.float32)
    box[:, 0] = 10 * np.arange(1, n + 1)
    box[:, 1] = -3
    box[:, 2:6] = (0.8, 4.5, 1.9, 1.6)
    box[:, 6:] = (0.6, 0.8, 2.0, -1.0)
    values = {
        "scores": np.linspace(0.9, 0.3, n, dtype=np.float32),
        "labels": np.zeros(n, np.int32),
        "boxes": box,
        "i_cam": np.full((4, 6), 0.25, np.float32),
        "i_rad": np.full((4, 6), 0.75, np.float32),
    }
    return {**values, **changes}


def test_a_box_keeps_its_numbers():
    found = decode_boxes(outputs(1), HEAD, STAMP_NS)
    assert found.stamp_ns == STAMP_NS
    assert found.names == ["car"]
    np.testing.assert_allclose(found.center_m, [[10, -3, 0.8]])
    np.testing.assert_allclose(found.size_m, [[4.5, 1.9, 1.6]])
    np.testing.assert_allclose(found.yaw_rad, [np.arctan2(0.6, 0.8)], rtol=1e-6)
    np.testing.assert_allclose(found.velocity_mps, [[2.0, -1.0]])
    np.testing.assert_allclose(found.scores, [0.9])
    assert found.reliability["camera"][0, 0] == np.float32(0.25)
    assert found.reliability["radar"][0, 0] == np.float32(0.75)


@given(st.floats(-np.pi + 1e-3, np.pi - 1e-3), st.floats(1e-3, 1e3))
def test_the_heading_needs_no_normalised_sine_and_cosine(yaw, length):
    raw = outputs(1)
    raw["boxes"][:, 6:8] = (length * np.sin(yaw), length * np.cos(yaw))
    np.testing.assert_allclose(decode_boxes(raw, HEAD, STAMP_NS).yaw_rad, [yaw], atol=1e-5)


def test_a_heading_without_direction_is_0():
    raw = outputs(1)
    raw["boxes"][:, 6:8] = 0
    assert decode_boxes(raw, HEAD, STAMP_NS).yaw_rad.tolist() == [0]


def test_no_candidate_and_no_good_candidate_give_no_box():
    assert len(decode_boxes(outputs(0), HEAD, STAMP_NS)) == 0
    low = outputs(3, scores=np.full(3, 0.05, np.float32))
    assert len(decode_boxes(low, HEAD, STAMP_NS)) == 0


def test_thresholds_hold_per_class():
    raw = outputs(3, labels=np.array([0, 8, 0], np.int32))  # 0.9 car, 0.6 pedestrian, 0.3 car

    def names(**thresholds):
        return decode_boxes(raw, HEAD, STAMP_NS, Thresholds(**thresholds)).names

    assert names() == ["car", "pedestrian", "car"]
    assert names(score={"car": 0.5}) == ["car", "pedestrian"]
    assert names(score={"pedestrian": 0.7}) == ["car", "car"]
    assert names(default_score=0.5) == ["car", "pedestrian"]
    assert names(default_score=0.7, score={"pedestrian": 0.1}) == ["car", "pedestrian"]
    assert names(default_score=0.0) == ["car", "pedestrian", "car"]
    assert names(max_boxes=1) == ["car"]
    assert names(max_range_m={"pedestrian": 20.0}) == ["car", "car"]  # it is at (20, -3)
    assert names(max_range_m={"pedestrian": 20.3, "car": 15.0}) == ["car", "pedestrian"]


def test_a_score_on_the_threshold_is_reported():
    raw = outputs(1, scores=np.array([0.3], np.float32))
    assert len(decode_boxes(raw, HEAD, STAMP_NS, Thresholds(score={"car": 0.3}))) == 1


def test_boxes_beyond_the_heads_number_are_cut():
    found = decode_boxes(outputs(5), HeadSpec(candidates=40, max_boxes=2), STAMP_NS)
    np.testing.assert_allclose(found.scores, [0.9, 0.75])


@given(hnp.arrays(np.float32, (40, 2), elements=st.floats(0, 1, width=32)))
def test_boxes_come_best_first_and_apart(center):
    raw = outputs(40, scores=np.linspace(0.2, 0.9, 40, dtype=np.float32))
    raw["boxes"][:, :2] = center * 10
    found = decode_boxes(raw, HEAD, STAMP_NS)
    assert len(found) >= 1
    assert (np.diff(found.scores) <= 0).all()
    gaps = np.linalg.norm(found.center_m[:, None, :2] - found.center_m[None, :, :2], axis=-1)
    assert (gaps + 100 * np.eye(len(found)) >= HEAD.nms_radius_m["car"] - 1e-5).all()


@pytest.mark.parametrize("name", ["scores", "boxes", "i_cam", "i_rad"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(name, value):
    raw = outputs()
    raw[name].reshape(-1)[-1] = value
    with pytest.raises(BackendError, match=f"not finite in '{name}'"):
        decode_boxes(raw, HEAD, STAMP_NS)


@pytest.mark.parametrize("name", ["scores", "labels", "boxes", "i_cam", "i_rad"])
def test_a_missing_output_is_refused(name):
    raw = outputs()
    del raw[name]
    with pytest.raises(BackendError, match=f"returned no {name}"):
        decode_boxes(raw, HEAD, STAMP_NS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(2, np.int32)}, r"labels \(2,\)"),
        ({"boxes": np.zeros((3, 9), np.float32)}, r"boxes \(3, 9\)"),
        ({"scores": np.zeros((3, 1), np.float32)}, r"scores \(3, 1\)"),
        ({"labels": np.full(3, 10, np.int32)}, r"label outside 0\.\.9"),
        ({"labels": np.full(3, -1, np.int32)}, "label outside"),
        ({"scores": np.full(3, 1.5, np.float32)}, r"outside 0\.\.1"),
        ({"scores": np.full(3, -0.1, np.float32)}, r"outside 0\.\.1"),
        ({"boxes": np.zeros((3, 10), np.float32)}, "positive size"),
    ],
)
def test_impossible_outputs_are_refused(changes, message):
    with pytest.raises(BackendError, match=message):
        decode_boxes(outputs(**changes), HEAD, STAMP_NS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": {"car": 1.1}}, "score of 'car'"),
        ({"score": {"car": -0.1}}, "score of 'car'"),
        ({"score": {"car": float("nan")}}, "score of 'car'"),
        ({"default_score": 2.0}, "the other classes"),
        ({"max_range_m": {"car": 0.0}}, "max_range_m of 'car'"),
        ({"max_range_m": {"car": float("nan")}}, "max_range_m of 'car'"),
        ({"max_boxes": 0}, "max_boxes"),
    ],
)
def test_impossible_thresholds_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Thresholds(**values)


@pytest.mark.parametrize("kind", ["score", "max_range_m"])
def test_thresholds_of_unknown_classes_are_refused(kind):
    with pytest.raises(ConfigError, match=r"unknown classes dragon; the model knows car, truck"):
        decode_boxes(outputs(), HEAD, STAMP_NS, Thresholds(**{kind: {"dragon": 0.5}}))


def test_thresholds_cannot_be_changed_behind_the_back():
    score = {NUSCENES_CLASSES[0]: 0.5}
    thresholds = Thresholds(score=score)
    score["car"] = 0.0
    assert thresholds.score["car"] == 0.5
