# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from imkd_core.recipe import TrainConfig
from imkd_core.training.losses import (
    LossTerms,
    box_loss,
    depth_loss,
    depth_terms,
    detection_terms,
    heatmap_loss,
    perspective_loss,
)


def test_the_focal_loss_equals_its_formula_written_out():
    logits = torch.tensor([0.3, -1.2, 2.0, 0.7]).reshape(1, 1, 2, 2)
    target = torch.tensor([1.0, 0.5, 0.0, 1.0]).reshape(1, 1, 2, 2)
    expected = 0.0
    for x, t in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        expected -= (1 - p) ** 2 * math.log(p) if t == 1 else p**2 * (1 - t) ** 4 * math.log(1 - p)
    assert float(heatmap_loss(logits, target)) == pytest.approx(expected / 2, rel=1e-5)


def test_a_perfect_heat_map_costs_nothing_and_extreme_logits_stay_finite():
    target = torch.zeros(1, 2, 3, 4)
    target[0, 1, 2, 3] = 1
    perfect = torch.where(target == 1, 40.0, -40.0)
    assert float(heatmap_loss(perfect, target)) == pytest.approx(0, abs=1e-6)
    worst = (-1e4 * (2 * target - 1)).requires_grad_()
    loss = heatmap_loss(worst, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(worst.grad).all()


def test_without_an_object_the_focal_loss_is_finite():
    assert torch.isfinite(heatmap_loss(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)))


def object_list(cell, task, code, weight):
    return (
        torch.tensor([cell]),
        torch.tensor([task]),
        torch.tensor([code], dtype=torch.float32),
        torch.tensor([weight], dtype=torch.float32),
    )


def test_the_box_loss_reads_the_code_of_the_right_task_at_the_right_cell():
    codes = torch.zeros(1, 20, 3, 5)
    codes[0, 10:20, 1, 4] = torch.arange(10.0)  # task 1, row 1, column 4
    truth = object_list([9, 0], [1, 0], [list(range(10)), [5.0] * 10], [[1] * 10, [0] * 10])
    assert float(box_loss(codes, *truth)) == 0
    other_task = object_list([9, 0], [0, 0], [list(range(10)), [5.0] * 10], [[1] * 10, [0] * 10])
    assert float(box_loss(codes, *other_task)) == 45


def test_unknown_numbers_and_padding_give_no_gradient():
    codes = torch.zeros(1, 10, 2, 3, requires_grad=True)
    box_loss(
        codes, *object_list([1, 0], [0, 0], [[7] * 10, [9] * 10], [[1] * 8 + [0] * 2, [0] * 10])
    ).backward()
    assert codes.grad[0, :8, 0, 1].abs().min() > 0
    codes.grad[0, :8, 0, 1] = 0
    assert codes.grad.abs().max() == 0


def test_the_depth_loss_wants_the_true_bin_and_ignores_unknown_cells():
    logits = torch.full((1, 2, 4, 1, 2), -30.0)
    depth_bin = torch.full((1, 2, 1, 2), -1)
    depth_bin[0, 1, 0, 0] = 2
    logits[0, 1, 2, 0, 0] = 30.0
    assert float(depth_loss(logits, depth_bin)) == pytest.approx(0, abs=1e-6)
    uniform = depth_loss(torch.zeros_like(logits), depth_bin)
    assert float(uniform) == pytest.approx(-math.log(0.25) - 3 * math.log(0.75), rel=1e-5)
    assert float(depth_loss(logits, torch.full_like(depth_bin, -1))) == 0


def terms(weight=1.0, **values):
    return LossTerms(
        values={name: torch.tensor(float(value)) for name, value in values.items()},
        weights=dict.fromkeys(values, weight),
    )


def test_the_total_is_the_weighted_sum_of_the_named_terms():
    joined = terms(heatmap=1, weight=1.0).joined(terms(box=2, depth=4, weight=0.25))
    assert float(joined.total()) == 2.5
    assert joined.as_floats() == {"heatmap": 1, "box": 2, "depth": 4}


def test_a_half_precision_term_is_summed_in_float32():
    half = LossTerms(
        values={"a": torch.tensor(1.0, dtype=torch.bfloat16), "b": torch.tensor(0.001)},
        weights={"a": 1.0, "b": 1.0},
    )
    assert half.total().dtype == torch.float32
    assert float(half.total()) == pytest.approx(1.001, abs=1e-7)


def test_terms_without_weight_and_terms_that_are_there_twice_are_refused():
    with pytest.raises(ValueError, match="have weights"):
        LossTerms(values={"box": torch.tensor(1.0)}, weights={"depth": 1.0})
    with pytest.raises(ValueError, match="twice"):
        terms(box=1).joined(terms(box=2))


def test_all_terms_come_from_one_batch():
    train = TrainConfig(weight_heatmap=1.0, weight_box=0.5, weight_depth=0.25)
    targets = {
        "heatmap": torch.zeros(1, 2, 3, 4),
        "cell": torch.zeros(1, 2, dtype=torch.int64),
        "task": torch.zeros(1, 2, dtype=torch.int64),
        "code": torch.zeros(1, 2, 10),
        "code_weight": torch.zeros(1, 2, 10),
        "depth_bin": torch.zeros(1, 1, 1, 2, dtype=torch.int64),
    }
    detection = detection_terms(torch.zeros(1, 2, 3, 4), torch.zeros(1, 10, 3, 4), targets, train)
    found = detection.joined(depth_terms(torch.zeros(1, 1, 4, 1, 2), targets, train))
    assert found.weights == {"heatmap": 1.0, "box": 0.5, "depth": 0.25}
    assert found.as_floats()["box"] == 0
    assert found.as_floats()["heatmap"] > 0
    assert found.as_floats()["depth"] > 0


@pytest.mark.parametrize(("weight", "expected"), [(0.2, 8 + 2 * 0.2), (1.0, 10.0), (0.0, 8.0)])
def test_velocity_weighs_as_configured_and_the_targets_stay_as_they_are(weight, expected):
    train = TrainConfig(velocity_weight=weight)
    ones = torch.ones(1, 1, 10)
    targets = {
        "heatmap": torch.zeros(1, 2, 3, 4),
        "cell": torch.zeros(1, 1, dtype=torch.int64),
        "task": torch.zeros(1, 1, dtype=torch.int64),
        "code": ones,
        "code_weight": ones.clone(),
    }
    found = detection_terms(torch.zeros(1, 2, 3, 4), torch.zeros(1, 10, 3, 4), targets, train)
    assert found.as_floats()["box"] == pytest.approx(expected)
    assert torch.equal(targets["code_weight"], ones)


def test_perspective_loss_counts_known_cells_only() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 3, 4, 5, requires_grad=True)
    classes = torch.full((1, 2, 4, 5), 3)
    classes[0, 0, 1, 2], classes[0, 1] = 1, -1
    perspective_loss(logits, classes).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].abs().max() == 0
    assert logits.grad[0, 0, 1, 1, 2] < 0  # more of the class that is there
    assert (logits.grad[0, 0, :, 0, 0] > 0).all()  # less of any where there is none


def test_perspective_loss_of_right_and_sure_logits_is_nothing() -> None:
    classes = torch.randint(0, 4, (2, 1, 4, 5), generator=torch.Generator().manual_seed(1))
    right = torch.nn.functional.one_hot(classes, 4)[..., :3].permute(0, 1, 4, 2, 3)
    sure = (right * 40.0) - 20.0
    assert perspective_loss(sure, classes) < 1e-6
    assert perspective_loss(-sure, classes) > 1
