# SPDX-License-Identifier: Apache-2.0
"""The search for layers to keep, with a judge that charges each 8-bit layer a price."""

import pytest

from imkd_core.export.quantize_graph import STYLES, count_macs, find_tensors
from imkd_core.export.quantize_ranges import METHODS, Histogram
from imkd_core.export.quantize_search import SearchLimits, affordable, best_method, find_plan
from tests.core.export.small_graph import LAYERS, small_graph

STYLE = STYLES["int8_u8"]
CAMERAS = 2


class PricedJudge:
    """Adds up the prices of the layers whose weights are 8-bit."""

    cameras = CAMERAS

    def __init__(self, **prices):
        self.prices = prices
        self.calls = 0

    def error(self, model):
        self.calls += 1
        inside = {item.name for item in model.graph.initializer}
        return sum(price for n, price in self.prices.items() if f"{n}.weight_8" in inside)


def plan_of(judge, **limits):
    model = small_graph()
    histograms = {name: Histogram() for name in find_tensors(model, LAYERS, STYLE).ranges}
    said = []
    plan = find_plan(model, histograms, judge, STYLE, SearchLimits(**limits), said.append)
    assert said
    return plan


def test_what_is_good_enough_keeps_nothing_and_tries_no_layer():
    judge = PricedJudge(first=0.02, third=0.01)
    plan = plan_of(judge, moved_share=0.05)
    assert plan.kept == ()
    assert plan.kept_work == 0
    assert plan.moved_share == pytest.approx(0.03)
    assert judge.calls == len(METHODS) + 1


def test_the_fewest_layers_that_help_are_kept_the_worst_first():
    judge = PricedJudge(stem=0.01, first=0.05, second=0.2, third=0.01)
    assert plan_of(judge, moved_share=0.03, kept_work=1.0).kept == ("second", "first")
    assert plan_of(judge, moved_share=0.1, kept_work=1.0).kept == ("second",)


def test_a_layer_that_is_too_much_work_is_not_kept_however_it_hurts():
    work = count_macs(small_graph(), CAMERAS)
    share = (work["third"] + 1) / sum(work.values())
    judge = PricedJudge(first=0.5, third=0.1)
    plan = plan_of(judge, moved_share=0.05, kept_work=share)
    assert plan.kept == ("third",)
    assert plan.kept_work <= share
    assert plan.moved_share == pytest.approx(0.5)


def test_the_best_plan_is_taken_where_none_is_good_enough():
    plan = plan_of(PricedJudge(first=0.5, second=0.4), moved_share=0.0, kept_work=0.0)
    assert plan.kept == ()
    assert plan.moved_share == pytest.approx(0.9)


def test_trials_are_bounded():
    judge = PricedJudge(**dict.fromkeys(LAYERS, 1.0))
    plan_of(judge, moved_share=-1.0, kept_work=1.0)
    assert judge.calls <= len(METHODS) + len(LAYERS) + len(LAYERS) + 1


def test_layers_too_large_to_keep_are_passed_over():
    work = {"a": 50, "b": 8, "c": 3, "d": 39}
    assert affordable(["a", "b", "d", "c"], work, 0.12) == ["b", "c"]


def test_a_method_that_clips_is_taken_only_where_it_is_clearly_better():
    assert best_method({"minmax": 0.12, "percentile": 0.11, "mse": 0.2}) == "minmax"
    assert best_method({"minmax": 0.12, "percentile": 0.11, "mse": 0.05}) == "mse"
    assert best_method({"minmax": 0.0, "percentile": 0.0, "mse": 0.0}) == "minmax"
