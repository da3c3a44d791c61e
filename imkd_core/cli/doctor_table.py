# SPDX-License-Identifier: Apache-2.0
"""The doctor's table on a terminal or in a file: words always, colours on a terminal alone."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imkd_core.errors import DataError
from imkd_core.health.check import AMBER, GREEN, RED, Check

#: Level -> colour on a terminal.
_COLOURS: Mapping[str, str] = MappingProxyType({GREEN: "32", AMBER: "33", RED: "31;1"})

#: A column of names wider than this is not made for one long name.
_WIDEST = 26


def write_table(checks: Sequence[Check]) -> int:
    """Print a line a check, the remedy below what is not green; return the exit code.

    Args:
        checks: in the order of the table.

    Returns:
        1 where something is red, else 0.
    """
    is_terminal = sys.stdout.isatty()
    width = min(max((len(check.name) for check in checks), default=0), _WIDEST)
    columns = shutil.get_terminal_size().columns if is_terminal else None
    for check in checks:
        _write(f"{check.level:<6} {check.name:<{width}}  ", check.found, check.level, columns)
        if check.remedy and check.level != GREEN:
            _write(f"{'':<6} {'':<{width}}  -> ", check.remedy, "", columns)
    faults = sum(check.level == RED for check in checks)
    notes = sum(check.level == AMBER for check in checks)
    sys.stdout.write(f"{len(checks)} checks, {faults} faults, {notes} notes\n")
    return 1 if faults else 0


def write_json(path: Path, checks: Sequence[Check], about: Mapping[str, Any]) -> None:
    """Write the table as JSON: what was looked at, and each line.

    Args:
        path: file to write.
        checks: in the order of the table.
        about: what was looked at.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [
        {"name": c.name, "level": c.level, "found": c.found, "remedy": c.remedy} for c in checks
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**about, "checks": lines}, indent=1) + "\n"
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; name another file") from error


def _write(head: str, text: str, level: str, columns: int | None) -> None:
    if columns is None:
        sys.stdout.write(f"{head}{text}\n")
        return
    indent = " " * min(len(head), columns // 2)
    lines = textwrap.wrap(
        text, max(columns, 40), initial_indent=head, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    body = "\n".join(lines or [head])
    if level and "NO_COLOR" not in os.environ:
        body = f"\x1b[{_COLOURS[level]}m{body[:6]}\x1b[0m{body[6:]}"
    sys.stdout.write(body + "\n")
