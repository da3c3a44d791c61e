# SPDX-License-Identifier: Apache-2.0
"""Stage 1b: what the intensity map I_L needs to know of the training set (method.md 4.4, 6).

write_statistics(teacher_folder, measure_intensity(samples, config))
statistics = read_statistics(teacher_folder)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import BOX_CODE
from imkd_core.data.learning.label_maps import label_maps
from imkd_core.data.learning.lidar_points import within
from imkd_core.data.learning.teaching_datasets import lidar_points
from imkd_core.data.samples import Sample
from imkd_core.errors import DataError
from imkd_core.model.intensity import (
    RING_M,
    IntensityStatistics,
    LidarEvidence,
    blurred_evidence,
    cell_range_m,
    gather_evidence,
)
from imkd_core.recipe import Config

Float32 = NDArray[np.float32]

#: Percentiles of the reflectance, of the returns in a cell, and of the map inside true boxes.
_FULL_PERCENTILE, _COUNT_PERCENTILE, _FOREGROUND_PERCENTILE = 95, 90, 95

#: Name of the statistics' file in the folder of the teacher's run.
STATISTICS_FILE = "intensity.json"


def measure_intensity(samples: Sequence[Sample], config: Config) -> IntensityStatistics:
    """Walk samples twice and return the statistics of I_L.

    First the reflectance scale, then counts by range and the map's level inside true boxes.
    A hundred samples of different drives are enough.

    Args:
        samples: of the training set, with LiDAR.
        config: grid, sweeps and the weights of variant A.

    Raises:
        DataError: there is no sample, or no sample has a point on the grid.
    """
    measured = _full_reflectance(samples, config)
    full = config.intensity.full_reflectance or measured
    evidence = [
        gather_evidence(_cloud(sample, config), config.inputs.bev, full) for sample in samples
    ]
    counts = np.stack([item.count for item in evidence])
    draft = IntensityStatistics(
        full_reflectance=measured,
        reference_counts=_reference_counts(counts, cell_range_m(config.inputs.bev)),
        normaliser=1.0,
        sweeps=config.teacher.lidar_sweeps,
    )
    return replace(draft, normaliser=_foreground_level(samples, evidence, draft, config))


def _cloud(sample: Sample, config: Config) -> Float32:
    return within(lidar_points(sample, config), config.inputs)


def _full_reflectance(samples: Sequence[Sample], config: Config) -> float:
    """Return the 95th percentile of the reflectance of all points on the grid, 1 at least."""
    histogram = np.zeros(256, np.int64)
    for sample in samples:
        levels = np.clip(np.rint(_cloud(sample, config)[:, 3]), 0, 255).astype(np.int64)
        histogram += np.bincount(levels, minlength=256)
    if histogram.sum() == 0:
        raise DataError("no LiDAR point on the BEV grid in any sample; check the data folder")
    share = np.cumsum(histogram) / histogram.sum()
    return max(1.0, float(np.searchsorted(share, _FULL_PERCENTILE / 100)))


def _foreground_level(
    samples: Sequence[Sample],
    evidence: Sequence[LidarEvidence],
    draft: IntensityStatistics,
    config: Config,
) -> float:
    """Return the 95th percentile of variant A, not normalised, inside true boxes; 1 without."""
    count = draft.reference_count(cell_range_m(config.inputs.bev))
    inside = [
        blurred_evidence(item, count, config.intensity)[_in_boxes(sample, config)]
        for item, sample in zip(evidence, samples, strict=True)
    ]
    values = np.concatenate(inside)
    seen = values[values > 0]
    return float(np.percentile(seen, _FOREGROUND_PERCENTILE)) if seen.size else 1.0


def _in_boxes(sample: Sample, config: Config) -> NDArray[np.bool_]:
    """Return the (Y, X) cells inside true boxes."""
    maps = label_maps(sample.truth().detections, config.inputs.bev)
    return np.asarray(maps[len(BOX_CODE) :].any(axis=0))


def _reference_counts(counts: Float32, range_m: Float32) -> tuple[float, ...]:
    """Return n_ref per ring; a ring without returns takes the value between its neighbours.

    Args:
        counts: (samples, Y, X) returns per cell.
        range_m: (Y, X) distance of each cell.
    """
    ring = np.floor(range_m / RING_M).astype(np.int64)
    found = {}
    for index in range(int(ring.max()) + 1):
        inside = counts[:, ring == index]
        occupied = inside[inside > 0]
        if occupied.size:
            found[index] = max(1.0, float(np.percentile(occupied, _COUNT_PERCENTILE)))
    rings = np.arange(int(ring.max()) + 1)
    filled = np.interp(rings, list(found), list(found.values()))
    return tuple(round(float(value), 3) for value in filled)


def write_statistics(folder: Path, statistics: IntensityStatistics) -> Path:
    """Write the statistics beside the teacher's checkpoint; whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    path = folder / STATISTICS_FILE
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(asdict(statistics), indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error}; free some space") from None
    return path


def read_statistics(folder: Path) -> IntensityStatistics:
    """Read the statistics of a teacher's run.

    Raises:
        DataError: there are none, or the file is no JSON.
        ConfigError: it holds something else.
    """
    path = folder / STATISTICS_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no {path}; train the teacher with 'imkd train teacher'") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}; train the teacher again") from None
    return IntensityStatistics.from_mapping(raw)
