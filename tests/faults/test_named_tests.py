# SPDX-License-Identifier: Apache-2.0
"""Rows that unit tests hold: their files are run, and what did not run is not called well."""

from collections import Counter

import pytest

from imkd_core.errors import DataError
from tests.faults import named_tests
from tests.faults.named_tests import FAILED, PASSED, SKIPPED, judge, run_tests
from tests.faults.rows import Row

ROW = Row(31, "a pickle", "refused", ("named_tests",), ("a.py", "b.py"))

TESTS = """import pytest


def test_well():
    pass


def test_bad():
    assert False


@pytest.fixture
def broken():
    raise RuntimeError


def test_set_up(broken):
    pass


@pytest.mark.skip
def test_left_out():
    pass
"""


def test_the_outcomes_of_a_file_are_counted_and_an_error_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_made_up.py").write_text(TESTS)
    monkeypatch.setattr(named_tests, "ROOT", tmp_path)
    found = run_tests(["test_made_up.py"], tmp_path)
    assert found == {"test_made_up.py": Counter({PASSED: 1, FAILED: 2, SKIPPED: 1})}
    with pytest.raises(DataError, match="pytest ended"):
        run_tests(["test_of_nothing.py"], tmp_path)


def test_a_row_is_met_without_failures_and_names_what_was_skipped():
    figure = judge(ROW, {"a.py": Counter(passed=3), "b.py": Counter(passed=1, skipped=2)})
    assert (figure.value, figure.met) == (0, True)
    assert figure.note == "4 passed, 2 skipped"
    assert not judge(ROW, {"a.py": Counter(passed=3), "b.py": Counter(failed=1)}).met


def test_a_row_whose_tests_were_all_skipped_or_are_gone_has_no_figure():
    skipped = judge(ROW, {"a.py": Counter(skipped=3), "b.py": Counter(skipped=1)})
    assert (skipped.value, skipped.met) == (None, False)
    assert "nothing was tested" in skipped.note
    gone = judge(ROW, {"a.py": Counter(passed=3)})
    assert (gone.value, gone.met) == (None, False)
    assert "b.py" in gone.note
