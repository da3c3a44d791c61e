# SPDX-License-Identifier: Apache-2.0
"""A recording through the offline replay: frames and timings as they come, and pictures."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from imkd_core.cli.replaying.plan import ReplayPlan
from imkd_core.cli.replaying.summary import Ran
from imkd_core.cli.replaying.truth import RecordingTruth
from imkd_core.evaluation.frame_pictures import as_jpeg, frame_pictures
from imkd_core.evaluation.proof import moved_boxes
from imkd_core.evaluation.replay_frames import FrameRecord, TrueFrame, frame_line
from imkd_core.evaluation.replay_report_files import FRAMES, PICTURES, TIMINGS
from imkd_core.geometry import invert_transform
from imkd_core.health.faults import Finding
from imkd_core.runtime.bundle import Bundle
from imkd_core.types import Detections
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.replay import Outcome, Replay

#: True boxes are drawn into a frame that is no farther from their stamp.
_SHOWN_NS = 60_000_000

#: Told of frames done.
OnFrame = Callable[[int], None]


class OfflineRunner:
    """Replays recordings in this process; the model is opened once.

    Args:
        plan: how.
        threads: of inference.
        report: is told what runs the model.

    Raises:
        ImkdError: the sensor file, the bundle or the backend is refused, as by the node.
    """

    def __init__(
        self, plan: ReplayPlan, threads: int, report: Callable[[str], None] | None = None
    ) -> None:
        self._plan = plan
        self._replay = Replay(plan.settings.replaced({"model.threads": threads}), report)
        self.on_frame: OnFrame = lambda _done: None

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self._replay.bundle

    @property
    def sensors(self) -> SensorSet:
        """The sensor set."""
        return self._replay.sensors

    def close(self) -> None:
        """Give the model back."""
        self._replay.close()

    def produce(self, folder: Path, path: Path, truth: RecordingTruth) -> Ran:
        """Write frames, timings and pictures of a recording; see `one_bag.Runner`."""
        begin_s = time.monotonic()
        with (
            (folder / FRAMES).open("w", encoding="utf-8") as frames,
            (folder / TIMINGS).open("w", encoding="utf-8") as timings,
        ):
            for number, outcome in enumerate(self._replay.outcomes(path)):
                _write(outcome, frames, timings)
                if self._plan.pictures_every and number % self._plan.pictures_every == 0:
                    self._draw(folder / PICTURES, outcome, truth)
                self.on_frame(number + 1)
        return Ran(
            seconds=truth.seconds,
            replay_s=time.monotonic() - begin_s,
            dropped={name: dict(found) for name, found in self._replay.counters.items() if found},
            unreadable=dict(self._replay.unreadable),
            data_notice=truth.data_notice,
            runs_on=self._replay.runs_on,
        )

    def _draw(self, folder: Path, outcome: Outcome, truth: RecordingTruth) -> None:
        if outcome.frame is None:
            return
        folder.mkdir(exist_ok=True)
        status = outcome.status
        pictures = frame_pictures(
            outcome.frame,
            outcome.detections,
            self._replay.rig,
            truth=_true_boxes(outcome, truth.frames),
            grid=self.bundle.inputs.bev,
            missing=status.missing,
            suspect={one.sensor: one.fault for one in outcome.findings},
        )
        for kind, data in as_jpeg(pictures).items():
            (folder / f"{status.stamp_ns}_{kind}.jpg").write_bytes(data)


def record_of(outcome: Outcome) -> FrameRecord:
    """Return what became of a frame, for the file."""
    status = outcome.status
    return FrameRecord(
        stamp_ns=status.stamp_ns,
        level=str(status.level),
        outcome=status.outcome,
        age_ms=status.age_ms,
        missing=status.missing,
        findings=plain_findings(outcome.findings),
        odom_from_ego=outcome.odom_from_ego,
        detections=outcome.detections,
    )


def plain_findings(findings: Iterable[Finding]) -> tuple[dict[str, Any], ...]:
    """Return faults of sensors as a frame of the file has them, with what to do."""
    return tuple({**asdict(one), "remedy": one.remedy} for one in findings)


def _write(outcome: Outcome, frames: TextIO, timings: TextIO) -> None:
    record = record_of(outcome)
    frames.write(f"{frame_line(record)}\n")
    if outcome.detections is not None:
        stages = {name: round(ms, 3) for name, ms in outcome.detections.stage_ms.items()}
        stages.setdefault("total", round(sum(stages.values()), 3))
        timings.write(f"{json.dumps({'stamp_ns': record.stamp_ns, 'stage_ms': stages})}\n")


def _true_boxes(outcome: Outcome, truths: tuple[TrueFrame, ...]) -> Detections | None:
    """Return the true boxes at a frame's stamp, in its ego frame; None where none is near."""
    stamp_ns = outcome.status.stamp_ns
    near = min(truths, key=lambda one: abs(one.stamp_ns - stamp_ns), default=None)
    if near is None or abs(near.stamp_ns - stamp_ns) > _SHOWN_NS:
        return None
    if outcome.odom_from_ego is None or near.odom_from_ego is None:
        return moved_boxes(np.eye(4), near.boxes, stamp_ns)
    ego_from_truth = invert_transform(outcome.odom_from_ego) @ near.odom_from_ego
    return moved_boxes(ego_from_truth, near.boxes, stamp_ns)
