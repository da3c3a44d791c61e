# SPDX-License-Identifier: Apache-2.0
"""The fault suite's frame: figures, kept results, progress, the list."""

import json
from pathlib import Path

import pytest

from benchmarks import in_turn
from imkd_core.errors import ConfigError
from tests.faults import publish, results
from tests.faults.__main__ import main
from tests.faults.publish import document, fit_to_publish
from tests.faults.results import FILE, Wish, collect, is_judged, run_scenarios
from tests.faults.rows import NAMED_TESTS, ROWS
from tests.faults.sources import module_files, scenario_files
from tests.faults.suite import SCENARIOS, Figure, Scenario, at_least, at_most, chosen, not_there

ROOT = Path(__file__).resolve().parents[2]

#: A scenario that never runs in these tests: `run_to_end` is replaced.
ONE = Scenario("sensor_loss", "lost", minutes=1.0)
FREE = Scenario("soak", "an hour", seconds=3600.0, minutes=62.0)


@pytest.fixture
def ran(monkeypatch):
    """Commands that were run; each leaves one figure."""
    commands: list[list[str]] = []

    def run_to_end(command, log, expected_s, say):
        commands.append(command)
        log.write(b"words of the scenario\n")
        figure = vars(at_most("a gap", 0.5, 1.0, "s"))
        Path(command[4]).write_text(json.dumps([figure]))
        return 0

    monkeypatch.setattr(in_turn, "run_to_end", run_to_end)
    monkeypatch.setattr(results, "common_key", lambda _files: "this code")
    monkeypatch.setattr(results, "sources_key", lambda _files: "these sources")
    monkeypatch.setattr(results, "idle_warnings", list)
    return commands


def test_a_figure_knows_whether_its_goal_is_met():
    assert at_most("gap", 1.0, 1.0).met
    assert not at_most("gap", 1.1, 1.0).met
    assert at_least("yield", 99.0, 99.0).met
    assert not at_least("yield", 98.9, 99.0).met
    missing = not_there("gap", 1.0, "s", "the status is not there")
    assert (missing.value, missing.met) == (None, False)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (("", 1.0, 1.0, "s", True), "name"),
        (("a", None, 1.0, "s", False), "say why"),
        (("a", None, 1.0, "s", True, "because"), "not met"),
        (("a", float("nan"), 1.0, "s", True), "finite"),
        (("a", 1.0, float("inf"), "s", True), "finite"),
    ],
)
def test_a_figure_that_says_nothing_is_refused(values, word):
    with pytest.raises(ConfigError, match=word):
        Figure(*values)


def test_what_a_scenario_found_is_in_the_file_with_machine_and_versions(ran, tmp_path):
    said: list[str] = []
    parts = run_scenarios([ONE], tmp_path, say=said.append)
    assert parts["sensor_loss"].figures == (at_most("a gap", 0.5, 1.0, "s"),)
    written = json.loads((tmp_path / FILE).read_bytes())
    assert [row for row in written["goals"] if is_judged(row)] == [
        {
            "scenario": "sensor_loss",
            "name": "a gap",
            "value": 0.5,
            "goal": 1.0,
            "unit": "s",
            "met": True,
            "note": "",
            "comparison": "at most",
        }
    ]
    assert written["machine"]["cores"] >= 1
    assert "python" in written["versions"]
    assert written["scenarios"]["sensor_loss"]["command"].endswith("--only sensor_loss")
    assert "soak" in written["not_run"]
    assert any("a gap" in line for line in said)


@pytest.mark.parametrize("when", [0, 1])
def test_who_else_uses_the_machine_is_noted_at_the_begin_and_at_the_end(
    ran, tmp_path, monkeypatch, when
):
    looks = iter([["others use it"] if look == when else [] for look in range(2)])
    monkeypatch.setattr(results, "idle_warnings", lambda: next(looks))
    parts = run_scenarios([ONE], tmp_path, say=lambda _: None)
    assert parts["sensor_loss"].warnings == ("others use it",)


def test_what_is_done_is_kept_until_its_sources_change(ran, tmp_path, monkeypatch):
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    assert len(ran) == 1
    monkeypatch.setattr(results, "common_key", lambda _files: "other code")
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    assert len(ran) == 2


def test_another_length_or_model_is_another_result_and_its_command_says_so(ran, tmp_path):
    run_scenarios([FREE, ONE], tmp_path, Wish(seconds=60.0), lambda _: None)
    run_scenarios([FREE, ONE], tmp_path, say=lambda _: None)
    assert [command[3] for command in ran] == ["soak", "sensor_loss", "soak"]
    assert "60.0" in ran[0]
    run_scenarios([ONE], tmp_path, Wish(model="mine"), lambda _: None)
    assert ran[-1][-1] == "mine"
    part = results.kept_part(tmp_path, "sensor_loss")
    assert part is not None
    assert part.command.endswith("--model mine")


def test_a_scenario_that_dies_has_the_end_of_its_log_and_the_others_go_on(ran, tmp_path):
    def die(command, log, expected_s, say):
        log.write(b"what it said last\n")
        return -11

    alive, in_turn.run_to_end = in_turn.run_to_end, die
    try:
        part = run_scenarios([ONE], tmp_path, say=lambda _: None)["sensor_loss"]
    finally:
        in_turn.run_to_end = alive
    assert part.status == "failed"
    assert "-11" in part.error
    assert "what it said last" in part.error
    (row,) = (row for row in collect(tmp_path)["goals"] if row["scenario"] == "sensor_loss")
    assert (row["value"], row["met"]) == (None, False)
    assert run_scenarios([ONE], tmp_path, say=lambda _: None)["sensor_loss"].status == "done"


def test_a_result_keeps_the_commit_and_machine_it_was_measured_at_when_sources_change(
    ran, tmp_path, monkeypatch
):
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    before = json.loads((tmp_path / FILE).read_bytes())["scenarios"]["sensor_loss"]
    assert before["is_current"]
    assert before["machine"]["cores"] >= 1
    monkeypatch.setattr(results, "git_state", lambda: {"commit": "another", "is_changed": False})
    monkeypatch.setattr(results, "sources_key", lambda _files: "other sources")
    after = collect(tmp_path)
    assert after["git"]["commit"] == "another"
    assert after["scenarios"]["sensor_loss"] == {**before, "is_current": False}
    assert [goal["value"] for goal in after["goals"] if is_judged(goal)] == [0.5]


def test_whether_files_differed_from_the_commit_is_asked_of_those_that_count(monkeypatch):
    counts, counts_not = ROOT / "imkd_core/types.py", ROOT / "README.md"
    monkeypatch.setattr(results, "changed_files", lambda: {counts_not})
    assert not results.measured_at([counts])["is_changed"]
    monkeypatch.setattr(results, "changed_files", lambda: {counts, counts_not})
    assert results.measured_at([counts])["is_changed"]


def test_a_result_of_an_older_suite_is_published_as_of_an_unknown_commit(ran, tmp_path):
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    path = results.part_path(tmp_path, "sensor_loss")
    raw = json.loads(path.read_bytes())
    del raw["at"]
    path.write_text(json.dumps(raw))
    page = document(fit_to_publish(collect(tmp_path)))
    assert "| a gap | at most 1.00 s | 0.500 s | met |  | unknown, older |" in page


def test_publishing_runs_nothing_and_says_what_older_sources_gave(
    ran, tmp_path, monkeypatch, capsys
):
    page = tmp_path / "page.md"
    monkeypatch.setattr(publish, "DOCUMENT", page)
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    monkeypatch.setattr(results, "sources_key", lambda _files: "other sources")
    assert main(["--output", str(tmp_path), "--publish"]) == 0
    assert len(ran) == 1
    commit = results.git_state()["commit"][:12]
    text = page.read_text()
    assert f"{commit}" in text
    assert ", older |" in text
    assert "sources changed since." in text
    assert "Not run: message_loss" in text
    assert str(page) in capsys.readouterr().out


def test_only_fresh_results_are_published_where_that_is_asked(ran, tmp_path, monkeypatch):
    run_scenarios([ONE, FREE], tmp_path, say=lambda _: None)
    whole = collect(tmp_path)
    stale = {**whole["scenarios"]["soak"], "is_current": False}
    mixed = {**whole, "scenarios": {**whole["scenarios"], "soak": stale}}
    assert list(fit_to_publish(mixed)["scenarios"]) == ["sensor_loss", "soak"]
    fresh = fit_to_publish(mixed, fresh_only=True)
    assert list(fresh["scenarios"]) == ["sensor_loss"]
    assert "soak" in fresh["not_run"]
    assert {row["scenario"] for row in fresh["goals"] if is_judged(row)} == {"sensor_loss"}
    assert "soak" in {row["scenario"] for row in fresh["goals"]}
    monkeypatch.setattr(publish, "DOCUMENT", tmp_path / "page.md")
    only = [s for s in SCENARIOS if s.name == "tf"]
    monkeypatch.setattr("tests.faults.__main__.chosen", lambda _names, with_long: only)
    assert main(["--output", str(tmp_path), "--publish", "--fresh-only"]) == 0
    assert [command[3] for command in ran] == ["sensor_loss", "soak", "tf"]


def test_a_short_run_is_kept_and_never_published(ran, tmp_path):
    run_scenarios([ONE, FREE], tmp_path, Wish(seconds=60.0), lambda _: None)
    found = fit_to_publish(collect(tmp_path))
    assert list(found["scenarios"]) == ["sensor_loss"]
    assert "soak" in found["not_run"]


def test_goals_of_scenarios_without_figures_stand_as_not_measured_with_their_command(ran, tmp_path):
    run_scenarios([ONE, FREE], tmp_path, Wish(seconds=60.0), lambda _: None)
    found = collect(tmp_path)
    rows = {row["scenario"]: row for row in found["goals"] if not is_judged(row)}
    measured = {"sensor_loss", "soak"}
    assert rows.keys() == {one.name for one in SCENARIOS} - measured
    assert (rows["tf"]["name"], rows["tf"]["value"], rows["tf"]["met"]) == (
        "transforms late or gone",
        None,
        False,
    )
    page = document(fit_to_publish(found))
    command = "`python -m tests.faults --output DIR --only tf`"
    assert f"| transforms late or gone | - | - | not measured | {command} | - |" in page
    assert page.count("| not measured |") == len(SCENARIOS) - 1, "a soak of a minute is none"


def test_an_empty_folder_is_not_published(ran, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "DOCUMENT", tmp_path / "page.md")
    assert main(["--output", str(tmp_path), "--publish"]) == 2
    assert "no result to publish" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
    assert main(["--output", str(tmp_path), "--fresh-only"]) == 2
    assert "--publish" in capsys.readouterr().err


def test_results_of_two_machines_are_told_apart():
    facts = {"cores": 2, "cpu": "one", "memory_gib": 8.0, "isa": ["avx2"], "gpu": ""}
    part = {"machine": facts, "versions": {"python": "3.11"}}
    other = {**part, "machine": {**facts, "cpu": "other"}}
    assert publish.machines({"tf": part, "late": part}).count("Measured on") == 1
    text = publish.machines({"tf": part, "late": other})
    assert "cores of one (avx2), 8 GiB; python 3.11: tf." in text
    assert "cores of other (avx2), 8 GiB; python 3.11: late." in text


def test_a_damaged_part_is_run_again(ran, tmp_path):
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    results.part_path(tmp_path, "sensor_loss").write_text("{")
    run_scenarios([ONE], tmp_path, say=lambda _: None)
    assert len(ran) == 2


def test_every_scenario_is_a_module_with_a_run_and_says_what_it_asks():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    for name in names:
        source = (ROOT / "tests" / "faults" / f"{name}.py").read_text(encoding="utf-8")
        assert "def run(context: Context) -> list[Figure]:" in source, name
    for scenario in SCENARIOS:
        assert scenario.title
        assert scenario.minutes > 0


def test_an_unknown_scenario_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="sensor_loss"):
        chosen(["sensor_los"])


def test_what_a_scenario_imports_counts_and_other_scenarios_do_not():
    files = {str(path.relative_to(ROOT)) for path in module_files(ROOT / "tests/faults/tf.py")}
    assert {"tests/faults/tf.py", "tests/faults/injection.py", "benchmarks/soak.py"} <= files
    lists = {"tests/faults/suite.py", "tests/faults/rows.py"}
    assert not {"tests/faults/sensor_loss.py", *lists} & files


def test_the_tests_that_a_scenario_runs_count_with_what_they_import():
    (one,) = (one for one in SCENARIOS if one.name == NAMED_TESTS)
    files = {str(path.relative_to(ROOT)) for path in scenario_files(one)}
    named = {path for row in ROWS if NAMED_TESTS in row.scenarios for path in row.tests}
    assert {f"tests/{path}" for path in named} <= files
    assert "tests/ros/node_bench.py" in files


def test_help_teaches_and_the_list_names_all(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "Examples:" in capsys.readouterr().out
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(scenario.name in listed for scenario in SCENARIOS)
    assert "with --all: 2." in listed


def test_all_runs_the_long_ones_too_and_a_whole_run_does_not():
    names = [one.name for one in chosen((), with_long=True)]
    assert names == [one.name for one in SCENARIOS]
    long = set(names) - {one.name for one in chosen(())}
    assert long == {"ladder", "health", "calibration", "soak"}


def test_all_is_run_before_it_is_published(ran, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "DOCUMENT", tmp_path / "page.md")
    assert main(["--output", str(tmp_path), "--all", "--publish"]) == 0
    assert [command[3] for command in ran] == [one.name for one in SCENARIOS]
    assert "not measured" not in (tmp_path / "page.md").read_text().partition("## Goals")[2]
    assert main(["--output", str(tmp_path), "--all", "--only", "tf"]) == 2
    assert "one of the two" in capsys.readouterr().err


def test_without_a_folder_it_says_what_is_missing(capsys):
    assert main([]) == 2
    assert "--output" in capsys.readouterr().err
