# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from imkd_core.teaching import DistillConfig
from imkd_core.training.distill.gradient_guard import GradientGuard, gradient_norm

CONFIG = DistillConfig(guard_ratio=2.0, guard_every_steps=5, guard_patience=3)


def guard():
    return GradientGuard(("strong", "weak", "elsewhere"), CONFIG)


def one_check(guard, strong=8.0):
    watched = torch.ones(1, 2, 3, 4, requires_grad=True)
    total = watched.sum()
    terms = {
        "strong": strong * guard.factors()["strong"] * total,
        "weak": 1.5 * total,
        "elsewhere": torch.ones(1, requires_grad=True).sum(),
    }
    guard.check(terms, total, watched)
    total.backward()  # the graph is still there


def test_a_term_that_stays_too_strong_is_scaled_to_the_limit_and_no_other():
    watch = guard()
    for _ in range(2):
        one_check(watch)
    assert watch.factors() == {"strong": 1, "weak": 1, "elsewhere": 1}
    one_check(watch)
    assert watch.factors() == {"strong": 0.25, "weak": 1, "elsewhere": 1}
    for _ in range(5):
        one_check(watch)
    assert watch.factors()["strong"] == 0.25
    assert watch.ratio.tolist() == pytest.approx([2.0, 1.5, 0.0])


def test_one_calm_check_starts_the_count_anew():
    watch = guard()
    for strong in (8.0, 8.0, 1.0, 8.0, 8.0):
        one_check(watch, strong)
    assert watch.factors()["strong"] == 1


def test_resuming_from_its_state_continues_exactly():
    whole, first = guard(), guard()
    for _ in range(2):
        one_check(whole)
        one_check(first)
    resumed = guard()
    resumed.load_state_dict(first.state_dict())
    one_check(whole)
    one_check(resumed)
    assert resumed.factors() == whole.factors() != guard().factors()


def test_it_looks_every_few_steps_and_never_without_gradients_or_limit():
    watch = guard()
    assert [step for step in range(12) if watch.is_due(step)] == [0, 5, 10]
    with torch.no_grad():
        assert not watch.is_due(0)
    off = GradientGuard(("a",), DistillConfig(guard_ratio=0.0))
    assert not off.is_due(0)


def test_the_norm_is_that_of_the_gradient():
    watched = torch.zeros(1, 1, 3, 4, requires_grad=True)
    assert float(gradient_norm((2 * watched).sum(), watched)) == pytest.approx(2 * 12**0.5)
    assert float(gradient_norm(torch.ones(()), watched)) == 0


def test_a_detection_without_gradient_scales_nothing():
    watch = guard()
    watched = torch.ones(1, 2, 3, 4, requires_grad=True)
    for _ in range(4):
        terms = dict.fromkeys(watch.terms, watched.sum())
        watch.check(terms, torch.ones(()), watched)
    assert set(watch.factors().values()) == {1.0}
