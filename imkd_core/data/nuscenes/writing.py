# SPDX-License-Identifier: Apache-2.0
"""Pieces of nuScenes v1.0 tables, for whoever writes a folder in that layout.

Tokens are hashes of names, so that the same names give the same tables.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from imkd_core.evaluation.results import write_atomic
from imkd_core.geometry import Float64, quaternion_from_rotation

#: Attributes of the detection task.
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

#: Where the picture lies that the devkit wants for each map.
_MAP_FILE = "maps/blank.png"

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


def named_row(table: str, name: str) -> Row:
    """Return the row of a table that holds little more than names."""
    return {"token": token_of(table, name), "name": name, "description": ""}


def constant_tables(categories: Iterable[str], logfile: str, location: str) -> dict[str, list[Row]]:
    """Return the tables that are the same for all drives: categories, attributes, log, map, ...

    Args:
        categories: names of the categories that occur.
        logfile: what the one log is called, and its vehicle.
        location: of the log.
    """
    log = {"logfile": logfile, "vehicle": logfile, "date_captured": "2025-01-01"}
    map_row = {"category": "semantic_prior", "filename": _MAP_FILE, "log_tokens": [token_of("log")]}
    return {
        "category": [named_row("category", name) for name in sorted(categories)],
        "attribute": [named_row("attribute", name) for name in ATTRIBUTES],
        "visibility": [
            {"token": str(i + 1), "level": level, "description": f"visible share {level[1:]} %"}
            for i, level in enumerate(VISIBILITIES)
        ],
        "log": [{"token": token_of("log"), **log, "location": location}],
        "map": [{"token": token_of("map"), **map_row}],
    }


def write_map(root: Path) -> None:
    """Write the picture that the devkit wants for each map: one empty pixel.

    Raises:
        DataError: it cannot be written.
    """
    _, encoded = cv2.imencode(".png", np.zeros((1, 1), dtype=np.uint8))
    write_atomic(root / _MAP_FILE, encoded.tobytes())


def table_text(rows: Iterable[Row]) -> str:
    """Return a table as JSON, a record a line."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
