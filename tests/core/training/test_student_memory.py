# SPDX-License-Identifier: Apache-2.0
"""A student with a memory in training: its terms, and what its batches look like."""

from dataclasses import replace

import pytest
import torch

from imkd_core.model.example import example_inputs
from imkd_core.model.sequence import with_history
from imkd_core.training.losses import consistency_loss
from imkd_core.training.student_task import StudentTask
from imkd_core.training.task import Batch
from tests.core.model.remembering import RECURRENT, WINDOW, motion, past_of, sensors
from tests.core.model.small import GRID, INPUTS
from tests.core.training.taught_batch import config_with, made_up_batch

TAUGHT = {"lidar_to_fused": 0.3, "label_to_fused": 0.3, "response": 1.0}


def config_of(memory, **distill):
    config = config_with({"weight_consistency": 0.1}, **distill)
    return replace(config, inputs=replace(INPUTS, memory=memory))


def batch_of(memory, static=1.0, mask=None):
    """Two samples with two past frames each."""
    batch = made_up_batch()
    past = past_of(sensors(2, seed=20), [motion(-1.0), motion(-1.5, 0.2)], [0.5, 0.5], mask)
    inputs = {**batch.inputs, **{name: torch.cat([v, v]) for name, v in past.items()}}
    targets = {**batch.targets, "static_mask": torch.full((2, *GRID.shape), static)}
    return Batch(inputs=inputs, targets=targets)


def task_of(config):
    torch.manual_seed(0)
    return StudentTask.from_config(config).train()


@pytest.mark.parametrize("memory", [WINDOW, RECURRENT])
def test_distillation_and_consistency_come_from_one_pass_over_a_sequence(memory):
    task = task_of(config_of(memory, **TAUGHT))
    terms = task(batch_of(memory), 0)
    assert {"heatmap", "box", "depth", "consistency", "lidar_to_fused"} <= terms.values.keys()
    terms.total().backward()
    assert torch.isfinite(terms.total())
    assert task.student.temporal.norm.weight.grad.any()
    assert task.student.backbone.conv1.weight.grad.any()


def test_before_its_first_step_a_memory_changes_no_other_term():
    """The memory starts as a residual of nothing, so the teachers see the single-frame student."""
    plain = task_of(config_with({}, **TAUGHT))(made_up_batch(), 0).as_floats()
    terms = task_of(config_of(WINDOW))(batch_of(WINDOW), 0).as_floats()
    for name in ("heatmap", "box", "depth"):
        assert terms[name] == pytest.approx(plain[name], rel=1e-5)


def test_nothing_has_to_agree_where_all_moves_or_nothing_is_remembered():
    task = task_of(config_of(RECURRENT))
    moving = task(batch_of(RECURRENT, static=0.0), 0).as_floats()
    forgotten = task(batch_of(RECURRENT, mask=[0, 0]), 0).as_floats()
    standing = task(batch_of(RECURRENT), 0).as_floats()
    assert moving["consistency"] == forgotten["consistency"] == 0
    assert standing["consistency"] > 0


def test_consistency_is_the_mean_distance_over_weighted_cells_and_moves_the_new_map_alone():
    kept = torch.rand(2, 3, 4, 6, requires_grad=True)
    recalled, weight = torch.rand(2, 3, 4, 6), torch.zeros(2, 4, 6)
    weight[1, 2, 3] = weight[0, 0, 5] = 1
    loss = consistency_loss(kept, recalled, weight)
    apart = (kept - recalled).detach().abs()
    expected = (apart[1, :, 2, 3].mean() + apart[0, :, 0, 5].mean()) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    assert kept.grad.abs().sum(1).nonzero().shape[0] == 2
    assert consistency_loss(kept, kept, weight).item() == 0


def test_pictures_of_a_sequence_are_drawn():
    task = task_of(config_of(RECURRENT))
    with torch.no_grad():
        pictures = task.eval().pictures(batch_of(RECURRENT))
    assert set(pictures) == {"heatmap", "first camera"}


def test_a_batch_that_brings_its_memory_is_taken_as_it_is():
    config = config_of(RECURRENT)
    inputs = {k: v[None] for k, v in example_inputs(config.inputs, 2).items()}
    given = with_history(task_of(config).student, inputs)
    assert given.keys() == inputs.keys()
    assert all(given[name] is value for name, value in inputs.items())
