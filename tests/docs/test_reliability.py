# SPDX-License-Identifier: Apache-2.0
"""The page on reliability: every fault has a place that is there, and the page can be written."""

from pathlib import Path

from tests.faults.publish import document, fault_table
from tests.faults.rows import NAMED_TESTS, ROWS
from tests.faults.suite import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]

RUN = {
    "goals": [
        {
            "scenario": "tf",
            "name": "boxes after TF came",
            "value": 0.4,
            "goal": 1.0,
            "unit": "s",
            "met": True,
            "note": "a | b",
            "comparison": "at most",
        }
    ],
    "figures": [],
    "scenarios": {
        "tf": {
            "command": "python -m tests.faults --output DIR --only tf",
            "seconds": 40.0,
            "error": "",
            "warnings": ["others used 3 cores"],
            "when": "2026-01-01T00:00:00+00:00",
            "commit": "0123456789abcdef",
            "is_changed": False,
            "is_current": True,
            "machine": {"cores": 2, "cpu": "a CPU", "memory_gib": 24.0, "isa": ["avx2"], "gpu": ""},
            "versions": {"python": "3.11"},
        }
    },
    "not_run": ["soak"],
}


def test_every_fault_has_its_number_once_and_places_that_exist():
    assert [row.number for row in ROWS] == list(range(1, 48))
    known = {scenario.name for scenario in SCENARIOS}
    for row in ROWS:
        assert set(row.scenarios) <= known, row
        for test in row.tests:
            assert (ROOT / "tests" / test).is_file(), row
        assert row.scenarios, f"{row.number} has no figure"
        assert row.tests or NAMED_TESTS not in row.scenarios, row


def test_the_page_has_every_figure_what_was_not_run_and_what_disturbed():
    page = document(RUN)
    assert "| boxes after TF came | at most 1.00 s | 0.400 s | met | a \\| b |" in page
    assert "Not run: soak." in page
    assert "others used 3 cores" in page
    assert "--only tf" in page
    assert fault_table(ROWS) in page
