# SPDX-License-Identifier: Apache-2.0
"""The recordings that a command names: bags, and the bags in a folder of bags.

recordings_of([Path("drive"), Path("week")])    # drive, week/friday, week/monday.mcap, ...
"""

import re
from collections.abc import Iterable
from pathlib import Path

from imkd_core.data.bags.recording import ENDINGS
from imkd_core.errors import DataError


def recordings_of(paths: Iterable[Path]) -> list[Path]:
    """Return the bags that are named, with those of each folder of bags in its place, by name.

    A path that does not exist is returned as it is: whoever opens it says so.

    Raises:
        DataError: a folder holds no bag, or cannot be looked into.
    """
    return [found for path in paths for found in (_bags_in(path) if path.is_dir() else [path])]


def _bags_in(folder: Path) -> list[Path]:
    """Return a folder that is a bag, whole or not; else the bags right in it, by name."""
    try:
        if is_bag(folder):
            return [folder]
        found = sorted(path for path in folder.iterdir() if _is_recording(path))
    except OSError as error:
        raise DataError(
            f"cannot look into {folder}: {error.strerror}; mend its rights, or name its bags"
        ) from None
    if not found:
        raise DataError(
            f"there is no bag in {folder}: looked for a metadata.yaml in it, and right in it for "
            "folders of bags (metadata.yaml, .mcap, .db3) and for .mcap and .db3 files; name a "
            "bag, or the folder that holds the bags"
        )
    return found


def is_bag(folder: Path) -> bool:
    """Whether a folder is a bag: it has metadata, or parts named after it, as rosbag2 does."""
    own = re.compile(rf"{re.escape(folder.resolve().name)}_\d+")
    return (folder / "metadata.yaml").is_file() or any(
        own.fullmatch(path.stem) for path in folder.iterdir() if path.suffix in ENDINGS
    )


def _is_recording(path: Path) -> bool:
    """Whether something in a folder of bags is to be replayed; bags that lack a part fail later."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(
            part.suffix in ENDINGS for part in path.iterdir()
        )
    return path.suffix in ENDINGS
