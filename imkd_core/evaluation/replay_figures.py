# SPDX-License-Identifier: Apache-2.0
"""What a replay of recordings without truth gave: the steadiness of each drive's boxes.

    drives = [replayed_drive("monday", answers), replayed_drive("tuesday", more)]
    write_replay_figures(Path("out/replay"), drives, about={"model": "mine"})

The folder holds `figures.json` for a reader, and `drives/` for `imkd compare`.
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
    output: Path, drives: Sequence[ReplayedDrive], about: Mapping[str, str]
) -> dict[str, float]:
    """Write the figures of a replay into a folder; return those of all drives together.

    Args:
        output: folder, made where it is missing.
        drives: at least one.
        about: fact -> what ran on what.

    Raises:
        DataError: a file cannot be written, or a drive is named twice.
    """
    figures = DriveFigures(
        about=dict(about),
        drives=tuple(drive.name for drive in drives),
        digests=tuple(drive.digest for drive in drives),
        steady=np.stack([drive.sums for drive in drives]),
    )
    write_drive_figures(figures_path(output), figures)
    told = {
        "about": dict(about),
        "all": _plain(figures.figures()),
        "drives": {
            drive.name: {
                "frames": drive.frames,
                "frames_without_pose": drive.without_pose,
                "seconds": float(drive.sums[SUMS.index("seconds")]),
                **_plain(steady_figures(drive.sums)),
            }
            for drive in drives
        },
    }
    text = json.dumps(told, indent=2, allow_nan=False)
    write_atomic(output / "figures.json", f"{text}\n".encode())
    return figures.figures()


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures for JSON; None where one is not known."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
