# SPDX-License-Identifier: Apache-2.0
"""What several verbs share: opening data folders, reading KEY=VALUE texts, progress bars."""

from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imkd_core.data.nuscenes import NuScenes
from imkd_core.errors import ConfigError, DataError


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


def progress_bar() -> Progress:
    """Return the progress bar of long work: name, bar, count, time left, and a text `note`."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
