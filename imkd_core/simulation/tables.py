# SPDX-License-Identifier: Apache-2.0
"""The tables of made-up data sets in the nuScenes v1.0 layout.

Each finished drive leaves its rows in `drives/<scene>.json`; `merge_tables` makes the 13 tables of
all of them, and `splits.json`, in which the devkit finds custom splits: "all", and one for each
weather that occurs (`NuScenes(version="v1.0-simulated", ...)`, `DetectionEval(..., "all")`).
Tokens are hashes of names, so that the same seed gives the same tables.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from imkd_core.errors import DataError
from imkd_core.evaluation.results import write_atomic
from imkd_core.geometry import Float64, quaternion_from_rotation
from imkd_core.simulation.rig import lidar_mount, make_cameras, make_radars
from imkd_core.simulation.schedule import CHANNELS, LIDAR
from imkd_core.simulation.world.bodies import KINDS

#: Name of the table folder.
VERSION = "v1.0-simulated"

#: Tables with rows of each drive; the others are the same for all.
DRIVE_TABLES = ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")

ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITIES = ("v0-40", "v40-60", "v60-80", "v80-100")

Row = dict[str, Any]


def token_of(*names: object) -> str:
    """Return the token of names: 32 hexadecimal digits, the same at all times."""
    text = "/".join(str(name) for name in names)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def pose_fields(dst_from_src: Float64) -> Row:
    """Return translation and rotation (w, x, y, z) of a rigid transform (4, 4)."""
    return {
        "translation": [float(value) for value in dst_from_src[:3, 3]],
        "rotation": [float(value) for value in quaternion_from_rotation(dst_from_src[:3, :3])],
    }


def linked(tokens: Sequence[str]) -> list[Row]:
    """Return `prev` and `next` of each token of a chain."""
    padded = ["", *tokens, ""]
    return [{"prev": padded[i], "next": padded[i + 2]} for i in range(len(tokens))]


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
            (hidden / f"{name}.json").write_text(_as_json(rows), encoding="utf-8")
        (hidden / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
        _write_map(output)
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
    categories = sorted({kind.category for kind in KINDS.values()} - {""})
    log = {"logfile": "simulated", "vehicle": "simulated", "date_captured": "2025-01-01"}
    return {
        "category": [_named("category", name) for name in categories],
        "attribute": [_named("attribute", name) for name in ATTRIBUTES],
        "visibility": [
            {"token": str(i + 1), "level": level, "description": f"visible share {level[1:]} %"}
            for i, level in enumerate(VISIBILITIES)
        ],
        "sensor": [
            {"token": token_of("sensor", name), "channel": name, "modality": _modality(name)}
            for name in CHANNELS
        ],
        "calibrated_sensor": _calibrations(size_px),
        "log": [{"token": token_of("log"), **log, "location": "made-up"}],
        "map": [
            {
                "token": token_of("map"),
                "category": "semantic_prior",
                "filename": "maps/blank.png",
                "log_tokens": [token_of("log")],
            }
        ],
    }


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


def _named(table: str, name: str) -> Row:
    return {"token": token_of(table, name), "name": name, "description": ""}


def _modality(channel: str) -> str:
    return {"C": "camera", "R": "radar", "L": "lidar"}[channel[0]]


def _write_map(output: Path) -> None:
    """Write the picture that the devkit wants for each map: one empty pixel."""
    _, encoded = cv2.imencode(".png", np.zeros((1, 1), dtype=np.uint8))
    write_atomic(output / "maps" / "blank.png", encoded.tobytes())


def _as_json(rows: Iterable[Row]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
