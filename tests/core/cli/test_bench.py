# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import imkd_core
from benchmarks import suite, suite_run
from benchmarks.publish import BEGIN, DOCUMENT, END, README
from benchmarks.suite import SUITE, Entry
from imkd_core.__main__ import main
from imkd_core.cli import bench

#: Counts its runs in a file, fails where that has a neighbour ".broken", and leaves a report.
SCRIPT = """
import json, os, sys
open(sys.argv[1], "a").write("x")
if os.path.exists(sys.argv[1] + ".broken"):
    raise SystemExit("no disk")
report = {"name": "n", "figures": [], "goals": [], "facts": {}}
json.dump(report, open(sys.argv[3], "w"))
"""


@dataclass(frozen=True, kw_only=True)
class Script(Entry):
    """A benchmark that is a few lines of Python."""

    file: Path

    def command(self, quick: bool = False) -> tuple[str, ...]:
        return ("-c", SCRIPT, str(self.file))

    def runs(self) -> int:
        return len(self.file.read_text()) if self.file.exists() else 0


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A suite of two benchmarks and a long one, in a checkout whose documents have no tables."""
    found = [
        Script(name=name, title=name, is_whole=name != "long", file=tmp_path / name)
        for name in ("first", "second", "long")
    ]
    for path in (DOCUMENT, README):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"{BEGIN}\n{END}\n")
    monkeypatch.setattr(suite, "SUITE", tuple(found))
    monkeypatch.setattr(suite_run, "common_key", lambda: "this code")
    monkeypatch.setattr(bench, "checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return found


def is_published(name="first"):
    return f"## {name}" in DOCUMENT.read_text()


def test_what_is_there_is_published_without_measuring_anew_and_twice_changes_nothing(small, capsys):
    assert main(["bench", "--output", "out"]) == 0
    assert not is_published()
    capsys.readouterr()
    assert main(["bench", "--output", "out", "--publish"]) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    assert is_published()
    assert not is_published("long")
    assert [one.runs() for one in small] == [1, 1, 0]
    assert main(["bench", "--output", "out", "--publish"]) == 0
    assert "wrote " not in capsys.readouterr().out


def test_one_by_name_joins_a_whole_run_and_is_published_with_it(small):
    assert main(["bench", "--output", "out"]) == 0
    assert main(["bench", "--output", "out", "--only", "long", "--publish"]) == 0
    assert is_published()
    assert is_published("long")
    assert [one.runs() for one in small] == [1, 1, 1]


def test_the_last_one_that_a_whole_run_lacks_makes_it_whole(small):
    assert main(["bench", "--output", "out", "--only", "first"]) == 0
    assert main(["bench", "--output", "out", "--only", "second", "--publish"]) == 0
    assert is_published()


def test_a_folder_that_stays_incomplete_is_refused_by_name_before_anything_runs(small, capsys):
    assert main(["bench", "--output", "out", "--only", "second"]) == 0
    assert main(["bench", "--output", "out", "--only", "long", "--publish"]) == 2
    assert "DIR lacks first of this code" in capsys.readouterr().err
    assert [one.runs() for one in small] == [0, 1, 0]
    assert not is_published()


def test_parts_of_older_code_do_not_make_a_whole_run(small, capsys, monkeypatch):
    assert main(["bench", "--output", "out"]) == 0
    monkeypatch.setattr(suite_run, "common_key", lambda: "newer code")
    assert main(["bench", "--output", "out", "--only", "long", "--publish"]) == 2
    assert "DIR lacks first, second of this code" in capsys.readouterr().err


@pytest.mark.parametrize("number", [0, 2])
def test_nothing_is_published_when_a_benchmark_fails(small, number, capsys):
    small[number].file.with_name(f"{small[number].name}.broken").touch()
    names = ",".join(one.name for one in small)
    assert main(["bench", "--output", "out", "--only", names, "--publish"]) == 1
    assert f"nothing is published: {small[number].name} failed" in capsys.readouterr().out
    assert not is_published()


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
        (["--output", "x", "--quick", "--publish"], "--quick are not published; leave it out"),
        (["--output", "x", "--only", "soak", "--publish"], "lacks inference, memory, stages, pre"),
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
