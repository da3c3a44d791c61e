# SPDX-License-Identifier: Apache-2.0
"""Benchmarks one after the other: what is kept, what runs again, what a failure leaves."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks import collect as collect_module
from benchmarks import in_turn, suite_run
from benchmarks.collect import collect, goals_of, has_changed_sources, read_run
from benchmarks.goals import AIMS, judged
from benchmarks.harness import ROOT, Report
from benchmarks.in_turn import DONE, FAILED
from benchmarks.suite import SUITE, Entry, entries
from benchmarks.suite_run import Part, kept_parts, run_suite
from imkd_core.errors import ConfigError, DataError

COMMON_KEY = suite_run.common_key

#: Counts its runs in the file of argument 1, and writes the report to that of argument 3.
REPORT = """
import json, sys
open(sys.argv[1], "a").write("x")
goal = {"name": "RATE", "value": 12.0, "goal": 11.5, "unit": "1/s"}
report = {"name": "n", "figures": [], "goals": [goal], "facts": {}}
json.dump(report, open(sys.argv[3], "w"))
""".replace("RATE", AIMS["live_rate"].name)


@dataclass(frozen=True, kw_only=True)
class Script(Entry):
    """A benchmark that is a few lines of Python."""

    script: str = ""
    file: str = ""

    def command(self, quick: bool = False) -> tuple[str, ...]:
        return ("-c", self.script, self.file)


@pytest.fixture(autouse=True)
def _same_code(monkeypatch):
    """Somebody may be editing the checkout while these tests run."""
    monkeypatch.setattr(suite_run, "common_key", lambda: "this code")


@pytest.fixture
def counting(tmp_path):
    return Script(name="live_graph", title="T", script=REPORT, file=str(tmp_path / "runs"))


def runs(entry):
    return len(Path(entry.file).read_text())


def silent(_text):
    """Say nothing."""


def test_a_part_that_is_done_is_kept_and_not_run_again(tmp_path, counting):
    first = run_suite([counting], tmp_path, say=silent)
    second = run_suite([counting], tmp_path, say=silent)
    assert first == second
    assert first["live_graph"].status == DONE
    assert runs(counting) == 1


def test_another_command_or_other_code_runs_it_again(tmp_path, counting, monkeypatch):
    run_suite([counting], tmp_path, say=silent)
    changed = replace(counting, script=f"{REPORT}\n# another")
    run_suite([changed], tmp_path, say=silent)
    assert runs(counting) == 2
    monkeypatch.setattr(suite_run, "common_key", lambda: "other code")
    assert kept_parts([changed], tmp_path, quick=False) == {}
    run_suite([changed], tmp_path, say=silent)
    assert runs(counting) == 3


def test_the_key_of_all_code_changes_with_any_source_and_with_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(suite_run, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    source = tmp_path / "benchmarks" / "x.py"
    source.write_text("1")
    first = COMMON_KEY()
    (tmp_path / "notes.md").write_text("2")
    (tmp_path / "benchmarks" / "x.pyc").write_text("3")
    assert COMMON_KEY() == first
    source.write_text("4")
    assert COMMON_KEY() != first


def test_a_damaged_part_is_run_again(tmp_path, counting):
    run_suite([counting], tmp_path, say=silent)
    (tmp_path / "parts" / "live_graph.json").write_text('{"key": 1}')
    run_suite([counting], tmp_path, say=silent)
    assert runs(counting) == 2


def test_a_failure_shows_the_end_of_its_log_is_not_kept_and_stops_nothing(tmp_path, counting):
    broken = Script(name="soak", title="T", script="print('first')\nraise SystemExit('no disk')")
    lines = []
    parts = run_suite([broken, counting], tmp_path, say=lines.append)
    assert parts["soak"].status == FAILED
    assert parts["soak"].error.splitlines() == ["exit code 1", "first", "no disk"]
    assert any("no disk" in line for line in lines)
    assert parts["live_graph"].status == DONE
    assert list(kept_parts([broken, counting], tmp_path, quick=False)) == ["live_graph"]


def test_a_benchmark_that_leaves_no_report_failed(tmp_path):
    part = run_suite([Script(name="x", title="T", script="")], tmp_path, say=silent)["x"]
    assert part.status == FAILED
    assert "left no report" in part.error


def test_ctrl_c_ends_the_benchmark_and_keeps_what_was_done(tmp_path, counting, monkeypatch):
    monkeypatch.setattr(in_turn, "PROGRESS_S", 0.3)
    monkeypatch.setattr(in_turn, "GRACE_S", 1.0)
    script = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    pid_file = tmp_path / "pid"
    endless = Script(name="x", title="T", script=script, file=str(pid_file))

    def interrupt(text):
        if " s" in text and pid_file.exists() and text.startswith("[2/2]") and "-c" not in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite([counting, endless], tmp_path, say=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert list(kept_parts([counting, endless], tmp_path, quick=False)) == ["live_graph"]


def test_a_benchmark_that_never_ends_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(in_turn, "PROGRESS_S", 0.1)
    monkeypatch.setattr(in_turn, "LEAST_PATIENCE_S", 0.2)
    monkeypatch.setattr(in_turn, "GRACE_S", 1.0)
    begin_s = time.monotonic()
    endless = Script(name="x", title="T", script="import time; time.sleep(60)", minutes=0.0)
    assert run_suite([endless], tmp_path, say=silent)["x"].status == FAILED
    assert time.monotonic() - begin_s < 20


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path, counting):
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        run_suite([counting], tmp_path, say=silent)


def test_the_run_names_machine_versions_hashes_and_every_goal(tmp_path, counting):
    parts = run_suite([counting], tmp_path, say=silent)
    run = collect(tmp_path, [counting], parts, quick=False)
    assert read_run(tmp_path) == run
    assert run["hardware"]["cores"] >= 1
    assert {"python", "numpy"} <= set(run["versions"])
    assert all(len(sha) == 64 for files in run["models"].values() for sha in files.values())
    assert [goal["name"] for goal in run["goals"]] == [aim.name for aim in AIMS.values()]
    rate, *others = run["goals"]
    assert (rate["value"], rate["met"]) == (12.0, True)
    assert all((goal["value"], goal["met"]) == (None, None) for goal in others)
    assert all(goal["reason"] for goal in others)
    assert not run["whole"]


def test_the_goal_of_a_failed_benchmark_says_that_it_failed():
    part = Part(key="", command="", status=FAILED, seconds=1.0, when="", error="exit code 1\nend")
    by_name = {goal.name: goal for goal in goals_of({"soak": part})}
    assert by_name[AIMS["memory_growth"].name].reason == "benchmarks.soak failed: exit code 1"


def test_the_share_of_overhead_is_told_against_fp32_where_that_was_timed():
    def part(*values, **facts):
        goals = tuple(judged(key, value, reason) for key, value, reason in values)
        report = Report(name="n", goals=goals, facts=facts)
        return Part(key="", command="", status=DONE, seconds=1.0, when="", report=report)

    live = part(("overhead", 11.0, ""), ("overhead_share", 0.4, "divided by int8"))
    name = AIMS["overhead_share"].name
    alone = {goal.name: goal for goal in goals_of({"live_graph": live})}[name]
    assert (alone.value, alone.reason) == (0.4, "divided by int8")
    parts = {"live_graph": live, "inference": part(fp32_p50_ms={"shipped": 44.0})}
    beside = {goal.name: goal for goal in goals_of(parts)}[name]
    assert beside.value == 0.4
    assert beside.reason == "divided by int8; 0.25 times the 44.0 ms that fp32 takes alone"


def test_only_files_that_figures_hang_on_count_as_changes(monkeypatch):
    document, source = ROOT / "docs" / "performance.md", ROOT / "benchmarks" / "goals.py"
    for files, expected in (({document}, False), ({document, source}, True), (None, None)):
        monkeypatch.setattr(collect_module, "changed_files", lambda files=files: files)
        assert has_changed_sources() is expected


def test_a_run_is_whole_when_all_is_done_at_full_size(tmp_path):
    done = Part(key="", command="", status=DONE, seconds=1.0, when="")
    parts = {entry.name: done for entry in entries()}
    assert collect(tmp_path, SUITE, parts, quick=False)["whole"]
    assert not collect(tmp_path, SUITE, parts, quick=True)["whole"]
    parts.pop("inference")
    run = collect(tmp_path, SUITE, parts, quick=False)
    assert (run["whole"], run["absent"]) == (False, ["inference"])


def test_a_folder_without_a_run_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="imkd bench"):
        read_run(tmp_path)


def test_entries_are_chosen_by_name_in_the_order_of_the_suite():
    assert [entry.name for entry in entries(("synchronizer", "inference"))] == [
        "inference",
        "synchronizer",
    ]
    with pytest.raises(ConfigError, match="no benchmark 'nonsense'; there are inference"):
        entries(("nonsense",))
