# SPDX-License-Identifier: Apache-2.0
"""The faults that no scenario plays: the test files that `rows` names for them, under pytest.

A figure a row: tests that failed, of its files. A row without a test that passed has no figure: on
a machine where all are skipped nothing was tested.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import ROOT
from imkd_core.errors import DataError
from tests.faults.rows import NAMED_TESTS, ROWS, Row
from tests.faults.suite import Context, Figure, at_most, not_there

#: pytest ended by itself: all passed, or some failed.
_RAN = (0, 1)

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def run(context: Context) -> list[Figure]:
    """Run the tests of all these rows in one process, and count."""
    rows = [row for row in ROWS if NAMED_TESTS in row.scenarios]
    found = run_tests(sorted({path for row in rows for path in row.tests}), context.folder)
    return [judge(row, found) for row in rows]


def judge(row: Row, found: Mapping[str, Counter[str]]) -> Figure:
    """Return the figure of a row.

    Args:
        row: of the table of faults.
        found: file -> outcome -> tests.
    """
    counts: Counter[str] = sum((found.get(path, Counter()) for path in row.tests), Counter())
    name = f"row {row.number}, {row.fault}: tests failed"
    note = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (PASSED, SKIPPED))
    absent = [path for path in row.tests if not found.get(path)]
    if absent:
        return not_there(name, 0, "tests", f"{note}; none ran of {', '.join(absent)}")
    if not counts[PASSED] and not counts[FAILED]:
        return not_there(name, 0, "tests", f"{note}: nothing was tested here")
    return at_most(name, counts[FAILED], 0, "tests", note)


def run_tests(paths: Sequence[str], folder: Path) -> dict[str, Counter[str]]:
    """Run test files; return file -> outcome -> tests.

    Args:
        paths: below `tests/`.
        folder: that takes pytest's report and files.

    Raises:
        DataError: pytest did not run to its end; the log says why.
    """
    report = folder / "tests.xml"
    report.unlink(missing_ok=True)
    files = [f"tests/{path}" for path in paths]
    options = ["-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    places = [f"--junitxml={report}", f"--basetemp={folder / 'tests'}"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *places, *files], cwd=ROOT, check=False
    )
    if ran.returncode not in _RAN:
        raise DataError(f"pytest ended with {ran.returncode}: {' '.join(files)}")
    return outcomes(report)


def outcomes(report: Path) -> dict[str, Counter[str]]:
    """Return file below `tests/` -> outcome -> tests, of a report of pytest in xunit1."""
    found: dict[str, Counter[str]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        path = case.get("file", "").removeprefix("tests/")
        kinds = {child.tag for child in case}
        outcome = FAILED if kinds & {"failure", "error"} else PASSED
        found.setdefault(path, Counter())[SKIPPED if "skipped" in kinds else outcome] += 1
    return found
