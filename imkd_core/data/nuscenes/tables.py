# SPDX-License-Identifier: Apache-2.0
"""The JSON tables of a nuScenes v1.0 dataroot: loaded, indexed by token, checked when read.

A record is checked on access against the fields that the reader uses, so a broken table gives an
error with the name of the table, the token and the field, and a large one costs nothing more.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from imkd_core.errors import DataError

Record = Mapping[str, Any]

#: Larger numbers, whole or not, are nowhere in a table.
_LARGEST = 1e18

#: Fields of each table that the reader uses; a type, or the length of a list of finite numbers.
SCHEMAS: Mapping[str, Mapping[str, type | int]] = {
    "attribute": {"name": str},
    "category": {"name": str},
    "instance": {"category_token": str},
    "sensor": {"channel": str, "modality": str},
    "calibrated_sensor": {
        "sensor_token": str,
        "translation": 3,
        "rotation": 4,
        "camera_intrinsic": list,
    },
    "ego_pose": {"translation": 3, "rotation": 4},
    "scene": {"name": str, "first_sample_token": str},
    "sample": {"timestamp": int, "prev": str, "next": str, "scene_token": str},
    "sample_data": {
        "sample_token": str,
        "ego_pose_token": str,
        "calibrated_sensor_token": str,
        "timestamp": int,
        "is_key_frame": bool,
        "height": int,
        "width": int,
        "filename": str,
        "prev": str,
        "next": str,
    },
    "sample_annotation": {
        "sample_token": str,
        "instance_token": str,
        "visibility_token": str,
        "attribute_tokens": list,
        "translation": 3,
        "size": 3,
        "rotation": 4,
        "prev": str,
        "next": str,
        "num_lidar_pts": int,
        "num_radar_pts": int,
    },
}


class Tables:
    """All tables of one version, with reverse indices by sample.

    Attributes:
        root: the dataroot.
        version: name of the table folder.
        velocities: annotation token -> (vx, vy), global frame, m/s; from the optional file
            `velocities.json` that a key frame without neighbours comes with. A token with an
            unknown velocity is left out.

    Raises:
        DataError: a table is missing, is no JSON, or is no list of records with tokens.
    """

    def __init__(self, root: Path, version: str) -> None:
        self.root, self.version = root, version
        self._folder = _version_folder(root, version)
        self._rows = {name: self._load(name) for name in SCHEMAS}
        self.velocities = self._load_velocities()
        self._readings = self._group("sample_data")
        self._annotations = self._group("sample_annotation")

    def get(self, table: str, token: str) -> Record:
        """Return the record of a token.

        Raises:
            DataError: there is no such record, or a field of it is missing or malformed.
        """
        record = self._rows[table].get(token)
        if record is None:
            raise DataError(
                f"{self._folder}: no record '{token}' in {table}.json; the tables are incomplete "
                "or not of one version"
            )
        for name, kind in SCHEMAS[table].items():
            if not _fits(record.get(name), kind):
                raise DataError(
                    f"{self._folder / table}.json: record '{token}': field '{name}' is missing or "
                    f"malformed ({record.get(name)!r}); get the table again"
                )
        return record

    def tokens(self, table: str) -> tuple[str, ...]:
        """Return all tokens of a table, in its order."""
        return tuple(self._rows[table])

    def readings(self, sample_token: str) -> tuple[Record, ...]:
        """Return the sample_data records of a sample, key frames and sweeps, in table order."""
        return tuple(self.get("sample_data", t) for t in self._readings.get(sample_token, ()))

    def annotations(self, sample_token: str) -> tuple[Record, ...]:
        """Return the annotations of a sample in the table's order."""
        tokens = self._annotations.get(sample_token, ())
        return tuple(self.get("sample_annotation", token) for token in tokens)

    def category(self, annotation: Record) -> str:
        """Return the category name ("vehicle.car") of an annotation."""
        instance = self.get("instance", annotation["instance_token"])
        return str(self.get("category", instance["category_token"])["name"])

    def path(self, filename: str) -> Path:
        """Return the path of a data file below the dataroot; links that lie there are followed.

        Raises:
            DataError: the name is absolute or climbs out of the dataroot.
        """
        relative = PurePosixPath(filename)
        escapes = relative.is_absolute() or ".." in relative.parts or not relative.parts
        if escapes or "\\" in filename or "\0" in filename or ":" in relative.parts[0]:
            raise DataError(
                f"{self._folder / 'sample_data.json'}: filename {filename!r} leaves the dataroot; "
                "it was refused"
            )
        return self.root / relative

    def _load(self, name: str) -> dict[str, dict[str, Any]]:
        rows = _read_json(self._folder / f"{name}.json")
        if not isinstance(rows, list):
            raise DataError(f"{self._folder / name}.json must hold a list of records")
        if not all(isinstance(row, dict) and isinstance(row.get("token"), str) for row in rows):
            raise DataError(f"{self._folder / name}.json: a record has no token; get it again")
        by_token = {row["token"]: row for row in rows}
        if len(by_token) != len(rows):
            counts = Counter(row["token"] for row in rows)
            twice = next(token for token, count in counts.items() if count > 1)
            raise DataError(f"{self._folder / name}.json: the token '{twice}' stands twice")
        return by_token

    def _load_velocities(self) -> dict[str, tuple[float, float]]:
        path = self._folder / "velocities.json"
        if not path.is_file():
            return {}
        raw = _read_json(path)
        if not isinstance(raw, dict) or not all(v is None or _fits(v, 2) for v in raw.values()):
            raise DataError(f"{path} must map annotation tokens to [vx, vy] in m/s, or to null")
        return {token: (float(v[0]), float(v[1])) for token, v in raw.items() if v is not None}

    def _group(self, table: str) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for token, row in self._rows[table].items():
            groups.setdefault(str(row.get("sample_token")), []).append(token)
        return groups


def _version_folder(root: Path, version: str) -> Path:
    if not root.is_dir():
        raise DataError(f"no nuScenes dataroot {root}; get nuScenes from https://www.nuscenes.org")
    if PurePosixPath(version).name != version or version in ("", ".", ".."):
        raise DataError(f"the version {version!r} is no folder name; use for example v1.0-mini")
    if not (root / version).is_dir():
        found = ", ".join(sorted(path.name for path in root.glob("v1.0-*"))) or "no version at all"
        raise DataError(f"{root} holds no tables of {version}; it holds {found}")
    return root / version


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"no table {path}; the dataroot is incomplete") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); get the table again") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _fits(value: Any, kind: type | int) -> bool:
    """Whether a value has a type, or is a list of so many finite numbers."""
    if isinstance(kind, int):
        return isinstance(value, list) and len(value) == kind and _finite_numbers(value)
    if kind is int and isinstance(value, int) and abs(value) > _LARGEST:
        return False
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _finite_numbers(values: Iterable[Any]) -> bool:
    return all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _LARGEST  # false for NaN; a whole number may be beyond all floats
        for value in values
    )
