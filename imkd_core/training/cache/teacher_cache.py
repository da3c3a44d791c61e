# SPDX-License-Identifier: Apache-2.0
"""What the teachers say about every sample of a training set, written once (method.md 12.1).

    cache = write_cache(samples, teachers, config, Path("runs/teacher_cache"))
    maps = cache.load(token)                # students train from it and read no LiDAR

A cache is a folder: `cache.json` (whose it is, scale and basis, quality of each sample) and one
file for each sample. Writing can be interrupted at any moment; the next call does what is left.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.learning.label_maps import soft_mask
from imkd_core.data.learning.teacher_maps import (
    SUFFIX,
    TeacherMaps,
    read_quality,
    read_teacher_maps,
    write_teacher_maps,
)
from imkd_core.data.samples import Sample
from imkd_core.errors import DataError
from imkd_core.model.adaptors import taught_channels
from imkd_core.model.intensity import IntensityStatistics
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.recipe import Config
from imkd_core.training.cache.cache_identity import check_same, config_parts, fingerprints
from imkd_core.training.cache.feature_projection import FeatureProjection, measure_projection
from imkd_core.training.cache.lesson_maps import label_only_maps, lesson_maps
from imkd_core.training.teachers.teaching_pass import Lesson, teach

#: Name of the cache's own file.
INDEX_FILE = "cache.json"

#: Samples on which scale and basis are measured.
MEASURED_SAMPLES = 100

#: Label mask above which a cell counts as on an object.
_ON_OBJECT = 0.3


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Both trained teachers, frozen, and what was measured for I_L."""

    lidar: Teacher
    labels: LabelEncoder
    statistics: IntensityStatistics

    def teach(self, sample: Sample, config: Config) -> Lesson:
        """Return what they say about a sample."""
        return teach(self.lidar, self.labels, self.statistics, sample, config)


@dataclass(frozen=True, kw_only=True)
class CacheProgress:
    """How far the writing is; given to the caller after each sample."""

    done: int
    total: int
    stage: str


class TeacherCache:
    """A written cache; a `data.samples.TeachingSource`.

    Args:
        directory: of the cache.
        config: the student's; refused where the maps are of another one.

    Attributes:
        projection: scale and basis of the features.
        label_only: token -> why the sample has no LiDAR.

    Raises:
        DataError: there is no cache, or it is not finished.
        ConfigError: it belongs to another configuration.
    """

    def __init__(self, directory: Path, config: Config) -> None:
        index = _read_index(directory)
        if index is None or not index.get("is_complete"):
            state = "no" if index is None else "an unfinished"
            raise DataError(
                f"{state} teacher cache in {directory}; run 'imkd train student' with --teacher "
                "and --labels, and it is written first"
            )
        check_same(directory, index["made_for"]["config"], config_parts(config), "config")
        self._directory = directory
        self._quality: Mapping[str, float] = index["quality"]
        self._median: float = index["quality_median"]
        self.label_only: Mapping[str, str] = index["label_only"]
        self.projection = _projection_of(index["projection"])

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._quality)

    def load(self, token: str) -> TeacherMaps | None:
        """Return a sample's maps; their quality is relative to the median, 1 at most.

        Raises:
            DataError: the cache does not hold this sample, or its file is damaged.
        """
        if token not in self._quality:
            raise DataError(
                f"the teacher cache {self._directory} has no sample '{token}'; write it again with "
                "the data that you train on, or choose another --cache"
            )
        maps = read_teacher_maps(_file_of(self._directory, token))
        return maps.with_quality(min(1.0, self._quality[token] / self._median))


def write_cache(
    samples: Sequence[Sample],
    teachers: Teachers,
    config: Config,
    directory: Path,
    *,
    on_progress: Callable[[CacheProgress], None] | None = None,
    workers: int = 1,
    label_only: bool = False,
) -> TeacherCache:
    """Write what is not there yet, and return the cache.

    Args:
        samples: of the training set.
        teachers: frozen.
        config: that they were trained with.
        directory: made where it is missing.
        on_progress: called after each sample.
        workers: threads.
        label_only: a sample whose LiDAR cannot be read keeps F_lab alone (method.md 13) and is
            named in the cache; otherwise it is an error.

    Raises:
        ConfigError: `directory` holds the cache of other teachers or of another configuration.
        DataError: a sample's files are missing or malformed, or a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made_for = {
        "config": config_parts(config),
        "teachers": fingerprints(teachers.lidar, teachers.labels, teachers.statistics),
    }
    tell = on_progress or (lambda _: None)
    index = _read_index(directory)
    if index is None:
        projection = _measured(samples, teachers, config, tell, label_only)
        index = {"made_for": made_for, "projection": _as_lists(projection), "is_complete": False}
        _write_index(directory, index)
    for part in ("config", "teachers"):
        check_same(directory, index["made_for"][part], made_for[part], part)
    job = _Job(teachers, config, directory, _projection_of(index["projection"]), label_only)
    reasons: dict[str, str] = dict(index.get("label_only", {}))
    left = [s for s in samples if not _file_of(directory, s.token).exists()]
    if left or not {sample.token for sample in samples} <= set(index.get("quality", ())):
        reasons |= _write_all(job, left, workers, tell)
        _finish(directory, index, samples, reasons)
    return TeacherCache(directory, config)


class _Job:
    """Writes one sample after the other."""

    def __init__(
        self,
        teachers: Teachers,
        config: Config,
        directory: Path,
        projection: FeatureProjection,
        label_only: bool,
    ) -> None:
        self._teachers, self._config, self._directory = teachers, config, directory
        self._projection, self._label_only = projection, label_only

    def write(self, sample: Sample) -> tuple[str, str]:
        """Write a sample's file; return its token and why it has no LiDAR ("" where it has)."""
        reason = ""
        try:
            lesson = self._teachers.teach(sample, self._config)
            maps = lesson_maps(lesson, sample, self._projection, self._config)
        except DataError as error:
            if not (self._label_only or has_no_lidar(sample)):
                raise
            reason = str(error)
            maps = label_only_maps(self._teachers.labels, sample, self._projection, self._config)
        write_teacher_maps(_file_of(self._directory, sample.token), maps)
        return sample.token, reason


def _write_all(
    job: _Job,
    samples: Sequence[Sample],
    workers: int,
    tell: Callable[[CacheProgress], None],
) -> dict[str, str]:
    reasons = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for done, (token, reason) in enumerate(pool.map(job.write, samples), start=1):
                tell(CacheProgress(done=done, total=len(samples), stage="teacher maps"))
                if reason:
                    reasons[token] = reason
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return reasons


def _finish(
    directory: Path, index: dict[str, Any], samples: Sequence[Sample], reasons: Mapping[str, str]
) -> None:
    """Write the index anew, with the quality of every sample; those of other calls stay."""
    tokens = {*index.get("quality", ()), *(sample.token for sample in samples)}
    read = {token: read_quality(_file_of(directory, token)) for token in sorted(tokens)}
    of_lidar = [quality for quality, has_lidar in read.values() if has_lidar]
    index["quality"] = {token: round(quality, 6) for token, (quality, _) in read.items()}
    index["quality_median"] = max(float(np.median(of_lidar)), 1e-3) if of_lidar else 1.0
    index["label_only"] = {
        token: reasons.get(token, "no LiDAR") for token, (_, has) in read.items() if not has
    }
    index["is_complete"] = True
    _write_index(directory, index)


def _measured(
    samples: Sequence[Sample],
    teachers: Teachers,
    config: Config,
    tell: Callable[[CacheProgress], None],
    label_only: bool,
) -> FeatureProjection:
    """Return scale and basis, measured on some samples by a fixed chance."""
    order = np.random.default_rng(0).permutation(len(samples))[:MEASURED_SAMPLES]
    chosen = [samples[index] for index in np.sort(order)]
    if all(has_no_lidar(sample) for sample in chosen):
        raise DataError(
            f"none of {len(chosen)} samples has LiDAR, so no teacher can speak about them; train "
            "on them with --preset none, or mix them with drives that have LiDAR"
        )

    def lessons() -> Any:
        for done, sample in enumerate(chosen, start=1):
            try:
                lesson = teachers.teach(sample, config)
            except DataError:
                if not (label_only or has_no_lidar(sample)):
                    raise
                continue
            tell(CacheProgress(done=done, total=len(chosen), stage="scale of the features"))
            yield lesson.features, lesson.label_features, _on_objects(sample, config)

    return measure_projection(lessons(), taught_channels(config))


def has_no_lidar(sample: Sample) -> bool:
    """Return whether a sample is of a site without LiDAR, which is no fault."""
    return not getattr(sample, "has_lidar", True)


def _on_objects(sample: Sample, config: Config) -> NDArray[np.bool_]:
    return soft_mask(sample.truth().detections, config.inputs.bev) > _ON_OBJECT


def _projection_of(raw: Mapping[str, Any]) -> FeatureProjection:
    values: dict[str, Any] = {
        name: np.array(value, np.float32) if isinstance(value, list) else value
        for name, value in raw.items()
    }
    return FeatureProjection(**values)


def _as_lists(projection: FeatureProjection) -> dict[str, Any]:
    values = vars(projection)
    return {k: v.tolist() if isinstance(v, np.ndarray) else round(v, 6) for k, v in values.items()}


def _file_of(directory: Path, token: str) -> Path:
    return directory / f"{quote(token, safe='')}{SUFFIX}"


def _read_index(directory: Path) -> dict[str, Any] | None:
    path = directory / INDEX_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}; delete the folder") from None
    return dict(raw)


def _write_index(directory: Path, index: Mapping[str, Any]) -> None:
    path = directory / INDEX_FILE
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(index), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error}; free some space") from None
