# SPDX-License-Identifier: Apache-2.0
import json

import pytest

import imkd_core
from benchmarks import suite_run
from benchmarks.suite import SUITE
from imkd_core.__main__ import main


def test_help_teaches_and_the_list_names_every_benchmark(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])
    assert ended.value.code == 0
    assert "imkd bench --output out/bench --publish" in capsys.readouterr().out
    assert main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in SUITE]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ([], "--output DIR is missing"),
        (["--output", "x", "--only", "nonsense"], "no benchmark 'nonsense'"),
        (["--output", "x", "--quick", "--publish"], "leave --quick and --only out"),
        (["--output", "x", "--only", "stages", "--publish"], "leave --quick and --only out"),
    ],
)
def test_wrong_options_are_one_line_and_run_nothing(options, remedy, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert remedy in error
    assert not list(tmp_path.iterdir())


def test_outside_a_checkout_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(imkd_core, "__file__", str(tmp_path / "imkd_core" / "__init__.py"))
    assert main(["bench", "--output", str(tmp_path / "out")]) == 2
    assert "clone the repository, run 'make setup'" in capsys.readouterr().err


def test_a_real_benchmark_runs_apart_is_kept_and_leaves_bench_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite_run, "common_key", lambda: "this code")  # somebody may be editing it
    command = ["bench", "--output", str(tmp_path), "--only", "synchronizer", "--quick"]
    assert main(command) == 0
    assert "synchronizer: done after" in capsys.readouterr().out
    run = json.loads((tmp_path / "bench.json").read_text())
    assert run["benchmarks"]["synchronizer"]["figures"]
    names = {goal["name"]: goal for goal in run["goals"]}
    assert names["synchroniser: possible frames given"]["met"] is True
    assert names["GPU: R50 against eager fp32"]["met"] is None
    assert main(command) == 0
    assert "synchronizer: kept from" in capsys.readouterr().out
