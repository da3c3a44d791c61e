# SPDX-License-Identifier: Apache-2.0
"""`make faults` measures before it publishes."""

import subprocess
from pathlib import Path

import pytest

from tests.faults.__main__ import parser

ROOT = Path(__file__).resolve().parents[2]


def recipe(target: str) -> str:
    """Return the commands of a target, as make would give them to a shell."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    (begin,) = (n for n, line in enumerate(lines) if line.startswith(f"{target}:"))
    end = next(n for n in range(begin + 1, len(lines)) if not lines[n].startswith("\t"))
    return "\n".join(line[1:].lstrip("@") for line in lines[begin + 1 : end]).replace("$$", "$")


@pytest.mark.parametrize("code", [0, 1])
def test_make_faults_runs_a_whole_run_and_then_publishes_even_where_one_could_not_run(
    tmp_path, code
):
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in *--publish*) exit 0;; esac\nexit {code}\n'
    )
    python.chmod(0o755)
    script = recipe("faults").replace("$(PY)", str(python))
    ran = subprocess.run(["sh", "-c", script], timeout=30, check=False)
    assert ran.returncode == code
    prefix = "-m tests.faults "
    calls = log.read_text().splitlines()
    assert all(call.startswith(prefix) for call in calls)
    first, last = (parser().parse_args(call.removeprefix(prefix).split()) for call in calls)
    assert not first.publish, "the first call has to measure"
    assert (first.only, first.list, first.seconds) == ((), False, None), "a whole run"
    assert last.publish
    assert first.output == last.output == Path("out/faults")
