# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from imkd_core.model.teacher import Teacher
from tests.core.model.small import CONFIG, GRID
from tests.core.model.small_teacher import TEACHER, random_points, small_teacher

Y, X = GRID.shape


def test_every_map_lies_on_the_students_grid():
    output = small_teacher().eval()(*random_points())
    assert output.features.shape == (2, 8, Y, X)
    assert output.heatmap_logits.shape == (2, 3, Y, X)
    assert output.codes.shape == (2, 20, Y, X)
    assert output.gate is None
    assert output.features.min() >= 0


def test_the_learned_gate_lies_between_0_and_1_and_scales_what_the_trunk_sees():
    teacher = small_teacher(learned_gate=True).eval()
    with torch.no_grad():
        output = teacher(*random_points())
        seen = output.features * (0.5 + output.gate)
        heatmap_logits, _ = teacher.decode_features(seen)
    assert output.gate.shape == (2, 1, Y, X)
    assert 0 < output.gate.min() < output.gate.max() < 1
    torch.testing.assert_close(output.heatmap_logits, heatmap_logits)


def test_features_alone_decode_to_the_same_maps():
    teacher = small_teacher().eval()
    with torch.no_grad():
        output = teacher(*random_points())
        heatmap_logits, codes = teacher.decode_features(output.features)
    torch.testing.assert_close(output.heatmap_logits, heatmap_logits)
    torch.testing.assert_close(output.codes, codes)


@pytest.mark.parametrize("learned_gate", [False, True])
def test_the_gradient_reaches_every_parameter(learned_gate):
    teacher = small_teacher(learned_gate=learned_gate).train()
    output = teacher(*random_points())
    maps = (output.heatmap_logits, output.codes)
    sum((m - torch.rand_like(m)).square().mean() for m in maps).backward()
    assert [n for n, p in teacher.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_configuration_says_whether_the_gate_is_learned():
    config = replace(CONFIG, teacher=TEACHER)
    learned = replace(config, intensity=replace(config.intensity, variant="learned"))
    assert Teacher.from_config(config).gate is None
    assert Teacher.from_config(learned).gate is not None


def test_equal_seeds_give_equal_teachers():
    first, second, third = (small_teacher(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_the_first_heat_map_is_rare_everywhere():
    output = small_teacher().train()(*random_points())
    assert output.heatmap_logits.sigmoid().mean() < 0.25
