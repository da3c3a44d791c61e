# SPDX-License-Identifier: Apache-2.0
import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from imkd_core.__main__ import main
from imkd_core.cli import experiment
from imkd_core.errors import ConfigError, ImkdError
from imkd_core.training.experiment import load_plan

PLAN = """
config: student.yaml
reference: none
seeds: [1, 2]
set: {train.steps: 7}
rows:
  none: {label: no distillation}
  all: {label: all terms, preset: ours, lose: [all-radars]}
"""

METRICS = {"nds": 0.4, "mean_ap": 0.3, "errors": dict.fromkeys(experiment.ERRORS, 0.5)}


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    names = ("train", "test", "teacher", "labels", "cache", "output")
    options = [f"--{name}={tmp_path / name}" for name in names]
    return tmp_path, ["experiment", f"--plan={tmp_path / 'plan.yaml'}", *options]


def finish(folder: Path, nds: float):
    metrics = [{"metrics": {**METRICS, "nds": 0.0}}, {"metrics": {**METRICS, "nds": nds}}]
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation/metrics.json").write_text(json.dumps({"conditions": metrics}))


def test_a_run_is_trained_exported_and_evaluated(folders, monkeypatch):
    root, arguments = folders
    called = []

    def fake_run(line, **options):
        called.append(line[3:])
        if line[3] == "evaluate":
            output = next(word for word in line if word.startswith("--output="))
            finish(Path(output.removeprefix("--output=")).parent, 0.45)
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(experiment.subprocess, "run", fake_run)
    assert main([*arguments, "--rows", "all", "--seeds", "2", "--workers", "1"]) == 0
    assert [line[0] for line in called] == ["train", "export", "evaluate"]
    assert {"student", "--preset=ours", "--set=train.steps=7", "--set=train.seed=2"} <= set(
        called[0]
    )
    assert "--resume" in called[0]
    assert "--lose=all-radars" in called[2]
    assert "| all terms | 1 | 45.0 | 30.0 |" in (root / "output/table.md").read_text()
    assert main([*arguments, "--rows", "all", "--seeds", "2"]) == 0
    assert len(called) == 3, "what is done is not run again"


def test_every_row_can_begin_with_the_weights_of_one_run(folders):
    root, _ = folders
    plan = load_plan(root / "plan.yaml")
    names = ("config", "train", "test", "teacher", "labels", "cache", "output")
    places = experiment._Places(**{name: root / name for name in names})
    start = f"--start={root / 'student'}"
    assert start not in experiment.commands(plan, places, ("all", 1))[0]
    begun = dataclasses.replace(places, start=root / "student")
    for row in plan.rows:
        assert start in experiment.commands(plan, begun, (row, 1))[0]


def test_a_step_that_fails_names_its_log(folders, monkeypatch):
    root, arguments = folders
    failed = argparse.Namespace(returncode=2)
    monkeypatch.setattr(experiment.subprocess, "run", lambda *_, **__: failed)
    parser = argparse.ArgumentParser()
    experiment.add_arguments(parser)
    with pytest.raises(ImkdError, match=r"'imkd train' failed; .*log\.txt"):
        experiment.run(parser.parse_args([*arguments[1:], "--rows=none", "--seeds=1"]))
    assert "imkd train student" in (root / "output/none/seed1/log.txt").read_text()


def test_the_last_condition_counts_and_damage_is_named(tmp_path):
    assert experiment.read_figures(tmp_path) is None
    finish(tmp_path, 0.41)
    assert experiment.read_figures(tmp_path)["nds"] == 0.41
    (tmp_path / "evaluation/metrics.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"metrics\.json is not a result"):
        experiment.read_figures(tmp_path)


@pytest.mark.parametrize("wrong", [["--rows=some"], ["--seeds=9"], ["--seeds=x"]])
def test_rows_and_seeds_that_are_not_planned_are_refused(folders, wrong, capsys):
    assert main([*folders[1], *wrong]) == 2
    assert "plan" in capsys.readouterr().err or "seeds" in wrong[0]


def test_the_table_alone_runs_nothing(folders, monkeypatch, capsys):
    monkeypatch.delattr(experiment.subprocess, "run")
    assert main([*folders[1], "--table-only"]) == 0
    assert "| row | seeds | NDS | mAP | mATE |" in capsys.readouterr().out
