# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from torch import nn

from imkd_core.recipe import TrainConfig
from imkd_core.training.optim import FINAL_RATE_FACTOR, make_optimizer, rate_factor

TRAIN = TrainConfig(steps=100, warmup_steps=10, learning_rate=1e-3, backbone_rate_factor=0.5)


def test_the_rate_rises_then_falls_to_its_floor():
    factors = [rate_factor(step, TRAIN) for step in range(101)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == pytest.approx(1)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(FINAL_RATE_FACTOR)


def test_the_memory_has_a_rate_of_its_own_and_changes_no_other_group():
    class Model(nn.Module):
        def __init__(self, remembers):
            super().__init__()
            self.backbone, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
            self.temporal = nn.Conv2d(4, 4, 1) if remembers else None

    train = replace(TRAIN, memory_rate_factor=4.0)
    plain, model = make_optimizer(Model(False), train), Model(True)
    groups = make_optimizer(model, train).param_groups
    rates = {p: group["lr"] for group in groups for p in group["params"]}
    assert rates[model.temporal.weight] == rates[model.temporal.bias] == pytest.approx(4e-3)
    assert [g["lr"] for g in groups][:4] == [g["lr"] for g in plain.param_groups]


def test_the_backbone_learns_slower_and_norms_do_not_decay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = nn.Module()
            self.student.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
            self.student.head = nn.Linear(4, 2)
            self.frozen = nn.Linear(2, 2).requires_grad_(False)

    model = Model()
    student = model.student
    optimizer = make_optimizer(model, TRAIN)
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[parameter] = (group["lr"], group["weight_decay"])
    assert len(found) == len(list(student.parameters()))
    assert found[student.backbone[0].weight] == (5e-4, TRAIN.weight_decay)
    assert found[student.backbone[1].weight] == (5e-4, 0)
    assert found[student.head.weight] == (1e-3, TRAIN.weight_decay)
    assert found[student.head.bias] == (1e-3, 0)
