# SPDX-License-Identifier: Apache-2.0
"""Writes recordings as one data set in the nuScenes v1.0 layout.

    with DatasetWriter(Path("data/mine")) as writer:
        ...                                     # files below writer.root
        writer.add(scene)                       # a `RecordedScene` that names them
    nuscenes = NuScenes(Path("data/mine"), VERSION)

Everything is written to a hidden folder beside its place and moved there when it is complete: a
data set under its own name is always whole. An exception leaves nothing behind.
"""

import json
import shutil
import tempfile
from pathlib import Path

from imkd_core.data.bags.recorded_scene import RecordedScene, scene_rows, sensor_row
from imkd_core.data.nuscenes.writing import Row, constant_tables, table_text, write_map
from imkd_core.errors import DataError
from imkd_core.evaluation.results import write_atomic

#: Name of the table folder.
VERSION = "v1.0-recorded"


class DatasetWriter:
    """Writes one data set; a context manager.

    Args:
        output: the dataroot to make; it must not be there.
        categories: nuScenes categories that may occur.

    Attributes:
        root: the hidden dataroot that files are written to.

    Raises:
        DataError: the place is taken or cannot be written.
    """

    def __init__(self, output: Path, categories: tuple[str, ...]) -> None:
        if output.exists():
            raise DataError(f"{output} is there already; choose another --output, or delete it")
        self._output = output
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self.root = Path(tempfile.mkdtemp(prefix=f".{output.name}.part-", dir=output.parent))
        except OSError as error:
            raise DataError(
                f"cannot write {output} ({error.strerror}); choose another --output"
            ) from None
        self._rows: dict[str, list[Row]] = constant_tables(categories, "recorded", "recorded")
        self._rows["sensor"] = []
        self._velocities: dict[str, list[float]] = {}
        self._scenes: list[str] = []

    def add(self, scene: RecordedScene) -> None:
        """Take in a scene whose files are written.

        Raises:
            DataError: two scenes have one name, or a channel is another kind of sensor in each.
        """
        if scene.name in self._scenes:
            raise DataError(f"two recordings are called '{scene.name}'; rename one")
        self._scenes.append(scene.name)
        rows, velocities = scene_rows(scene)
        for name, found in rows.items():
            self._rows.setdefault(name, []).extend(found)
        self._velocities |= velocities
        known = {row["token"]: row for row in self._rows["sensor"]}
        for mount in scene.mounts:
            row = sensor_row(mount)
            if known.setdefault(row["token"], row) != row:
                raise DataError(
                    f"sensor '{mount.channel}' is of another kind in '{scene.name}' than before; "
                    "convert these recordings one by one"
                )
        self._rows["sensor"] = list(known.values())

    def close(self) -> None:
        """Write the tables and move the data set to its place.

        Raises:
            DataError: it cannot be written, or somebody has taken the place meanwhile.
        """
        folder = self.root / VERSION
        for name, rows in self._rows.items():
            write_atomic(folder / f"{name}.json", table_text(rows).encode())
        splits = json.dumps({"all": self._scenes})
        write_atomic(folder / "splits.json", splits.encode())
        write_atomic(folder / "velocities.json", json.dumps(self._velocities).encode())
        write_map(self.root)
        try:
            self.root.chmod(0o755)
            self.root.rename(self._output)
        except OSError as error:
            raise DataError(
                f"cannot move the data set to {self._output} ({error.strerror}); choose another "
                "--output"
            ) from None

    def abandon(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> "DatasetWriter":
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Complete the data set, or remove it after an exception."""
        try:
            if kind is None:
                self.close()
        finally:
            self.abandon()


def reading_path(channel: str, scene: str, stamp_ns: int, suffix: str, is_key: bool) -> str:
    """Return the name of a sensor file below the dataroot."""
    folder = "samples" if is_key else "sweeps"
    return f"{folder}/{channel}/{scene}__{channel}__{stamp_ns // 1000}.{suffix}"
