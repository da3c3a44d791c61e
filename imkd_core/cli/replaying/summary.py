# SPDX-License-Identifier: Apache-2.0
"""What one recording gave, in summary.json: counts, faults, figures; nothing that time changes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from imkd_core.cli.replaying.plan import Keys, ReplayPlan
from imkd_core.cli.replaying.truth import RecordingTruth
from imkd_core.evaluation.nuscenes_metrics import DetectionRules
from imkd_core.evaluation.replay_figures import ReplayedDrive, drive_figures, replayed_drive
from imkd_core.evaluation.replay_frames import FrameRecord, TrueFrame
from imkd_core.evaluation.replay_judgement import JudgedDrive, judge, judged_drive
from imkd_core.evaluation.replay_report_files import CURVES, write_curves
from imkd_core.evaluation.tables import plain_values
from imkd_core.runtime.bundle import Bundle
from imkd_ros.bridge.sensors import SensorSet


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a run tells beside its frames.

    Attributes:
        seconds: between the recording's first message and its last.
        replay_s: wall time of the replay.
        dropped: sensor (or "frames") -> reason -> what was dropped.
        unreadable: topic -> messages that could not be decoded.
        data_notice: what may be done with the recording; "" where it does not tell.
        runs_on: what ran the model, in words; not in the summary, for it may name threads.
    """

    seconds: float
    replay_s: float = 0.0
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    data_notice: str = ""
    runs_on: str = ""


def drive_of(name: str, frames: Sequence[FrameRecord]) -> ReplayedDrive:
    """Return the sums of a recording's answers."""
    given = [(one.detections, one.odom_from_ego) for one in frames]
    return replayed_drive(name, [(found, pose) for found, pose in given if found is not None])


def judged(
    name: str, frames: Sequence[FrameRecord], truths: Sequence[TrueFrame], description: str
) -> JudgedDrive | None:
    """Return a recording to be judged; None where its truth is not known."""
    return judged_drive(name, frames, truths, description) if truths else None


def summary_of(
    plan: ReplayPlan,
    name: str,
    keys: Keys,
    frames: Sequence[FrameRecord],
    truth: RecordingTruth,
    ran: Ran,
    bundle: Bundle,
    sensors: SensorSet,
) -> dict[str, Any]:
    """Return summary.json as plain values.

    Args:
        plan: how it was replayed.
        name: of the recording.
        keys: of what the results hang on.
        frames: as they were read back from the file.
        truth: of the recording.
        ran: what the run told.
        bundle: the model.
        sensors: the sensor set.
    """
    drive = drive_of(name, frames)
    with_truth = judged(name, frames, truth.frames, truth.description)
    if with_truth is not None:
        rules = DetectionRules()
        write_curves(plan.partial(name) / CURVES, judge([with_truth], rules).metrics, rules)
    outcomes = Counter(frame.outcome for frame in frames)
    return {
        "bag": name,
        "mode": plan.mode,
        "key": keys.results,
        "boxes_key": keys.boxes,
        "seconds": ran.seconds,
        "cameras": list(sensors.cameras),
        "radars": list(sensors.radars),
        "class_names": list(bundle.head.class_names),
        "about": about(plan, bundle),
        "data_notice": ran.data_notice,
        "description": truth.description,
        "frames": len(frames),
        "frames_without_pose": drive.without_pose,
        "outcomes": _sorted(outcomes),
        "levels": _sorted(Counter(frame.level for frame in frames)),
        "missing": _missing(frames),
        "findings": _findings(frames),
        "longest_gap_s": _longest_gap_s(frames),
        "truth": {
            "source": truth.source,
            "moments": len(truth.frames),
            "boxes": sum(len(one.boxes) for one in truth.frames),
            "without_answer": 0 if with_truth is None else with_truth.unanswered,
        },
        "figures": plain_values(drive_figures(drive, with_truth)),
        "dropped": {sensor: dict(sorted(ran.dropped[sensor].items())) for sensor in ran.dropped},
        "unreadable": dict(sorted(ran.unreadable.items())),
    }


def about(plan: ReplayPlan, bundle: Bundle) -> dict[str, str]:
    """Return facts of a replay for a reader: model, mode, least score."""
    score = plan.settings.number("post.score_threshold")
    return {
        "model": bundle.name,
        "sha256": " ".join(sorted({file.sha256[:12] for file in bundle.files.values()})),
        "mode": plan.mode
        if plan.rate is None
        else f"{plan.mode}, at {plan.rate:g} times its speed",
        "least score": f"{score:g}" if score >= 0 else "the bundle's own",
    }


def _missing(frames: Sequence[FrameRecord]) -> dict[str, dict[str, int]]:
    """Return sensor -> reason -> frames without it."""
    counts: dict[str, Counter[str]] = {}
    for frame in frames:
        for sensor, reason in frame.missing.items():
            counts.setdefault(sensor, Counter())[reason] += 1
    return {sensor: _sorted(counts[sensor]) for sensor in sorted(counts)}


def _findings(frames: Sequence[FrameRecord]) -> list[dict[str, Any]]:
    """Return each fault of each sensor, with the frames that showed it."""
    stamps_ns: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        for one in frame.findings:
            stamps_ns.setdefault((one["sensor"], one["fault"]), []).append(frame.stamp_ns)
    return [
        {
            "sensor": sensor,
            "fault": fault,
            "frames": len(found),
            "first_ns": min(found),
            "last_ns": max(found),
        }
        for (sensor, fault), found in sorted(stamps_ns.items())
    ]


def _longest_gap_s(frames: Sequence[FrameRecord]) -> float | None:
    """Return the longest time between two answers; None with fewer than two."""
    stamps_ns = [frame.stamp_ns for frame in frames if frame.detections is not None]
    gaps_ns = [later - before for before, later in pairwise(stamps_ns)]
    return max(gaps_ns) * 1e-9 if gaps_ns else None


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
