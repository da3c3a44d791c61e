# SPDX-License-Identifier: Apache-2.0
"""The truth of a recording: in it, in a bag beside it, or in a nuScenes folder beside it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from imkd_core.cli.common import open_nuscenes
from imkd_core.cli.replaying.plan import TruthChoice
from imkd_core.data.bags.recording import Bag, open_bag
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import ATTRIBUTES
from imkd_core.evaluation.replay_frames import TrueFrame
from imkd_ros.bridge.recorded_truth import (
    RecordedPoses,
    has_truth,
    read_poses,
    read_recorded_truth,
)

#: Text that the custom data of a bag of ours begin with: the scene's name follows.
_SOURCE = "nuScenes layout, "


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingTruth:
    """What was true in a recording.

    Attributes:
        frames: by rising stamp; empty where the truth is not known.
        source: where it is from, in words; why there is none where there is none.
        poses: of the vehicle; None where they were not needed.
        description: weather and light in words; "" where they are not told.
        seconds: between the recording's first message and its last.
        data_notice: what may be done with the recording; "" where it does not tell.
    """

    frames: tuple[TrueFrame, ...] = ()
    source: str = ""
    poses: RecordedPoses | None = None
    description: str = ""
    seconds: float = 0.0
    data_notice: str = ""


def truth_of(path: Path, name: str, choice: TruthChoice) -> RecordingTruth:
    """Return the truth of a recording.

    Args:
        path: of the recording.
        name: of the recording.
        choice: where the truth comes from.

    Raises:
        DataError: the recording or its truth is damaged, or what was named holds no truth for it.
    """
    with open_bag(path) as bag:
        told = bag.custom_data.get("description", "")
        seconds, notice = (bag.end_ns - bag.start_ns) * 1e-9, bag.custom_data.get("licence", "")
        if choice.beside is None and not has_truth(bag, choice.topics):
            return RecordingTruth(
                source=f"nothing on {choice.topics.truth}",
                description=told,
                seconds=seconds,
                data_notice=notice,
            )
        poses = read_poses(bag, choice.topics)
        if choice.beside is None:
            frames = read_recorded_truth(bag, choice.topics, poses)
            where = f"{choice.topics.truth} of the recording"
        elif _is_nuscenes(choice.beside):
            reader = _nuscenes(choice.beside, choice.version)
            records = _records_of(bag, name, reader)
            frames = [_of_record(record, poses) for record in records]
            where, told = f"{choice.beside.name}, {records[0].scene}", records[0].description
        else:
            beside = _bag_beside(choice.beside, name)
            frames = _of_bag(beside, choice, poses)
            where = f"{choice.topics.truth} of {beside.name}"
    return RecordingTruth(
        frames=tuple(frames),
        source=where,
        poses=poses,
        description=told,
        seconds=seconds,
        data_notice=notice,
    )


def _is_nuscenes(path: Path) -> bool:
    return path.is_dir() and any(item.is_dir() for item in path.glob("v1.0-*"))


@cache
def _nuscenes(root: Path, version: str | None) -> NuScenes:
    return open_nuscenes(root, version)


def _bag_beside(path: Path, name: str) -> Path:
    """Return the bag with the truth: the one that is named, or the one of a recording's name."""
    if path.is_file() or (path / "metadata.yaml").is_file():
        return path
    for candidate in (path / name, path / f"{name}.mcap", path / f"{name}.db3"):
        if candidate.exists():
            return candidate
    raise DataError(
        f"--truth {path} is no nuScenes folder (v1.0-*), no bag, and holds no bag '{name}'; name "
        "one of these"
    )


def _of_bag(path: Path, choice: TruthChoice, poses: RecordedPoses) -> list[TrueFrame]:
    with open_bag(path) as bag:
        if not has_truth(bag, choice.topics):
            raise DataError(
                f"--truth {path} has no true boxes on {choice.topics.truth}; it has "
                f"{', '.join(sorted(bag.topics)) or 'no topic'}. Name their topic with "
                "--truth-topic"
            )
        return read_recorded_truth(bag, choice.topics, poses)


def _records_of(bag: Bag, name: str, reader: NuScenes) -> list[SampleRecord]:
    """Return the key frames of a recording, of the scene that it was made of.

    That is the scene which its metadata name, or which has its name, or the only one at its time.
    """
    source = bag.custom_data.get("source", "").partition(_SOURCE)[2]
    named = [scene for scene in (source, name) if scene in reader.scenes][:1]
    found = {}
    for scene in named or reader.scenes:
        records = [
            record
            for record in reader.samples(scene)
            if bag.start_ns <= record.stamp_ns <= bag.end_ns
        ]
        if records:
            found[scene] = records
    if len(found) != 1:
        what = f"{len(found)} scenes at the time of" if found else "no key frame within"
        raise DataError(
            f"--truth {reader.tables.root}: {what} the recording '{name}'; name the data set it "
            "was recorded for, and the recording like its scene"
        )
    return next(iter(found.values()))


def _of_record(record: SampleRecord, poses: RecordedPoses) -> TrueFrame:
    truth = record.truth()
    attributes = [ATTRIBUTES.index(text) if text in ATTRIBUTES else -1 for text in truth.attributes]
    return TrueFrame(
        boxes=truth.detections,
        attributes=np.array(attributes, np.int64),
        points=truth.num_lidar_points + truth.num_radar_points,
        odom_from_ego=poses.at(record.stamp_ns),
    )
