# SPDX-License-Identifier: Apache-2.0
"""Result files of the nuScenes detection task (JSON): written at once or not at all, and read.

The unmodified nuscenes-devkit evaluates the same file. Everything in it is in the global frame.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import ATTRIBUTES, BoxTable
from imkd_core.geometry import Float64, quaternion_from_rotation, rotation_from_quaternion

#: Which sensors a result file says it was made from.
META = {
    "use_camera": True,
    "use_lidar": False,
    "use_radar": True,
    "use_map": False,
    "use_external": False,
}


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under its final name only when it is complete; folders are made.

    Raises:
        DataError: it cannot be written (disk full, no permission); nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as stream:
            temporary = Path(stream.name)
            stream.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise DataError(
            f"cannot write {path} ({error.strerror}); free some space or choose another --output"
        ) from None


def write_results(
    path: Path,
    boxes: BoxTable,
    tokens: Sequence[str],
    global_from_ego: Sequence[Float64] | None = None,
    meta: Mapping[str, bool] = META,
) -> None:
    """Write detections as a result file.

    Args:
        path: of the file.
        boxes: in the global frame, best 500 of each sample at most.
        tokens: sample tokens that `boxes.sample` indexes; samples without boxes are written too.
        global_from_ego: (4, 4) pose of each sample, whose tilt the boxes take on; level without.
        meta: which sensors and maps were used.

    Raises:
        DataError: the file cannot be written.
    """
    results: dict[str, list[dict[str, Any]]] = {token: [] for token in tokens}
    for i in range(len(boxes)):
        sample = int(boxes.sample[i])
        tilt = np.eye(3) if global_from_ego is None else global_from_ego[sample][:3, :3]
        length_m, width_m, height_m = boxes.size_m[i].tolist()
        attribute = int(boxes.attribute[i])
        results[tokens[sample]].append(
            {
                "sample_token": tokens[sample],
                "translation": boxes.center_m[i].tolist(),
                "size": [width_m, length_m, height_m],
                "rotation": _quaternion(float(boxes.yaw_rad[i]), tilt),
                "velocity": boxes.velocity_mps[i].tolist(),
                "detection_name": NUSCENES_CLASSES[boxes.label[i]],
                "detection_score": float(boxes.score[i]),
                "attribute_name": ATTRIBUTES[attribute] if attribute >= 0 else "",
            }
        )
    write_atomic(path, json.dumps({"meta": dict(meta), "results": results}).encode())


def read_results(
    path: Path,
    tokens: Sequence[str],
    ego_position_m: Float64,
    max_boxes: int = 500,
) -> BoxTable:
    """Read a result file; boxes stay in the file's order.

    Args:
        path: of the file.
        tokens: the samples to judge; the file must hold exactly these.
        ego_position_m: (S, 3) ego origin of each sample in the global frame.
        max_boxes: boxes allowed in a sample.

    Raises:
        DataError: not a result file, other samples, too many boxes, an unknown class or
            attribute, a number that is not finite (only velocities may be NaN).
    """
    results = _load(path)
    index = {token: i for i, token in enumerate(tokens)}
    if set(index) != set(results):
        lacking, extra = set(index) - set(results), set(results) - set(index)
        raise DataError(
            f"{path} holds other samples than those judged: {len(lacking)} are missing, "
            f"{len(extra)} too many; give the data and scenes that it was made from"
        )
    rows: list[tuple[Any, ...]] = []
    for token, boxes in results.items():
        if not isinstance(boxes, list) or len(boxes) > max_boxes:
            count = len(boxes) if isinstance(boxes, list) else "no list of"
            raise DataError(f"{path}: sample '{token}' has {count} boxes; {max_boxes} are allowed")
        rows += [_row(path, token, i, box, index[token]) for i, box in enumerate(boxes)]
    if not rows:
        return BoxTable.empty()
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    sample, label, center_m, size_m, yaw_rad, velocity_mps, score, attribute = columns
    try:
        return BoxTable(
            sample=sample,
            label=label,
            center_m=center_m,
            size_m=size_m,
            yaw_rad=yaw_rad,
            velocity_mps=velocity_mps,
            score=score,
            attribute=attribute,
            points=np.full(len(rows), -1),
            ego_distance_m=np.linalg.norm(center_m[:, :2] - ego_position_m[sample, :2], axis=1),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the results {path} ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); write the results again") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("results"), dict):
        raise DataError(f"{path} is no nuScenes result file: it has no mapping 'results'")
    return raw["results"]


def _row(path: Path, token: str, number: int, box: Any, sample: int) -> tuple[Any, ...]:
    """Return one box as columns, after all checks."""
    where = f"{path}: sample '{token}', box {number}"
    if not isinstance(box, dict) or box.get("sample_token") != token:
        raise DataError(f"{where} is no box, or one of another sample")
    name, attribute = box.get("detection_name"), box.get("attribute_name")
    if name not in NUSCENES_CLASSES:
        raise DataError(f"{where}: unknown class {name!r}; known: {', '.join(NUSCENES_CLASSES)}")
    if attribute and attribute not in ATTRIBUTES:
        raise DataError(f"{where}: unknown attribute {attribute!r}; use one of nuScenes, or ''")
    translation = _numbers(where, box, "translation", 3)
    width_m, length_m, height_m = _numbers(where, box, "size", 3)
    rotation = rotation_from_quaternion(_numbers(where, box, "rotation", 4))
    score = box.get("detection_score")
    if isinstance(score, bool) or not isinstance(score, float | int) or not np.isfinite(score):
        raise DataError(f"{where}: detection_score must be a finite number, got {score!r}")
    return (
        sample,
        NUSCENES_CLASSES.index(name),
        translation,
        (length_m, width_m, height_m),
        float(np.arctan2(rotation[1, 0], rotation[0, 0])),
        _numbers(where, box, "velocity", 2, may_be_nan=True),
        float(score),
        ATTRIBUTES.index(attribute) if attribute else -1,
    )


def _numbers(
    where: str, box: Mapping[str, Any], name: str, count: int, may_be_nan: bool = False
) -> list[float]:
    values = box.get(name)
    is_list = isinstance(values, list) and len(values) == count
    if not is_list or not all(type(value) in (int, float) for value in values):  # type: ignore[union-attr]
        raise DataError(f"{where}: {name} must be {count} numbers, got {values!r}")
    numbers = [float(value) for value in values]  # type: ignore[union-attr]
    bad = np.isinf(numbers) if may_be_nan else ~np.isfinite(numbers)
    if bad.any():
        raise DataError(f"{where}: {name} holds {values!r}; remove the box or write it again")
    if name == "rotation" and not 0.9 < float(np.linalg.norm(numbers)) < 1.1:
        raise DataError(f"{where}: rotation {values!r} is no unit quaternion")
    return numbers


def _quaternion(yaw_rad: float, tilt: Float64) -> list[float]:
    """Return (w, x, y, z) of a box with a heading in the global frame, level in a tilted frame.

    Args:
        yaw_rad: heading of the box's x axis in the global xy plane.
        tilt: (3, 3) rotation global_from_ego; its z axis is the box's.
    """
    up = tilt[:, 2]
    flat = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
    ahead = np.array([*flat, -(flat @ up[:2]) / up[2]])
    ahead /= np.linalg.norm(ahead)
    wxyz = quaternion_from_rotation(np.stack([ahead, np.cross(up, ahead), up], axis=1))
    return [float(value) for value in wxyz]
