# SPDX-License-Identifier: Apache-2.0
"""View-of-Delft's AP: by hand where it is easy, and its rules of what is left out."""

import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.evaluation.vod_metrics import VodBoxes, evaluate_vod, sampled_scores


def boxes(names, x, *, y=0.0, scores=None, height_px=80.0, occlusion=0):
    """Boxes of 4 x 2 x 1.6 m ahead, x metres away; the camera frame stands in the same place."""
    n = len(names)
    center = np.column_stack([x, np.broadcast_to(y, n), np.zeros(n)]).reshape(n, 3)
    return VodBoxes(
        names=tuple(names),
        center_m=center,
        size_m=np.tile([4.0, 2.0, 1.6], (n, 1)),
        yaw_rad=np.zeros(n),
        position_cam_m=np.column_stack([-center[:, 1], np.full(n, 0.8), center[:, 0]]),
        height_px=np.broadcast_to(height_px, n).astype(float),
        occlusion=np.broadcast_to(occlusion, n),
        scores=np.ones(n) if scores is None else np.array(scores, float),
    )


def ap(frames, name="Car", region="entire area", view="3d"):
    return evaluate_vod(frames).regions[region][view][name].ap


NONE = boxes([], [])


def test_what_is_found_exactly_has_ap_one_and_what_is_not_found_zero():
    true = boxes(["Car"] * 80 + ["Pedestrian"], [*range(5, 405, 5), 7.0], y=[0] * 80 + [6])
    metrics = evaluate_vod([(true, true)])
    assert metrics.regions["entire area"]["3d"]["Car"].ap == pytest.approx(1)
    assert metrics.regions["entire area"]["3d"]["Car"].truth == 80
    assert np.isnan(metrics.regions["entire area"]["3d"]["Cyclist"].ap)
    assert ap([(NONE, true)]) == 0
    assert metrics.mean_ap() == pytest.approx((1 + 1 / 11) / 3)  # one true box gives one sample


def test_half_found_has_the_precision_of_the_samples_it_reaches():
    true = boxes(["Car"] * 80, range(10, 810, 10))
    found = boxes(["Car"] * 40, range(10, 410, 10), scores=np.linspace(0.9, 0.5, 40))
    assert ap([(found, true)]) == pytest.approx(6 / 11)  # recalls 0, 0.1, ... 0.5


def test_faults_scored_above_hits_cost_precision():
    true = boxes(["Car"] * 80, range(10, 810, 10))
    names, places = ["Car"] * 160, [*range(10, 810, 10), *range(1010, 1810, 10)]
    scores = [0.5] * 80 + [0.9] * 80
    assert ap([(boxes(names, places, scores=scores), true)]) == pytest.approx(0.5)
    low = [0.5] * 80 + [0.1] * 80
    assert ap([(boxes(names, places, scores=low), true)]) == pytest.approx(1.0)


def test_a_second_detection_of_one_object_is_a_fault():
    true = boxes(["Car"] * 80, range(10, 810, 10))
    found = boxes(["Car"] * 160, [*range(10, 810, 10)] * 2, scores=[0.5] * 160)
    assert ap([(found, true)]) == pytest.approx(0.5)


def test_overlap_must_exceed_the_limit_of_the_class():
    true = boxes(["Car"] * 80, range(10, 810, 10))
    nearer = boxes(["Car"] * 80, np.arange(10, 810, 10) + 1.3)
    assert ap([(nearer, true)]) == pytest.approx(1)
    assert ap([(boxes(["Car"] * 80, np.arange(10, 810, 10) + 1.4), true)]) == 0
    walkers = boxes(["Pedestrian"] * 80, range(10, 810, 10))
    far = boxes(["Pedestrian"] * 80, np.arange(10, 810, 10) + 2.3)
    assert ap([(far, walkers)], "Pedestrian") == pytest.approx(1)


def test_height_counts_in_space_and_not_from_above():
    true = boxes(["Car"] * 80, range(10, 810, 10))
    columns = {name: getattr(true, name) for name in VodBoxes.__dataclass_fields__}
    raised = VodBoxes(**columns | {"center_m": true.center_m + np.array([0, 0, 1.0])})
    assert ap([(raised, true)]) == 0
    assert ap([(raised, true)], view="bev") == pytest.approx(1)


def test_small_or_hidden_true_boxes_are_neither_hits_nor_faults():
    seen = boxes(["Car"] * 80, range(10, 810, 10))
    metrics = evaluate_vod([(seen, seen), (NONE, boxes(["Car"] * 9, range(9), height_px=40.0))])
    assert metrics.regions["entire area"]["3d"]["Car"].truth == 80
    assert ap([(seen, seen), (NONE, boxes(["Car"], [5.0], occlusion=5))]) == pytest.approx(1)
    on_small = (boxes(["Car"], [5.0], scores=[1.0]), boxes(["Car"], [5.0], height_px=20.0))
    assert ap([(seen, seen), on_small]) == pytest.approx(1)
    small_found = (boxes(["Car"], [5.0], scores=[1.0], height_px=39.0), NONE)
    assert ap([(seen, seen), small_found]) == pytest.approx(1)


def test_the_corridor_leaves_out_what_is_beside_or_beyond_it():
    true = boxes(["Car"] * 4, [10, 10, 20, 30], y=[0, 9, 0, 0])
    corridor = evaluate_vod([(true, true)]).regions["driving corridor"]["3d"]["Car"]
    assert corridor.truth == 2
    beside = boxes(["Car"] * 3, [10, 20, 40], y=[0, 0, 0], scores=[0.5, 0.5, 0.9])
    with_fault = ap([(beside, true)], region="driving corridor")
    assert with_fault == ap([(true, true)], region="driving corridor")


def test_scores_are_sampled_at_recalls_a_fortieth_apart():
    assert sampled_scores(np.linspace(1, 0.01, 400), 400)[1] == pytest.approx(1 - 9 * 0.99 / 399)
    assert len(sampled_scores(np.linspace(1, 0.01, 400), 400)) == 41
    assert sampled_scores(np.zeros(0), 5) == []


def test_classes_do_not_help_each_other():
    true = boxes(["Car"] * 5, range(10, 60, 10))
    assert ap([(boxes(["Cyclist"] * 5, range(10, 60, 10)), true)]) == 0


def test_no_frames_and_no_boxes_give_no_figures():
    assert np.isnan(ap([]))
    assert np.isnan(ap([(NONE, NONE)]))
    assert evaluate_vod([(NONE, NONE)]).mean_ap() == 0


def test_numbers_that_are_none_are_refused():
    good = boxes(["Car"], [5.0])
    columns = {name: getattr(good, name) for name in VodBoxes.__dataclass_fields__}
    with pytest.raises(DataError, match="center_m"):
        VodBoxes(**columns | {"center_m": np.full((1, 3), np.nan)})
    with pytest.raises(DataError, match="positive"):
        VodBoxes(**columns | {"size_m": np.zeros((1, 3))})
