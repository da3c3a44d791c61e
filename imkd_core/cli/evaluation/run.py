# SPDX-License-Identifier: Apache-2.0
"""Judge a bundle on a data folder: detect, measure, write metrics.json and report.html.

evaluation = evaluate_bundle(Path("models/imkd_tiny"), Path("drives"), Path("out/eval"))
evaluation.nds, evaluation.mean_ap, evaluation.conditions[0].by_weather
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from imkd_core.cli.common import open_nuscenes
from imkd_core.cli.evaluation.detect import DetectionJob, Progress, detect_scenes, stored
from imkd_core.cli.evaluation.drives import figures_of_drives
from imkd_core.cli.evaluation.sequences import sequences_of
from imkd_core.data.nuscenes.boxes import TrueBoxes, global_boxes, read_true_boxes
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.boxes import check_classes
from imkd_core.evaluation.drive_figures import (
    DriveFigures,
    figures_path,
    write_drive_figures,
)
from imkd_core.evaluation.losses import Loss
from imkd_core.evaluation.nuscenes_metrics import DetectionRules, counted
from imkd_core.evaluation.predictions import ScenePredictions
from imkd_core.evaluation.results import write_atomic, write_results
from imkd_core.evaluation.tables import Condition, Evaluation, condition
from imkd_core.runtime.backends import BackendSettings
from imkd_core.runtime.bundle import Bundle, load_bundle
from imkd_core.runtime.roles import AUTO_ROLE
from imkd_core.types import Detections


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        version: table folder; the only one there is when None.
        scenes: names; all when empty.
        limit: key frames at most that are judged, spread evenly; all when None. A model with a
            memory runs over some before each as well.
        losses: sensors that are lost, one run each beside that with all sensors.
        score_threshold, max_boxes: what is reported; 0.01 and 500 as is usual for nuScenes.
        role: which file of the bundle; "auto" is none: a figure is of one file.
        backend: what runs it; its role and threads are replaced, and nothing takes over from it.
        workers: processes with one thread each.
        skip_bad: leave samples out that cannot be read, counted and reported.
        results_json: also write the boxes as a nuScenes result file.
        report: whether to write report.html.
        pictures: frames that it shows.

    Raises:
        ConfigError: a number is out of range.
    """

    version: str | None = None
    scenes: tuple[str, ...] = ()
    limit: int | None = None
    losses: tuple[Loss, ...] = ()
    score_threshold: float = 0.01
    max_boxes: int = 500
    role: str = "fp32"
    backend: BackendSettings = field(default_factory=BackendSettings)
    workers: int = 1
    skip_bad: bool = False
    results_json: Path | None = None
    report: bool = True
    pictures: int = 3

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"the limit must be 1 or more key frames, got {self.limit}")
        if not 1 <= self.max_boxes <= DetectionRules().max_boxes:
            raise ConfigError(f"max_boxes must be 1..500, got {self.max_boxes}")
        if not 0 <= self.score_threshold < 1:
            raise ConfigError(f"the score threshold must be 0..1, got {self.score_threshold}")
        if self.role == AUTO_ROLE:
            raise ConfigError("the role must name one file of the bundle, as fp32, to be measured")
        if self.backend.cpu_fallback:
            raise ConfigError("cpu_fallback must be off: figures must be of what was asked for")
        if self.workers < 1 or self.pictures < 0:
            raise ConfigError("workers must be 1 or more, and pictures 0 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the report needs beside the figures.

    Attributes:
        evaluation: the figures.
        bundle: the model.
        records: the samples that were judged.
        detections: token -> what was found with all sensors.
    """

    evaluation: Evaluation
    bundle: Bundle
    records: tuple[SampleRecord, ...]
    detections: Mapping[str, Detections]


def evaluate_bundle(
    model: Path,
    data: Path,
    output: Path,
    options: EvaluationOptions | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a bundle on a nuScenes folder.

    Writes `metrics.json`, `report.html`, `drives/` (for `imkd compare`) and `predictions/` into
    `output`; predictions of an earlier run of the same model on the same data are used again.

    Args:
        model: bundle folder.
        data: nuScenes folder, real or simulated.
        output: folder, made where it is missing.
        options: how.
        on_progress: called with the number of frames done and the scene.

    Raises:
        ImkdError: the bundle, the data or the options are wrong; it says what to do.
    """
    options = options or EvaluationOptions()
    bundle = load_bundle(model)
    check_classes(bundle.head.class_names)
    reader = open_nuscenes(data, options.version)
    tokens = choose_samples(reader, options.scenes, options.limit)
    job = DetectionJob(
        bundle=bundle.root,
        data=data,
        version=reader.tables.version,
        output=output / "predictions",
        tokens=tokens,
        sequences=sequences_of(reader, tokens, bundle.inputs.memory),
        losses=(Loss(), *(loss for loss in options.losses if loss.sensors)),
        role=options.role,
        backend=options.backend,
        score_threshold=options.score_threshold,
        max_boxes=options.max_boxes,
        skip_bad=options.skip_bad,
    )
    detect_scenes(job, options.workers, reader, on_progress)
    judged = _judge(job, bundle, reader, options)
    text = json.dumps(judged.evaluation.to_json(), indent=2, allow_nan=False)
    write_atomic(output / "metrics.json", f"{text}\n".encode())
    if options.report:
        from imkd_core.cli.evaluation.report import write_evaluation_report

        write_evaluation_report(output / "report.html", judged, options.pictures)
    return judged.evaluation


def choose_samples(
    reader: NuScenes, scenes: Sequence[str] = (), limit: int | None = None
) -> dict[str, tuple[str, ...]]:
    """Return scene -> tokens of the samples to judge, at most `limit`, spread evenly.

    Raises:
        DataError: there is no such scene, or no sample at all.
    """
    pairs = [
        (scene, token)
        for scene in (scenes or reader.scenes)
        for token in reader.sample_tokens(scene)
    ]
    if not pairs:
        raise DataError(f"{reader.tables.root} holds no key frames to evaluate; choose others")
    if limit is not None and limit < len(pairs):
        chosen = np.linspace(0, len(pairs) - 1, limit).round().astype(np.int64)
        pairs = [pairs[i] for i in chosen]
    names = dict.fromkeys(scene for scene, _ in pairs)
    return {name: tuple(token for scene, token in pairs if scene == name) for name in names}


def _judge(
    job: DetectionJob, bundle: Bundle, reader: NuScenes, options: EvaluationOptions
) -> Judged:
    parts = {loss: _collect(job, bundle, loss) for loss in job.losses}
    skipped = {
        token: why for predictions in parts.values() for token, why in predictions.skipped.items()
    }
    good = [token for tokens in job.tokens.values() for token in tokens if token not in skipped]
    if not good:
        why = next(iter(skipped.values()), "")
        raise DataError(f"all {len(skipped)} samples were skipped; the first because: {why}")
    records = tuple(reader.sample(token) for token in good)
    truth = read_true_boxes(records)
    about = {
        "model": bundle.name,
        "sha256": _bundle_hash(bundle)[:12],
        "file": job.role,
        "data": job.data.name,
    }
    conditions = []
    for loss in job.losses:
        one, figures = _condition(loss, parts[loss].detections, records, truth, about)
        conditions.append(one)
        write_drive_figures(figures_path(job.output.parent, loss.name), figures)
    detections = parts[job.losses[0]].detections
    if options.results_json is not None:
        poses = [record.global_from_reference for record in records]
        boxes = global_boxes(records, detections)
        write_results(options.results_json, boxes, good, poses)
    evaluation = Evaluation(
        model=bundle.name,
        model_sha256=_bundle_hash(bundle),
        data=f"{job.data} {job.version}",
        scenes=tuple(job.tokens),
        score_threshold=job.score_threshold,
        max_boxes=job.max_boxes,
        conditions=tuple(conditions),
        skipped=skipped,
    )
    return Judged(evaluation=evaluation, bundle=bundle, records=records, detections=detections)


def _collect(job: DetectionJob, bundle: Bundle, loss: Loss) -> ScenePredictions:
    """Return the predictions of all scenes with a loss, joined."""
    detections: dict[str, Detections] = {}
    skipped: dict[str, str] = {}
    for scene in job.tokens:
        predictions = stored(job, bundle, scene, loss)
        if predictions is None:
            raise DataError(
                f"{job.path(scene, loss)} vanished or changed while the evaluation ran; run it "
                "again, and let no two evaluations share an --output"
            )
        detections |= predictions.detections
        skipped |= predictions.skipped
    return ScenePredictions(key="", detections=detections, skipped=skipped)


def _condition(
    loss: Loss,
    detections: Mapping[str, Detections],
    records: Sequence[SampleRecord],
    truth: TrueBoxes,
    about: Mapping[str, str],
) -> tuple[Condition, DriveFigures]:
    """Return the figures of a run, of all samples and of each drive."""
    found = counted(global_boxes(records, detections), None, truth.racks)
    true_boxes = counted(truth.boxes, None, truth.racks)
    about = {**about, "condition": loss.name}
    drives = figures_of_drives(records, detections, found, true_boxes, about)
    rig = records[0].rig
    stages = [detections[record.token].stage_ms for record in records]
    names = dict.fromkeys(name for stage in stages for name in stage)
    figures = condition(
        loss.name,
        found,
        true_boxes,
        [record.description for record in records],
        lost=loss.count(len(rig.cameras), len(rig.radars)),
        stage_ms={
            name: float(np.mean([stage[name] for stage in stages if name in stage]))
            for name in names
        },
    )
    return replace(figures, steadiness=drives.figures(with_truth=False)), drives


def _bundle_hash(bundle: Bundle) -> str:
    text = " ".join(file.sha256 for _, file in sorted(bundle.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()
