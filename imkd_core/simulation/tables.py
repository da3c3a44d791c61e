# SPDX-License-Identifier: Apache-2.0
"""The tables of made-up data sets in the nuScenes v1.0 layout.

Each finished drive leaves its rows in `drives/<scene>.json`; `merge_tables` makes the 13 tables of
all of them, and `splits.json`, in which the devkit finds custom splits: "all", and one for each
weather that occurs (`NuScenes(version="v1.0-simulated", ...)`, `DetectionEval(..., "all")`).
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imkd_core.data.nuscenes.writing import (
    Row,
    constant_tables,
    pose_fields,
    table_text,
    token_of,
    write_map,
)
from imkd_core.errors import DataError
from imkd_core.geometry import Float64
from imkd_core.simulation.rig import lidar_mount, make_cameras, make_radars
from imkd_core.simulation.schedule import CHANNELS, LIDAR
from imkd_core.simulation.world.bodies import KINDS

#: Name of the table folder.
VERSION = "v1.0-simulated"

#: Tables with rows of each drive; the others are the same for all.
DRIVE_TABLES = ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")


def calibration_token(channel: str, size_px: tuple[int, int]) -> str:
    """Return the token of a sensor's calibration."""
    return token_of("calibrated_sensor", channel, *size_px)


def drive_rows_path(output: Path, scene: str) -> Path:
    """Return where the rows of a finished drive lie."""
    return output / "drives" / f"{scene}.json"


def merge_tables(output: Path, scenes: Sequence[str], size_px: tuple[int, int]) -> None:
    """Write all tables of finished drives; they take the place of older ones when complete.

    Args:
        output: the dataroot.
        scenes: names, in order; the rows of each must be there.
        size_px: width and height of images.

    Raises:
        DataError: rows are missing or damaged, or the disk is full.
    """
    hidden, folder = output / ".tables-part", output / VERSION
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(parents=True)
        splits = _write_drive_tables(output, hidden, scenes)
        for name, rows in _constant_tables(size_px).items():
            (hidden / f"{name}.json").write_text(table_text(rows), encoding="utf-8")
        (hidden / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
        write_map(output)
        old = output / ".tables-old"
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        hidden.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot write the tables in {folder} ({error.strerror}); free some space and run the "
            "same command again"
        ) from None


def _write_drive_tables(output: Path, folder: Path, scenes: Sequence[str]) -> dict[str, list[str]]:
    """Append the rows of one drive after another; return split name -> scenes."""
    splits: dict[str, list[str]] = {"all": list(scenes)}
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context((folder / f"{name}.json").open("w", encoding="utf-8"))
            for name in DRIVE_TABLES
        }
        for number, scene in enumerate(scenes):
            rows = _read_rows(drive_rows_path(output, scene))
            splits.setdefault(str(rows["condition"]), []).append(scene)
            for name, stream in streams.items():
                stream.write("[\n" if number == 0 else "")
                texts = [json.dumps(row) for row in rows[name]]
                stream.write((",\n" if number and texts else "") + ",\n".join(texts))
        for stream in streams.values():
            stream.write("\n]\n" if scenes else "[]\n")
    return splits


def _read_rows(path: Path) -> Mapping[str, Any]:
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path} ({error}); delete it and run the same command again"
        ) from None
    if not isinstance(rows, dict) or any(name not in rows for name in (*DRIVE_TABLES, "condition")):
        raise DataError(f"{path} is incomplete; delete it and run the same command again")
    return rows


def _constant_tables(size_px: tuple[int, int]) -> dict[str, list[Row]]:
    categories = {kind.category for kind in KINDS.values()} - {""}
    sensors = [
        {"token": token_of("sensor", name), "channel": name, "modality": _modality(name)}
        for name in CHANNELS
    ]
    shared = constant_tables(categories, "simulated", "made-up")
    return {**shared, "sensor": sensors, "calibrated_sensor": _calibrations(size_px)}


def _calibrations(size_px: tuple[int, int]) -> list[Row]:
    cameras = make_cameras(size_px)
    mounts: dict[str, Float64] = {LIDAR: lidar_mount(), **make_radars()}
    mounts |= {name: camera.ego_from_cam for name, camera in cameras.items()}
    return [
        {
            "token": calibration_token(name, size_px),
            "sensor_token": token_of("sensor", name),
            **pose_fields(mount),
            "camera_intrinsic": cameras[name].pixel_from_cam.tolist() if name in cameras else [],
        }
        for name, mount in mounts.items()
    ]


def _modality(channel: str) -> str:
    return {"C": "camera", "R": "radar", "L": "lidar"}[channel[0]]
