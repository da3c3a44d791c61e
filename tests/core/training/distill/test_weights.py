# SPDX-License-Identifier: Apache-2.0
import pytest

from imkd_core.training.distill.weights import base_weights, decay_factor, scheduled_weights
from tests.core.training.taught_batch import ALL_TERMS, config_with


def test_all_weights_warm_up_linearly():
    config = config_with(**ALL_TERMS, warmup_steps=9)
    full = base_weights(config)
    for step, share in ((0, 0.1), (4, 0.5), (9, 1.0), (500, 1.0)):
        weights = scheduled_weights(config, step)
        assert weights == pytest.approx({name: share * full[name] for name in full})


def test_both_lidar_terms_fall_late_along_a_cosine_and_the_others_stay():
    config = config_with(**ALL_TERMS, decay_from=0.5, decay_to=0.2, train={"steps": 100})
    full = base_weights(config)
    for step, share in ((0, 1.0), (50, 1.0), (75, 0.6), (100, 0.2)):
        weights = scheduled_weights(config, step)
        for name, weight in weights.items():
            falls = name in ("lidar_to_radar", "lidar_to_fused")
            assert weight == pytest.approx(full[name] * (share if falls else 1.0)), (name, step)


def test_a_decay_from_the_end_is_none():
    assert decay_factor(1.0, 1.0, 0.3) == 1
    assert decay_factor(2.0, 0.5, 0.3) == pytest.approx(0.3)


def test_the_box_part_of_the_response_weighs_as_boxes_do():
    config = config_with(response=2.0, train={"weight_box": 0.25})
    assert base_weights(config) == {"response_class": 2.0, "response_box": 0.5}
    assert base_weights(config_with()) == {}
