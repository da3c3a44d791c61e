# SPDX-License-Identifier: Apache-2.0
"""The tables that `imkd bench --publish` wrote say the same in both of their files."""

from benchmarks.publish import BEGIN, DOCUMENT, END, README


def _tables(path):
    """Return the lines of a file between the markers."""
    text = path.read_text(encoding="utf-8")
    return text.split(BEGIN)[1].split(END)[0].strip().splitlines()


def _goals(lines):
    """Return the line of the machine and the goals of `docs/performance.md`."""
    begin = next(i for i, line in enumerate(lines) if line.startswith("Measured "))
    ends = (i for i, line in enumerate(lines) if i > begin and line.startswith("## "))
    return "\n".join(lines[begin : next(ends)]).strip()


def test_the_readme_has_the_goals_of_the_performance_page(project_root):
    goals = _goals(_tables(project_root / DOCUMENT))
    assert goals.count("\n| ") > 10
    assert "\n".join(_tables(project_root / README)) == goals
