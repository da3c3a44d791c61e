# SPDX-License-Identifier: Apache-2.0
"""Result files of the nuScenes detection task (JSON): written at once or not at all, and read.

The unmodified nuscenes-devkit evaluates the same file. Everything in it is in the global frame.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import ATTRIBUTES, BoxTable
from imkd_core.geometry import Float64, quaternion_from_rotation

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
    for sample in np.unique(boxes.sample).tolist():
        part = boxes.select(boxes.sample == sample)
        tilt = np.eye(3) if global_from_ego is None else global_from_ego[sample][:3, :3]
        results[tokens[sample]] = _entries(part, tokens[sample], tilt)
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
    sample, label, center_m, size_m, wxyz, velocity_mps, score, attribute = columns
    try:
        return BoxTable(
            sample=sample,
            label=label,
            center_m=center_m,
            size_m=size_m,
            yaw_rad=_yaws(wxyz),
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
    score = box.get("detection_score")
    if isinstance(score, bool) or not isinstance(score, float | int) or not np.isfinite(score):
        raise DataError(f"{where}: detection_score must be a finite number, got {score!r}")
    return (
        sample,
        NUSCENES_CLASSES.index(name),
        translation,
        (length_m, width_m, height_m),
        _numbers(where, box, "rotation", 4),
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
    is_bad = math.isinf if may_be_nan else _is_not_finite
    if any(is_bad(number) for number in numbers):
        raise DataError(f"{where}: {name} holds {values!r}; remove the box or write it again")
    if name == "rotation" and not 0.9 < math.hypot(*numbers) < 1.1:
        raise DataError(f"{where}: rotation {values!r} is no unit quaternion")
    return numbers


def _is_not_finite(number: float) -> bool:
    return not math.isfinite(number)


def _entries(boxes: BoxTable, token: str, tilt: Float64) -> list[dict[str, Any]]:
    """Return the boxes of one sample as they stand in the file."""
    columns = (
        boxes.center_m.tolist(),
        boxes.size_m[:, [1, 0, 2]].tolist(),
        _quaternions(boxes.yaw_rad, tilt).tolist(),
        boxes.velocity_mps.tolist(),
        boxes.label.tolist(),
        boxes.score.tolist(),
        boxes.attribute.tolist(),
    )
    return [
        {
            "sample_token": token,
            "translation": translation,
            "size": size,
            "rotation": rotation,
            "velocity": velocity,
            "detection_name": NUSCENES_CLASSES[label],
            "detection_score": score,
            "attribute_name": ATTRIBUTES[attribute] if attribute >= 0 else "",
        }
        for translation, size, rotation, velocity, label, score, attribute in zip(
            *columns, strict=True
        )
    ]


def _quaternions(yaw_rad: Float64, tilt: Float64) -> Float64:
    """Return (N, 4) w, x, y, z of boxes with headings in the global frame, level in the ego frame.

    Args:
        yaw_rad: (N,) heading of a box's x axis in the global xy plane.
        tilt: (3, 3) rotation global_from_ego; its z axis is the boxes'.
    """
    flat = np.stack([np.cos(yaw_rad), np.sin(yaw_rad)], axis=1)
    up = tilt[:, 2]
    ahead = np.column_stack([flat, -(flat @ up[:2]) / up[2]]) @ tilt  # in the ego frame
    half = np.arctan2(ahead[:, 1], ahead[:, 0]) / 2
    w, x, y, z = quaternion_from_rotation(tilt)
    c, s = np.cos(half), np.sin(half)
    return np.column_stack([w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s])


def _yaws(wxyz: Float64) -> Float64:
    """Return (N,) headings in the xy plane of (N, 4) quaternions, normalised here."""
    w, x, y, z = (wxyz / np.linalg.norm(wxyz, axis=1, keepdims=True)).T
    return np.asarray(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))
