# SPDX-License-Identifier: Apache-2.0
"""The doctor's table: words always, colours on a terminal alone, JSON with the same lines."""

import json

import pytest

from imkd_core.cli.doctor_table import write_json, write_table
from imkd_core.errors import DataError
from imkd_core.health.check import AMBER, GREEN, RED, Check

CHECKS = [
    Check(name="CAM_FRONT", level=GREEN, found="12 Hz", remedy="never shown"),
    Check(name="speed", level=AMBER, found="slow", remedy="see what else runs"),
    Check(name="RADAR", level=RED, found="dead", remedy="look at its cable"),
]


@pytest.mark.parametrize(("checks", "code"), [(CHECKS, 1), (CHECKS[:2], 0), ([], 0)])
def test_the_exit_code_is_1_where_something_is_red(checks, code, capsys):
    assert write_table(checks) == code
    assert f"{len(checks)} checks, {code} faults" in capsys.readouterr().out


def test_levels_are_words_and_remedies_follow_what_is_not_green(capsys):
    write_table(CHECKS)
    assert capsys.readouterr().out.splitlines() == [
        "ok     CAM_FRONT  12 Hz",
        "note   speed      slow",
        "                  -> see what else runs",
        "FAULT  RADAR      dead",
        "                  -> look at its cable",
        "3 checks, 1 faults, 1 notes",
    ]


def test_a_terminal_gets_colours_and_lines_that_fit(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    long = Check(name="RADAR", level=RED, found="word " * 40, remedy="mend " * 40)
    write_table([long])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("\x1b[31;1mFAULT \x1b[0m")
    assert max(len(line) for line in lines[1:]) <= 60
    assert lines[1].startswith(" " * len("FAULT  RADAR  "))


def test_no_color_is_respected(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    write_table(CHECKS)
    assert "\x1b" not in capsys.readouterr().out


def test_the_file_holds_the_same_lines(tmp_path):
    path = tmp_path / "new" / "doctor.json"
    write_json(path, CHECKS, {"source": "the bag drive"})
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["source"] == "the bag drive"
    assert found["checks"][2] == {
        "name": "RADAR",
        "level": "FAULT",
        "found": "dead",
        "remedy": "look at its cable",
    }


def test_a_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="name another file"):
        write_json(tmp_path / "file" / "doctor.json", CHECKS, {})
