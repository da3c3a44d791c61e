# SPDX-License-Identifier: Apache-2.0
"""What several verbs share: opening data folders, reading KEY=VALUE texts, progress."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.progress import Progress

#: Where there is no terminal, progress is a line so often, seconds.
LINE_PERIOD_S = 15.0


def open_nuscenes(root: Path, version: str | None) -> NuScenes:
    """Open a nuScenes folder; without a version, the only table folder in it is taken.

    Raises:
        DataError: there is no table folder, or there are several and none was chosen.
    """
    found = sorted(path.name for path in root.glob("v1.0-*") if path.is_dir())
    if version is None and len(found) != 1:
        what = f"several table folders ({', '.join(found)})" if found else "no v1.0-* folder"
        remedy = (
            "choose one with --version"
            if found
            else "get the data set from nuscenes.org, unpack it, and name the folder that holds "
            "v1.0-mini or v1.0-trainval"
        )
        raise DataError(f"{root} holds {what}; {remedy}")
    return NuScenes(root, version or found[0])


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Return dotted key -> value of "key=value" texts; values are read as YAML.

    Raises:
        ConfigError: a text has no "=".
    """
    import yaml

    overrides = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set takes KEY=VALUE, got '{pair}'")
        value = yaml.safe_load(text)
        overrides[key] = _number(value) if isinstance(value, str) else value
    return overrides


def _number(text: str) -> float | str:
    """Return a float where YAML leaves a text ("2e-4" has no dot)."""
    try:
        return float(text)
    except ValueError:
        return text


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how long work proceeds: a bar on a terminal, a line every few seconds elsewhere.

    Yields:
        `update(done, note="", total=None)`: how much is done, a few words, a new total.
    """
    bar = _bar() if sys.stdout.isatty() else None
    if bar is None:
        yield _LineProgress(what, total).update
        return
    with bar:
        task = bar.add_task(what, total=total, note="")  # an update's total of None keeps it

        def update(done: int, note: str = "", total: int | None = None) -> None:
            bar.update(task, completed=done, note=note, total=total)

        yield update


def _bar() -> "Progress | None":
    """Return a progress bar; None where `rich` is not installed (a vehicle needs none)."""
    try:
        from rich import progress
    except ImportError:
        return None
    return progress.Progress(
        progress.TextColumn("[bold]{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
    )


class _LineProgress:
    """Prints a line when the work starts, now and then, and when it is complete."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._printed_s = float("-inf")

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self._total = total or self._total
        is_last = done == self._total
        if is_last or time.monotonic() - self._printed_s >= LINE_PERIOD_S:
            self._printed_s = time.monotonic()
            of = f"/{self._total}" if self._total else ""
            sys.stdout.write(f"{self._what} {done}{of} {note}\n")
            sys.stdout.flush()
