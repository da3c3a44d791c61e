# SPDX-License-Identifier: Apache-2.0
"""What a run gave on each drive, in one small file: all that a comparison of two runs needs.

A file holds no boxes and no names of files: `drives/all_sensors.npz` beside `metrics.json`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.drive_hits import DriveHits
from imkd_core.evaluation.losses import condition_stem
from imkd_core.evaluation.results import write_atomic
from imkd_core.evaluation.steadiness import SUMS, steady_figures
from imkd_core.geometry import Float64

#: Changes when files of older versions must not be read any more.
_FORMAT = 1

#: What reading a damaged file raises.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile)

#: Columns of `DriveHits`.
_HITS = ("samples", "truth", "drive", "label", "score", "is_hit", "errors")


@dataclass(frozen=True, kw_only=True, eq=False)
class DriveFigures:
    """One run over some drives.

    Attributes:
        about: fact -> what was run on what, for a reader ("model", "data", "condition", ...).
        drives: names.
        digests: of each drive's samples; equal ones mean the same samples.
        steady: (V, len(SUMS)) float64 `steadiness.SUMS` of each drive.
        hits: which detections are right; None where the truth is not known.

    Raises:
        DataError: lengths disagree, or a drive is named twice.
    """

    about: Mapping[str, str] = field(default_factory=dict)
    drives: tuple[str, ...]
    digests: tuple[str, ...]
    steady: Float64
    hits: DriveHits | None = None

    def __post_init__(self) -> None:
        """Check lengths and names."""
        count = len(self.drives)
        if len(set(self.drives)) != count:
            raise DataError("figures of drives: a drive is named twice; give each its own name")
        samples = count if self.hits is None else len(self.hits.samples)
        if self.steady.shape != (count, len(SUMS)) or {len(self.digests), samples} != {count}:
            raise DataError("figures of drives: the lengths of the columns disagree")

    def figures(
        self, times: ArrayLike | None = None, *, with_truth: bool = True
    ) -> dict[str, float]:
        """Return figure -> value of a choice of drives; NaN where it is not known.

        With the truth: "nds", "map", the mean errors, "ap.CLASS" and "ERROR.CLASS". Always: those
        of `steadiness.FIGURES`.

        Args:
            times: (V,) how often each drive counts; all once when None.
            with_truth: False leaves the figures out that need the truth.
        """
        often = np.ones(len(self.drives)) if times is None else np.asarray(times, np.float64)
        steady = steady_figures(often @ self.steady)
        if self.hits is None or not with_truth:
            return steady
        metrics = self.hits.metrics(times)
        found = {"nds": metrics.nds, "map": metrics.mean_ap, **metrics.errors}
        for name, one in metrics.classes.items():
            found[f"ap.{name}"] = one.ap if one.truth else float("nan")
            for error, value in one.errors.items():
                found[f"{error}.{name}"] = value if one.truth else float("nan")
        return found | steady

    def select(self, drives: Sequence[str]) -> "DriveFigures":
        """Return the figures of some drives, in the order given."""
        rows = [self.drives.index(name) for name in drives]
        return DriveFigures(
            about=self.about,
            drives=tuple(drives),
            digests=tuple(self.digests[row] for row in rows),
            steady=self.steady[rows],
            hits=None if self.hits is None else self.hits.select(rows),
        )


def digest_of(samples: Iterable[str | int]) -> str:
    """Return a hash of a drive's samples: tokens or stamps, in the order of time."""
    return hashlib.sha256(json.dumps([str(sample) for sample in samples]).encode()).hexdigest()[:16]


def figures_path(output: Path, condition: str = "all sensors") -> Path:
    """Return the file of one run ("all sensors", "without CAM_FRONT") in an output folder."""
    return output / "drives" / f"{condition_stem(condition)}.npz"


def write_drive_figures(path: Path, figures: DriveFigures) -> None:
    """Write the figures of a run; folders are made.

    Raises:
        DataError: the file cannot be written.
    """
    about = {
        "format": _FORMAT,
        "about": dict(figures.about),
        "drives": list(figures.drives),
        "digests": list(figures.digests),
        "sums": list(SUMS),
        "classes": list(NUSCENES_CLASSES),
        "errors": list(ERRORS),
    }
    columns: dict[str, Any] = {"steady": figures.steady}
    if figures.hits is not None:
        columns |= {name: getattr(figures.hits, name) for name in _HITS}
    stream = io.BytesIO()
    np.savez_compressed(stream, facts=np.array(json.dumps(about)), **columns)
    write_atomic(path, stream.getvalue())


def read_drive_figures(path: Path) -> DriveFigures:
    """Read the figures of a run.

    Raises:
        DataError: there is no such file, it is damaged, or another version wrote it.
    """
    if not path.is_file():
        raise DataError(
            f"there is no {path}; run `imkd evaluate` or `imkd replay --report` with this folder "
            "as its output (predictions that lie there already are used again)"
        )
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            facts = json.loads(str(stored["facts"]))
            columns = {name: stored[name] for name in stored.files}
        version = [facts[key] for key in ("format", "sums", "classes", "errors")]
        if version == [_FORMAT, list(SUMS), list(NUSCENES_CLASSES), list(ERRORS)]:
            return _figures(facts, columns)
    except (*_DAMAGE, DataError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run again") from None
    raise DataError(f"{path} was written by another version of imkd; run what made it again")


def _figures(facts: Mapping[str, Any], columns: Mapping[str, Any]) -> DriveFigures:
    has_truth = "score" in columns
    return DriveFigures(
        about=facts["about"],
        drives=tuple(facts["drives"]),
        digests=tuple(facts["digests"]),
        steady=columns["steady"],
        hits=DriveHits(**{name: columns[name] for name in _HITS}) if has_truth else None,
    )
