# SPDX-License-Identifier: Apache-2.0
"""Judge the answers of the graph: against truth, against the offline replay, and by controls."""

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from imkd_core.cli.proof.graph import THREADS
from imkd_core.cli.proof.latency import read_stages
from imkd_core.cli.proof.truth import TruthAt
from imkd_core.data.changes.augmentation import seen_only_by, visible_in
from imkd_core.errors import DataError
from imkd_core.evaluation.controls import standard_controls
from imkd_core.evaluation.proof import (
    SAME_BOX,
    STRICT,
    FrameTruth,
    Judging,
    control_entry,
    control_recalls,
    frame_figures,
    largest_difference,
    latency_rows,
    measures,
)
from imkd_core.evaluation.report import Control, Measure, StageLatency
from imkd_core.runtime.backends import open_backend
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.detector import Detector
from imkd_core.types import Detections, Frame, SensorRig

#: The camera that one of the controls takes away.
MASKED_CAMERA = "CAM_BACK"

#: Picks those answers that are judged.
Choose = Callable[[Sequence[Detections]], Sequence[Detections]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """One frame of the offline replay."""

    frame: Frame
    rig: SensorRig
    detections: Detections


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """All that was found out.

    Attributes:
        summary: plain values, for summary.json.
        measures, controls, latency: the same with goals, for the report.
        answers: of the offline replay, in the order of time.
        shown: an answer of the offline replay whose boxes the graph gave too.
        truth: of that frame.
    """

    summary: dict[str, Any]
    measures: tuple[Measure, ...]
    controls: tuple[Control, ...]
    latency: tuple[StageLatency, ...]
    answers: tuple[Detections, ...]
    shown: Answer
    truth: FrameTruth

    @property
    def missed(self) -> list[str]:
        """Goals that are not met, a line each."""
        named = [("", measure) for measure in self.measures]
        named += [(f"{control.name}: ", m) for control in self.controls for m in control.measures]
        return [
            f"{where}{m.name} = {m.value} (goal: {m.at_least} to {m.at_most})"
            for where, m in named
            if m.passed is False
        ]


def judge(
    bundle: Bundle,
    truth_at: TruthAt,
    bags: tuple[Path, Path],
    frames_in: int,
    source: str,
    judging: Judging = STRICT,
    parameters: Mapping[str, Any] | None = None,
    choose: Choose = tuple,
) -> Verdict:
    """Compare the graph's answers with the truth and the offline replay, and run the controls.

    Args:
        bundle: that the graph ran.
        truth_at: what was true at an answer's stamp.
        bags: what was played, and what was recorded of the node's outputs.
        frames_in: key frames in the bag.
        source: where the frames are from.
        judging: how frames are put together, and what is asked of them.
        parameters: of the node, where they differ from its defaults.
        choose: which answers are judged, online and offline; all.

    Raises:
        DataError: the graph or the replay gave no answer at all.
    """
    from imkd_ros.replay import read_answers

    bag, recording = bags
    online = choose(read_answers(recording, bundle.head.class_names))
    offline, recalls = _replay(bundle, bag, truth_at, parameters or {}, choose)
    if not online or not offline:
        raise DataError(
            f"{len(online)} answers online and {len(offline)} offline of {frames_in} frames; the "
            "logs of the graph say why"
        )
    by_frame = [frame_figures(found, truth_at(found.stamp_ns)) for found in online]
    difference = _difference(online, [answer.detections for answer in offline])
    figures = {
        "delivered_fraction": len({found.stamp_ns for found in online}) / frames_in,
        **judging.over_frames(by_frame),
        "online_offline_difference": difference,
    }
    shown = offline[-1]
    truth = truth_at(shown.frame.stamp_ns)
    notes = {"recall_1m": f"{int(truth.is_required.sum())} boxes"} if judging is STRICT else {}
    latency = latency_rows(tuple(read_stages(recording).values()))
    entries = tuple(
        control_entry(name, question, values, judging.control_goals)
        for name, (question, values) in recalls.items()
    )
    return Verdict(
        summary={
            "source": source,
            "frames_in": frames_in,
            "frames_out": len(online),
            **figures,
            "online_equals_offline": difference <= SAME_BOX,
            "required_boxes": int(truth.is_required.sum()),
            "controls": {name: dict(values) for name, (_, values) in recalls.items()},
            "latency_ms": {
                row.stage: {"p50": row.p50_ms, "p95": row.p95_ms, "p99": row.p99_ms}
                for row in latency
            },
            "versions": _versions(),
            "model": _model_facts(bundle),
        },
        measures=measures(figures, notes, judging.goals),
        controls=entries,
        latency=latency,
        answers=tuple(answer.detections for answer in offline),
        shown=shown,
        truth=truth,
    )


def _replay(
    bundle: Bundle,
    bag: Path,
    truth_at: TruthAt,
    parameters: Mapping[str, Any],
    choose: Choose,
) -> tuple[list[Answer], dict[str, tuple[str, dict[str, float]]]]:
    """Replay the bag offline; run the controls on its last frame, through the same bundle.

    Returns:
        The answers, and control -> (what it does, recall by part).
    """
    from imkd_ros.bridge.assembly import backend_settings
    from imkd_ros.bridge.parameters import NodeSettings
    from imkd_ros.replay import Replay

    own: dict[str, Any] = {"model.bundle": str(bundle.root), "model.threads": THREADS}
    settings = NodeSettings(values=own | dict(parameters))
    with Replay(settings) as replay:
        answers = [
            Answer(frame=frame, rig=replay.rig, detections=found)
            for frame, found in replay.run(bag)
        ]
    chosen = {found.stamp_ns for found in choose([answer.detections for answer in answers])}
    answers = [answer for answer in answers if answer.detections.stamp_ns in chosen]
    if not answers:
        return [], {}
    with closing(open_backend(bundle, backend_settings(settings))) as backend:
        detector = Detector(bundle, backend, answers[-1].rig)
        truth = truth_at(answers[-1].frame.stamp_ns)
        return answers, _controls(detector, bundle, answers[-1], truth)


def _controls(
    detector: Detector, bundle: Bundle, answer: Answer, truth: FrameTruth
) -> dict[str, tuple[str, dict[str, float]]]:
    """Return control -> (question, recall by part); of the permutations, the worst."""
    visible = visible_in(truth.boxes, answer.frame, answer.rig, bundle.inputs)
    is_own = seen_only_by(visible, frozenset((MASKED_CAMERA,)))
    recalls: dict[str, tuple[str, dict[str, float]]] = {}
    for control in standard_controls(MASKED_CAMERA, len(answer.rig.cameras)):
        found = detector.detect(control.change(answer.frame))
        values = control_recalls(found, truth, is_own)
        before = recalls.get(control.name)
        if before is None or values["recall"] > before[1]["recall"]:
            recalls[control.name] = (control.description, values)
    return recalls


def _difference(online: Sequence[Detections], offline: Sequence[Detections]) -> float:
    """Return the largest difference of any box, frames paired by stamp; infinite if any lacks."""
    by_stamp = {found.stamp_ns: found for found in offline}
    if {found.stamp_ns for found in online} != set(by_stamp):
        return float("inf")
    return max(largest_difference(found, by_stamp[found.stamp_ns]) for found in online)


def _model_facts(bundle: Bundle) -> dict[str, str]:
    facts = {"name": bundle.name, "created": bundle.created}
    facts |= {f"sha256 {role}": file.sha256 for role, file in bundle.files.items()}
    return facts | {key: str(value) for key, value in bundle.provenance.items()}


def _versions() -> dict[str, str]:
    """Return the versions of what took part."""
    names = ("numpy", "opencv-python", "onnxruntime", "torch", "ros-rclpy", "rosbags", "imkd_ros")
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
