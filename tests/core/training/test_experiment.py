# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from imkd_core.errors import ConfigError
from imkd_core.mapping import from_mapping
from imkd_core.resources import share_folder
from imkd_core.training.experiment import ExperimentPlan, load_plan, summarise, to_markdown

PLAN = {
    "config": "student.yaml",
    "seeds": [3, 1],
    "reference": "none",
    "set": {"train.steps": 10, "distill.gate": 0.5},
    "rows": {
        "none": {"label": "no distillation"},
        "all": {"label": "all", "preset": "ours", "set": {"train.steps": 20}},
        "once": {"label": "once", "seeds": 1},
    },
}


def plan(**changes):
    return from_mapping(ExperimentPlan, {**PLAN, **changes})


def test_every_row_runs_its_seeds_and_pairs_come_whole():
    assert plan().runs() == [("none", 3), ("all", 3), ("once", 3), ("none", 1), ("all", 1)]


def test_a_rows_settings_win_and_the_seed_is_set():
    assert plan().overrides("all", 3) == {
        "train.steps": 20,
        "distill.gate": 0.5,
        "train.seed": 3,
    }


@pytest.mark.parametrize(
    "changes",
    [{"rows": {}}, {"seeds": []}, {"seeds": [1, 1]}, {"reference": "some"}, {"budget": 3}],
)
def test_a_plan_that_cannot_be_run_is_refused(changes):
    with pytest.raises(ConfigError):
        plan(**changes)


def test_the_table_has_means_gains_and_only_rows_that_ran():
    done = {
        ("none", 3): {"nds": 0.40, "map": 0.30},
        ("none", 1): {"nds": 0.42, "map": 0.32},
        ("all", 3): {"nds": 0.45, "map": 0.36},
    }
    results = summarise(plan(), done)
    assert list(results) == ["none", "all"]
    assert results["none"].figures["nds"].mean == pytest.approx(0.41)
    assert results["none"].nds_gain is None
    assert results["all"].nds_gain.mean == pytest.approx(0.05)
    assert results["all"].nds_gain.half_width == math.inf
    table = to_markdown(results, ("nds", "map"))
    assert "| no distillation | 2 | 41.0 ± " in table
    assert "| all | 1 | 45.0 | 36.0 | +5.0 |" in table


def test_nothing_done_gives_an_empty_table():
    assert to_markdown(summarise(plan(), {}), ("nds",)).count("\n") == 2


@pytest.mark.parametrize(
    "path", sorted((share_folder() / "config" / "experiments").glob("*.yaml")), ids=lambda p: p.name
)
def test_the_plans_that_ship_fit_their_student(path):
    from imkd_core.recipe import load_config

    shipped = load_plan(path)
    for row, seed in shipped.runs():
        config = load_config((path.parent / shipped.config).resolve(), shipped.overrides(row, seed))
        assert config.train.seed == seed
