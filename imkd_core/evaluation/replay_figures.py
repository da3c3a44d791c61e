# SPDX-License-Identifier: Apache-2.0
"""What a replay of recordings gave: the steadiness of each drive's boxes, and how right they are.

    drives = [replayed_drive("monday", answers), replayed_drive("tuesday", more)]
    write_replay_figures(Path("out/replay"), drives, about={"model": "mine"})

The folder holds `figures.json` for a reader, and `drives/` for `imkd compare`. How right boxes are
is told of the drives whose truth is known; drives without it count for steadiness alone.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imkd_core.errors import ConfigError
from imkd_core.evaluation.drive_figures import (
    DriveFigures,
    digest_of,
    figures_path,
    write_drive_figures,
)
from imkd_core.evaluation.replay_judgement import JudgedDrive, Judgement, hits_of, judge
from imkd_core.evaluation.results import write_atomic
from imkd_core.evaluation.steadiness import SUMS, drive_sums, steady_figures
from imkd_core.evaluation.tracks import PlacedBoxes, TrackRules, placed
from imkd_core.geometry import Float64
from imkd_core.types import Detections

#: What was found in a frame, and where the vehicle was then in a frame that stands still.
Answer = tuple[Detections, Float64 | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayedDrive:
    """The sums of one recording.

    Attributes:
        name: of the recording.
        digest: of its frames' stamps.
        frames: answered ones.
        without_pose: those among them that no figure is made of, since where the vehicle was is
            not known.
        sums: (len(SUMS),) `steadiness.SUMS`.
    """

    name: str
    digest: str
    frames: int
    without_pose: int
    sums: Float64


@dataclass(frozen=True, kw_only=True)
class ReplayFigures:
    """Figures of all recordings of a replay.

    Attributes:
        steadiness: figure -> value (see `steadiness.FIGURES`); NaN where it is not known.
        judgement: against the truth; None where no recording has it.
        judged: recordings with truth.
    """

    steadiness: Mapping[str, float]
    judgement: Judgement | None
    judged: int


def replayed_drive(
    name: str, answers: Iterable[Answer], rules: TrackRules | None = None
) -> ReplayedDrive:
    """Return the sums of a recording.

    Args:
        name: of the recording.
        answers: detections of each frame with its (4, 4) `odom_from_ego`, or None where the pose
            is not known; in the order of the recording. Where stamps go back (a recording that
            loops), a new part begins.
        rules: which boxes are looked at, and which are one object.
    """
    stamps_ns: list[int] = []
    parts: list[list[PlacedBoxes]] = [[]]
    for detections, odom_from_ego in answers:
        if stamps_ns and detections.stamp_ns <= stamps_ns[-1]:
            parts.append([])
        stamps_ns.append(detections.stamp_ns)
        if odom_from_ego is not None:
            parts[-1].append(placed(detections, odom_from_ego))
    sums = np.sum([drive_sums(part, rules) for part in parts], axis=0)
    return ReplayedDrive(
        name=name,
        digest=digest_of(stamps_ns),
        frames=len(stamps_ns),
        without_pose=len(stamps_ns) - sum(len(part) for part in parts),
        sums=sums,
    )


def drive_names(recordings: Sequence[Path]) -> list[str]:
    """Return the names of recordings: those of their folders or files, without the ending.

    Raises:
        ConfigError: two have the same.
    """
    names = [
        (path if path.is_dir() else path.with_suffix("")).resolve().name for path in recordings
    ]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"two recordings are called '{twice[0]}'; rename one, or leave it out")
    return names


def write_replay_figures(
    output: Path,
    drives: Sequence[ReplayedDrive],
    about: Mapping[str, str],
    judged: Sequence[JudgedDrive | None] = (),
) -> ReplayFigures:
    """Write the figures of a replay into a folder; return those of all drives together.

    Args:
        output: folder, made where it is missing.
        drives: at least one.
        about: fact -> what ran on what.
        judged: of each drive, None where its truth is not known; empty = of none.

    Raises:
        DataError: a file cannot be written, or a drive is named twice.
    """
    truths = list(judged) or [None] * len(drives)
    figures = DriveFigures(
        about=dict(about),
        drives=tuple(drive.name for drive in drives),
        digests=tuple(_digest(*pair) for pair in zip(drives, truths, strict=True)),
        steady=np.stack([drive.sums for drive in drives]),
        hits=hits_of(truths),
    )
    write_drive_figures(figures_path(output), figures)
    known = [one for one in truths if one is not None and one.stamps_ns]
    judgement = judge(known) if known else None
    told = {
        "about": dict(about),
        "all": _plain(figures.figures()),
        "with_truth": [one.name for one in known],
        "truth": None if judgement is None else judgement.to_json(),
        "drives": {
            drive.name: {
                "frames": drive.frames,
                "frames_without_pose": drive.without_pose,
                "seconds": float(drive.sums[SUMS.index("seconds")]),
                **_plain(drive_figures(drive, one)),
            }
            for drive, one in zip(drives, truths, strict=True)
        },
    }
    text = json.dumps(told, indent=2, allow_nan=False)
    write_atomic(output / "figures.json", f"{text}\n".encode())
    return ReplayFigures(
        steadiness=figures.figures(with_truth=False), judgement=judgement, judged=len(known)
    )


def drive_figures(drive: ReplayedDrive, judged: JudgedDrive | None) -> dict[str, float]:
    """Return the figures of one drive; with truth "nds", "map" and errors of the classes in it."""
    steady = steady_figures(drive.sums)
    if judged is None or not judged.stamps_ns:
        return steady
    metrics = judge([judged]).metrics
    right = {"nds": metrics.present_nds, "map": metrics.present_mean_ap}
    ap = {f"ap.{name}": one.ap for name, one in metrics.classes.items() if one.truth}
    return {**right, **metrics.present_errors, **ap, **steady}


def _digest(drive: ReplayedDrive, judged: JudgedDrive | None) -> str:
    """Return what must agree where two runs are compared: true moments, or else the frames."""
    return drive.digest if judged is None else digest_of(judged.stamps_ns)


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures for JSON; None where one is not known."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
