# SPDX-License-Identifier: Apache-2.0
"""What a detector said of one scene, kept in a file so that an evaluation can be continued.

A file carries the key of the run that made it (model, settings, samples); under another key it is
not used. Files are NumPy archives without pickles, written at once or not at all.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imkd_core.errors import DataError, SensorError
from imkd_core.evaluation.results import write_atomic
from imkd_core.types import Detections

#: What reading a damaged file raises.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, SensorError)

_COLUMNS = ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePredictions:
    """Detections of a scene's samples, in the ego frame of each sample's reference time.

    Attributes:
        key: of the run; equal keys mean equal predictions.
        detections: token -> detections.
        skipped: token of a sample that could not be read -> why.
    """

    key: str
    detections: Mapping[str, Detections]
    skipped: Mapping[str, str] = field(default_factory=dict)


def write_predictions(path: Path, predictions: ScenePredictions) -> None:
    """Write the predictions of a scene.

    Raises:
        DataError: the file cannot be written.
    """
    found = list(predictions.detections.values())
    about = {
        "key": predictions.key,
        "tokens": list(predictions.detections),
        "stamps_ns": [one.stamp_ns for one in found],
        "counts": [len(one) for one in found],
        "class_names": list(found[0].class_names) if found else [],
        "stage_ms": [dict(one.stage_ms) for one in found],
        "skipped": dict(predictions.skipped),
    }
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in found]) for name in _COLUMNS if found
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, about=np.array(json.dumps(about)), **arrays)
    write_atomic(path, stream.getvalue())


def read_predictions(path: Path, key: str) -> ScenePredictions | None:
    """Read the predictions of a scene; None where there are none, or they are of another run.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about["key"] != key:
                return None
            ends = np.cumsum(about["counts"])[:-1]
            columns: dict[str, Any] = {
                name: np.split(stored[name], ends) for name in _COLUMNS if about["tokens"]
            }
        detections = {
            token: Detections(
                stamp_ns=about["stamps_ns"][i],
                class_names=tuple(about["class_names"]),
                stage_ms=about["stage_ms"][i],
                **{name: column[i] for name, column in columns.items()},
            )
            for i, token in enumerate(about["tokens"])
        }
        return ScenePredictions(key=key, detections=detections, skipped=about["skipped"])
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run again") from None
