# SPDX-License-Identifier: Apache-2.0
"""Tables between markers, and what is not published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.publish import (
    BEGIN,
    DOCUMENT,
    END,
    README,
    document,
    machine,
    markdown,
    publish,
    replaced,
)
from imkd_core.errors import ConfigError

GOAL = {
    "name": "speed",
    "value": 2.0,
    "goal": 3.0,
    "unit": "times",
    "comparison": "at least",
    "reason": "",
    "met": False,
}

RUN = {
    "whole": True,
    "quick": False,
    "absent": [],
    "created": "2026-01-02T03:04:05+00:00",
    "hardware": {
        "cpu": "A CPU",
        "cpu_family_model": "26/2",
        "cpu_stepping": "1",
        "cores": 2,
        "isa": ["avx2"],
        "memory_gib": 8.0,
        "gpu": "",
    },
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    "git": {"commit": "0123456789abcdef", "is_changed": False},
    "goals": [GOAL, {**GOAL, "name": "gpu", "value": None, "met": None, "reason": "no GPU"}],
    "benchmarks": {
        "x": {
            "title": "An example",
            "command": "python -m benchmarks.x",
            "seconds": 12.3,
            "when": "2026-01-02T01:04:05+00:00",
            "figures": [
                {"name": "ours, p50", "value": 1.0, "unit": "ms", "note": "3 | 4"},
                {"name": "ours, p95", "value": 2.0, "unit": "ms", "note": "3 | 4"},
                {"name": "plain, p50", "value": None, "unit": "ms", "note": "absent"},
                {"name": "a ratio", "value": 3.0, "unit": "times", "note": ""},
            ],
            "facts": {"warnings": ["the machine was busy"]},
        }
    },
}


@pytest.fixture
def checkout(tmp_path):
    for path in (DOCUMENT, README):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return tmp_path


def test_both_files_get_their_tables_and_a_second_time_changes_nothing(checkout):
    assert publish(RUN, checkout) == [checkout / DOCUMENT, checkout / README]
    for path in (DOCUMENT, README):
        text = (checkout / path).read_text()
        assert text.startswith(f"before\n{BEGIN}\n")
        assert text.endswith(f"\n{END}\nafter\n")
        assert "old" not in text
        assert "| speed | at least 3 times | 2.00 times | missed |  |" in text
        assert "| gpu | at least 3 times | - | not measured | no GPU |" in text
        line = (
            "Measured 2026-01-02 on 2 cores of A CPU, family 26 model 2 stepping 1 (avx2), 8 GiB;"
        )
        assert f"{line} python 3.11.7" in text
    assert publish(RUN, checkout) == []


def test_the_machine_is_told_with_its_peak_and_the_days_on_which_its_parts_ran():
    part = {"when": "2026-01-04T00:00:00+00:00", "facts": {"peak_gflops": 407.34}}
    run = {**RUN, "benchmarks": {**RUN["benchmarks"], "inference": part}}
    text = machine(run)
    assert "Measured 2026-01-02 to 2026-01-04 on" in text
    assert "(avx2), 407 GFLOP/s in fp32 matrix products, 8 GiB" in text


def test_the_document_has_the_command_above_each_table():
    text = document(RUN)
    command, table = text.index("python -m benchmarks.x"), text.index("| ours | 1.00 | 2.00 | - |")
    assert text.index("## An example") < command < table
    assert "| ours | 1.00 | 2.00 | - | ms | 3 \\| 4 |" in text
    assert "| plain | - | - | - | ms | absent |" in text
    assert "| a ratio | 3.00 | times |  |" in text
    assert "Note: the machine was busy" in text


@pytest.mark.parametrize(
    ("changes", "why"), [({"quick": True}, "a quick one"), ({"absent": ["stages"]}, "stages")]
)
def test_a_run_that_is_not_whole_is_refused_and_nothing_is_written(checkout, changes, why):
    before = (checkout / README).read_text()
    with pytest.raises(ConfigError, match=why):
        publish({**RUN, "whole": False, **changes}, checkout)
    assert (checkout / README).read_text() == before


@pytest.mark.parametrize(
    "text", ["no markers", f"{BEGIN}", f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"]
)
def test_missing_or_doubled_markers_are_refused_before_anything_is_written(checkout, text):
    (checkout / README).write_text(text)
    before = (checkout / DOCUMENT).read_text()
    with pytest.raises(ConfigError, match="once each"):
        publish(RUN, checkout)
    assert (checkout / DOCUMENT).read_text() == before


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        replaced(tmp_path / "absent.md", "text")


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_no_cell_breaks_its_table(cells):
    lines = markdown(["h"] * len(cells), [cells]).split("\n")
    assert len(lines) == 3
    assert lines[2].replace("\\|", "").count("|") == len(cells) + 1


def test_a_table_without_rows_is_left_out():
    assert markdown(["a"], []) == ""


def test_the_checkout_has_its_markers(project_root):
    text = (project_root / DOCUMENT).read_text()
    assert text.count(BEGIN) == text.count(END) == 1
