# SPDX-License-Identifier: Apache-2.0
"""Run a bundle over the key frames of scenes, in processes, keeping what each scene gave.

A scene whose predictions lie in the folder already, made by the same model with the same
settings from the same tables, is not run again: an evaluation that was interrupted continues.

A model with a memory gets the frames of a scene in the order of time, with a memory for each loss;
see `sequences` for the frames that are run for its sake alone.
"""

import hashlib
import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2

from imkd_core.data.nuscenes.boxes import read_true_boxes
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import BackendError, CalibrationError, DataError, SensorError
from imkd_core.evaluation.losses import Loss, condition_stem
from imkd_core.evaluation.predictions import (
    ScenePredictions,
    read_predictions,
    write_predictions,
)
from imkd_core.mapping import to_mapping
from imkd_core.postprocess import Thresholds
from imkd_core.runtime.backends import Backend, BackendSettings, open_backend
from imkd_core.runtime.bundle import Bundle, load_bundle
from imkd_core.runtime.detector import Detector
from imkd_core.runtime.memory import FusedMemory
from imkd_core.types import Detections

#: Changes when predictions of older versions must not be used any more.
_FORMAT = 1

#: A frame that raises one of these can be skipped by choice.
_BAD_FRAME = (DataError, SensorError, CalibrationError, BackendError)

Progress = Callable[[int, str], None]


@dataclass(frozen=True, kw_only=True)
class DetectionJob:
    """What to run on what.

    Attributes:
        bundle: folder of the model.
        role: which of its files.
        backend: what runs it; its role and threads are replaced.
        data, version: dataroot and table folder.
        output: folder of the predictions.
        tokens: scene -> samples to judge, in time order.
        sequences: scene -> samples to run, those to judge among them, in time order; a scene that
            is not in it runs those to judge.
        losses: sensors that are lost, one run each.
        score_threshold: least score that is kept, of every class.
        max_boxes: boxes kept in a sample.
        skip_bad: whether samples that cannot be read are left out.
    """

    bundle: Path
    data: Path
    version: str
    output: Path
    tokens: Mapping[str, tuple[str, ...]]
    sequences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    losses: tuple[Loss, ...] = field(default=(Loss(),))
    role: str = "fp32"
    backend: BackendSettings = field(default_factory=BackendSettings)
    score_threshold: float = 0.01
    max_boxes: int = 500
    skip_bad: bool = False

    @property
    def thresholds(self) -> Thresholds:
        """What the detector reports."""
        return Thresholds(default_score=self.score_threshold, max_boxes=self.max_boxes)

    def sequence(self, scene: str) -> tuple[str, ...]:
        """Return the samples of a scene that are run, in time order."""
        return self.sequences.get(scene, self.tokens[scene])

    def path(self, scene: str, loss: Loss) -> Path:
        """Return the file of a scene's predictions."""
        return self.output / condition_stem(loss.name) / f"{scene}.npz"

    def key(self, bundle: Bundle, scene: str, loss: Loss) -> str:
        """Return the hash of everything that the predictions of a scene hang on."""
        tables = (self.data / self.version / "sample_data.json").stat()
        facts = {
            "format": _FORMAT,
            "model": bundle.files[self.role].sha256,
            "inputs": to_mapping(bundle.inputs),
            "head": to_mapping(bundle.head),
            "data": [str(self.data.resolve()), self.version, tables.st_size, tables.st_mtime_ns],
            "tokens": self.tokens[scene],
            "lost": loss.sensors,
            "score": self.score_threshold,
            "boxes": self.max_boxes,
        }
        if self.sequence(scene) != self.tokens[scene]:
            facts["sequence"] = self.sequence(scene)
        if _runs_on(self.backend) != _runs_on(BackendSettings()):
            facts["runs on"] = _runs_on(self.backend)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _runs_on(settings: BackendSettings) -> list[str]:
    """Return what numbers may hang on beside the model."""
    return [settings.backend, *settings.providers, settings.openvino_precision]


class SceneRunner:
    """Runs scenes in one process; the folder and the model are opened once."""

    def __init__(self, job: DetectionJob, threads: int, reader: NuScenes | None = None) -> None:
        self._job = job
        self._reader = reader or NuScenes(job.data, job.version)
        self._bundle = load_bundle(job.bundle)
        settings = replace(job.backend, role=job.role, threads=threads)
        self._backend: Backend = open_backend(self._bundle, settings, _say)

    def close(self) -> None:
        """Give the model's memory back."""
        self._backend.close()

    def run(self, scene: str, on_frame: Callable[[], None] | None = None) -> int:
        """Detect in a scene with every loss that has no file yet; return the number of frames.

        Raises:
            DataError, SensorError, CalibrationError, BackendError: a frame is bad, and may not
                be skipped; the message names the sample.
        """
        job = self._job
        todo = [loss for loss in job.losses if self._stored(scene, loss) is None]
        found: dict[Loss, dict[str, Detections]] = {loss: {} for loss in todo}
        skipped: dict[str, str] = {}
        detector: Detector | None = None
        inputs, judged = self._bundle.inputs, frozenset(job.tokens[scene])
        memories = {loss: FusedMemory(inputs.memory, inputs.bev) for loss in todo}
        for token in job.sequence(scene) if todo else ():
            try:
                detector, per_loss = self._detect(token, memories, detector)
            except _BAD_FRAME as error:
                if not job.skip_bad:
                    raise type(error)(
                        f"scene '{scene}', sample '{token}': {error}; --skip-bad leaves it out"
                    ) from None
                skipped[token] = str(error)
            else:
                for loss, detections in per_loss.items() if token in judged else ():
                    found[loss][token] = detections
            if on_frame is not None:
                on_frame()
        for loss in todo:
            predictions = ScenePredictions(
                key=job.key(self._bundle, scene, loss), detections=found[loss], skipped=skipped
            )
            write_predictions(job.path(scene, loss), predictions)
        return len(job.sequence(scene))

    def _detect(
        self, token: str, memories: Mapping[Loss, FusedMemory], detector: Detector | None
    ) -> tuple[Detector, dict[Loss, Detections]]:
        """Return the detections of a sample with each loss; its truth must be sound as well."""
        record = self._reader.sample(token)
        read_true_boxes([record])
        inputs = self._bundle.inputs
        frame = record.frame(inputs.radar_sweeps, inputs.image_width_px)
        if detector is None:
            thresholds = self._job.thresholds
            detector = Detector(self._bundle, self._backend, record.rig, thresholds)
        detector.set_rig(record.rig)
        results = {}
        for loss, memory in memories.items():
            answer = detector.detect(loss.apply(frame), memory)
            results[loss] = replace(answer, reliability={})
        return detector, results

    def _stored(self, scene: str, loss: Loss) -> ScenePredictions | None:
        return stored(self._job, self._bundle, scene, loss)


def _say(text: str) -> None:
    """Tell how the building of an engine proceeds, and what runs instead of what."""
    sys.stderr.write(f"{text}\n")


def stored(job: DetectionJob, bundle: Bundle, scene: str, loss: Loss) -> ScenePredictions | None:
    """Return the predictions of a scene that can be used; None where it must be run.

    Raises:
        DataError: the file is damaged.
    """
    predictions = read_predictions(job.path(scene, loss), job.key(bundle, scene, loss))
    if predictions is not None and predictions.skipped and not job.skip_bad:
        return None  # run it again, for the error of the sample to be seen
    return predictions


def detect_scenes(
    job: DetectionJob, workers: int, reader: NuScenes, on_progress: Progress | None = None
) -> None:
    """Run all scenes of a job, in this process or in several with one thread each.

    Args:
        job: what to run on what.
        workers: processes; 1 runs here.
        reader: the opened folder, used where the work is done here.
        on_progress: called with the number of frames done and the scene.

    Raises:
        ImkdError: of the first scene that failed; scenes that were done keep their files.
    """
    tell = on_progress or (lambda _done, _note: None)
    count = min(workers, len(job.tokens))
    if count <= 1:
        _run_here(job, reader, tell)
        return
    context = multiprocessing.get_context("spawn")
    done = 0
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(job,)
    ) as pool:
        futures = {pool.submit(_run_scene, scene): scene for scene in job.tokens}
        try:
            for future in as_completed(futures):
                done += future.result()
                tell(done, futures[future])
        except BrokenProcessPool:
            raise DataError(
                "a process of the evaluation died (out of memory?); run the same command again, "
                "perhaps with fewer --workers: finished scenes are kept"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_here(job: DetectionJob, reader: NuScenes, tell: Progress) -> None:
    done = 0
    with _one_cv_thread():
        runner = SceneRunner(job, threads=1, reader=reader)
        try:
            for scene in job.tokens:
                before = done

                def on_frame(scene: str = scene) -> None:
                    nonlocal done
                    done += 1
                    tell(done, scene)

                done = before + runner.run(scene, on_frame)
                tell(done, scene)
        finally:
            runner.close()


@contextmanager
def _one_cv_thread() -> Iterator[None]:
    """Let OpenCV use one thread, as the model does, so that processes do not fight."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


#: The runner of a worker process, made by `_start_worker`.
_RUNNERS: list[SceneRunner] = []


def _start_worker(job: DetectionJob) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and without a word
    cv2.setNumThreads(1)
    _RUNNERS[:] = [SceneRunner(job, threads=1)]


def _run_scene(scene: str) -> int:
    return _RUNNERS[0].run(scene)
