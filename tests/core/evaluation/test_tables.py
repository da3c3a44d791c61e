# SPDX-License-Identifier: Apache-2.0
"""Figures of parts of a data set: which boxes belong to them, and what JSON says of them."""

import json

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import DetectionRules, evaluate
from imkd_core.evaluation.tables import (
    Evaluation,
    by_label,
    by_range,
    by_speed,
    condition,
    light_of,
    weather_of,
)
from tests.core.evaluation.oracle import noisy_copies, random_boxes

RULES = DetectionRules()
CAR, CONE = NUSCENES_CLASSES.index("car"), NUSCENES_CLASSES.index("traffic_cone")


@pytest.fixture
def truth():
    return random_boxes(np.random.default_rng(0), 300, 6, true=True, nan_velocity=0)


def changed(boxes, **columns):
    same = {name: getattr(boxes, name) for name in BoxTable.__dataclass_fields__}
    return BoxTable(**same | columns)


@pytest.mark.parametrize(
    ("description", "weather", "light"),
    [
        ("Rain, parked cars", "rain", "day"),
        ("Night, after rain, many peds", "rain", "night"),
        ("Train station, brainy drivers, overnight parking", "clear", "day"),
        ("Dense fog at dawn", "fog", "low sun"),
        ("low sun ahead", "clear", "low sun"),
        ("Heavy RAIN", "rain", "day"),
        ("", "clear", "day"),
    ],
)
def test_descriptions_tell_weather_and_light(description, weather, light):
    assert (weather_of(description), light_of(description)) == (weather, light)


def test_every_true_box_is_in_one_range_up_to_fifty_metres(truth):
    parts = by_range(truth, truth, 6, RULES)
    assert [part.name for part in parts] == ["0 to 20 m", "20 to 35 m", "35 to 50 m"]
    assert sum(part.truth for part in parts) == (truth.ego_distance_m < 50).sum()
    assert sum(part.truth_of_class["car"] for part in parts) == (truth.label == CAR).sum()


def test_a_miss_far_away_lowers_the_far_range_alone(truth):
    near = truth.select(truth.ego_distance_m < 20)
    parts = by_range(near, truth, 6, RULES)
    assert parts[0].mean_ap == pytest.approx(1)
    assert parts[1].mean_ap == 0


def test_parts_by_label_are_what_evaluating_their_samples_alone_gives(truth):
    found = noisy_copies(np.random.default_rng(1), truth)
    parts = {p.name: p for p in by_label(found, truth, ["a", "b", "a", "a", "b", "c"], RULES)}
    assert list(parts) == ["a", "b", "c"]
    assert [part.samples for part in parts.values()] == [3, 2, 1]
    alone = evaluate(*(x.select(np.isin(x.sample, [1, 4])) for x in (found, truth)), 2, RULES)
    assert parts["b"].nds == alone.present_nds
    assert parts["b"].truth == alone.truth
    assert sum(part.found for part in parts.values()) == len(found)


def test_a_class_that_is_absent_has_no_ap_and_is_left_out_of_the_mean(truth):
    cars = truth.select(truth.label == CAR)
    (part,) = by_label(cars, cars, ["x"] * 6, RULES)
    assert np.isnan(part.ap["bus"])
    assert part.mean_ap == pytest.approx(1)
    nothing = BoxTable.empty()
    (empty,) = by_label(nothing, nothing, ["x"], RULES)
    assert np.isnan(empty.nds)
    assert np.isnan(empty.mean_ap)


def test_recall_by_speed_counts_confident_detections_and_no_cones(truth):
    speeds = np.tile([0.1, 1.0, 5.0, 20.0, np.nan], 60)
    moving = changed(truth, velocity_mps=np.column_stack([speeds, np.zeros(300)]))
    can_move = ~np.isin(moving.label, [CONE, NUSCENES_CLASSES.index("barrier")])
    found = changed(moving, score=np.where(speeds == 5.0, 0.05, 0.5))
    rows = by_speed(found, moving, RULES)
    assert [row.truth for row in rows] == [
        int((can_move & (speeds == speed)).sum()) for speed in (0.1, 1.0, 5.0, 20.0)
    ]
    assert [row.recall for row in rows] == pytest.approx([1, 1, 0, 1])
    assert rows[0].velocity_mps == pytest.approx(0)
    assert np.isnan(rows[2].velocity_mps)


def test_an_evaluation_becomes_strict_json_without_curves(truth):
    found = noisy_copies(np.random.default_rng(1), truth)
    part = condition("all sensors", found, truth, ["Rain"] * 3 + [""] * 3, stage_ms={"decode": 1.0})
    evaluation = Evaluation(
        model="tiny",
        model_sha256="0" * 64,
        data="data",
        scenes=("a",),
        score_threshold=0.01,
        max_boxes=500,
        conditions=(part,),
    )
    raw = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert raw["nds"] == evaluation.nds == part.metrics.nds
    assert raw["map"] == evaluation.mean_ap
    first = raw["conditions"][0]
    assert "curves" not in first["metrics"]
    assert first["metrics"]["classes"]["traffic_cone"]["errors"]["velocity_mps"] is None
    assert first["metrics"]["classes"]["car"]["ap_at_m"]["0.5"] > 0
    assert [row["name"] for row in first["by_weather"]] == ["clear", "rain"]
