# SPDX-License-Identifier: Apache-2.0
"""The files that a scenario's figures hang on: where one of them changed, the figures are older."""

import ast
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.suite_run import files_of
from tests.faults.suite import Scenario

#: What every scenario hangs on, beside its own module.
_SOURCES = ("imkd_core", "imkd_ros", "config", "launch", "models")


def scenario_files(scenario: Scenario) -> set[Path]:
    """Return the files that a scenario's figures hang on."""
    own = (f"faults/{scenario.name}.py", *scenario.files)
    return {*files_of(_SOURCES)}.union(*(module_files(ROOT / "tests" / path) for path in own))


def module_files(path: Path, root: Path = ROOT) -> set[Path]:
    """Return a module with all that it imports, and these import, of tests and benchmarks.

    The lists of scenarios and of faults are left out: an entry more changes nothing in the others.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in found or not one.is_file():
            continue
        found.add(one)
        waiting += [root.joinpath(*name.split(".")).with_suffix(".py") for name in _imports(one)]
    return found - {root / "tests" / "faults" / name for name in ("suite.py", "rows.py")}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("tests", "benchmarks"))
