# SPDX-License-Identifier: Apache-2.0
import copy

import torch
from torch import nn

from imkd_core.model.frozen import freeze, is_frozen
from tests.core.model.small_teacher import random_points, small_labels, small_teacher


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = freeze(small_teacher())
        self.labels = freeze(small_labels())
        self.student = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))

    def forward(self, points, mask, maps):
        taught = self.teacher(points, mask).features + self.labels(maps)
        return (self.student(taught) - taught).square().mean()


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


def test_nothing_of_a_frozen_teacher_moves_while_its_parent_trains():
    parent = Parent()
    optimizer = torch.optim.AdamW([p for p in parent.parameters() if p.requires_grad], lr=0.1)
    before = state(parent)
    for step in range(10):
        parent.train()
        maps = torch.randn(2, 13, *parent.teacher.inputs.bev.shape)
        optimizer.zero_grad()
        parent(*random_points(seed=step), maps).backward()
        optimizer.step()
    after = parent.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert all(key.startswith("student.") for key in moved)
    assert any("running_mean" in key for key in moved)
    assert all(p.grad is None for p in parent.teacher.parameters())


def test_an_unfrozen_teacher_would_have_moved():
    teacher = small_teacher().train()
    before = state(teacher)
    teacher(*random_points())
    assert not same(before, teacher.state_dict())


def test_no_call_of_train_wakes_a_frozen_module_or_a_part_of_it():
    teacher = freeze(small_teacher())
    assert teacher.train() is teacher
    teacher.trunk.train(True)
    next(m for m in teacher.modules() if isinstance(m, nn.BatchNorm2d)).train()
    assert is_frozen(teacher)
    assert not any(module.training for module in teacher.modules())
    assert not is_frozen(small_teacher().eval())


def test_gradients_still_flow_through_to_the_inputs():
    teacher = freeze(small_teacher())
    features = torch.rand(1, 8, *teacher.inputs.bev.shape, requires_grad=True)
    heatmap_logits, _ = teacher.decode_features(features)
    heatmap_logits.square().sum().backward()
    assert features.grad.any()


def test_a_copy_of_a_frozen_module_is_frozen_and_its_own():
    teacher = freeze(small_teacher())
    twin = copy.deepcopy(teacher)
    assert twin.train() is twin
    assert is_frozen(twin)
