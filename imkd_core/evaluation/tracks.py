# SPDX-License-Identifier: Apache-2.0
"""Boxes of frames joined to tracks, by a rule that can be checked by eye; for metrics, no tracker.

    tracks = join_tracks([placed(answer, frame.odom_from_ego) for frame, answer in replay])

A box of the next frame continues a track of its class if it is within some distance of where the
track's last box would be by its own velocity; nearest pairs first. A track that finds no box is
kept for some frames, moving on, and ends then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.boxes import global_yaw
from imkd_core.geometry import Float64, transform_points
from imkd_core.types import Detections


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """Which boxes are looked at, and which are one object.

    Attributes:
        min_score: boxes scored below are not looked at.
        max_distance_m: from the expected to the found centre in the xy plane; 2 m, at which
            nuScenes takes its errors.
        max_missed: frames that a track may be without a box before it ends.
        max_step_s: frames that are further apart are two recordings: no track goes on.

    Raises:
        ConfigError: a number is out of range.
    """

    min_score: float = 0.3
    max_distance_m: float = 2.0
    max_missed: int = 1
    max_step_s: float = 0.8

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"tracks: min_score must be 0..1, got {self.min_score}")
        if min(self.max_distance_m, self.max_step_s) <= 0 or self.max_missed < 0:
            raise ConfigError(
                "tracks: max_distance_m and max_step_s must be above 0, and max_missed 0 or more"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedBoxes:
    """Boxes of one frame, laid into a frame that stands still while the vehicle moves.

    Attributes:
        stamp_ns: of the frame.
        names: (N,) class of each box.
        center_m: (N, 2) float64 in the still frame.
        yaw_rad: (N,) float64 heading in its xy plane.
        velocity_mps: (N, 2) float64 along its axes; NaN where it is unknown.
        score: (N,) float64.
    """

    stamp_ns: int
    names: NDArray[np.str_]
    center_m: Float64
    yaw_rad: Float64
    velocity_mps: Float64
    score: Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """Boxes that are taken to be one object.

    Attributes:
        name: class.
        frame: (L,) int64 index of each box's frame, ascending.
        row: (L,) int64 index of each box in its frame.
    """

    name: str
    frame: NDArray[np.int64]
    row: NDArray[np.int64]


def placed(detections: Detections, odom_from_ego: ArrayLike) -> PlacedBoxes:
    """Lay the boxes of a frame into the frame that stands still.

    Args:
        detections: in the ego frame of their stamp.
        odom_from_ego: (4, 4) pose of that ego frame; of all frames in the same still frame.
    """
    pose = np.asarray(odom_from_ego, dtype=np.float64)
    center_m = detections.center_m.astype(np.float64)
    return PlacedBoxes(
        stamp_ns=detections.stamp_ns,
        names=np.array(detections.names, dtype=np.str_),
        center_m=transform_points(pose, center_m)[:, :2],
        yaw_rad=global_yaw(pose, detections.yaw_rad.astype(np.float64)),
        velocity_mps=detections.velocity_mps.astype(np.float64) @ pose[:2, :2].T,
        score=detections.scores.astype(np.float64),
    )


class _Open:
    """A track that may go on."""

    def __init__(self, frame: int, row: int) -> None:
        self.frames = [frame]
        self.rows = [row]


def join_tracks(frames: Sequence[PlacedBoxes], rules: TrackRules | None = None) -> list[Track]:
    """Return the tracks of all boxes that are looked at, in the order of their first boxes.

    Every box belongs to exactly one track. Frames need not be evenly spaced.

    Args:
        frames: of one drive, in the order of time.
        rules: what is one object.

    Raises:
        DataError: the frames are not in the order of time.
    """
    rules = rules or TrackRules()
    stamps_ns = [frame.stamp_ns for frame in frames]
    if any(late <= early for early, late in pairwise(stamps_ns)):
        raise DataError("the frames of a drive are not in the order of time; sort them by stamp")
    every: list[_Open] = []
    going: list[_Open] = []
    for index, frame in enumerate(frames):
        if index and (frame.stamp_ns - stamps_ns[index - 1]) > rules.max_step_s * 1e9:
            going = []
        rows = np.flatnonzero(frame.score >= rules.min_score)
        for track, row in _pairs(going, frames, index, rows, rules):
            track.frames.append(index)
            track.rows.append(row)
        continued = {track.rows[-1] for track in going if track.frames[-1] == index}
        begun = [_Open(index, row) for row in rows.tolist() if row not in continued]
        every += begun
        going = [
            track for track in (*going, *begun) if index - track.frames[-1] <= rules.max_missed
        ]
    return [
        Track(
            name=str(frames[track.frames[0]].names[track.rows[0]]),
            frame=np.array(track.frames, np.int64),
            row=np.array(track.rows, np.int64),
        )
        for track in every
    ]


def _pairs(
    going: Sequence[_Open],
    frames: Sequence[PlacedBoxes],
    index: int,
    rows: NDArray[np.int64],
    rules: TrackRules,
) -> list[tuple[_Open, int]]:
    """Return which track takes which box of a frame: the nearest pair first, each once."""
    if not going or not len(rows):
        return []
    frame = frames[index]
    expected = np.array([_expected(track, frames, frame.stamp_ns) for track in going])
    names = np.array([frames[t.frames[-1]].names[t.rows[-1]] for t in going])
    distance_m = np.linalg.norm(expected[:, None] - frame.center_m[rows][None], axis=2)
    is_other = names[:, None] != frame.names[rows][None]
    distance_m[is_other | (distance_m >= rules.max_distance_m)] = np.inf
    pairs = []
    near = np.count_nonzero(np.isfinite(distance_m))
    for flat in np.argsort(distance_m, axis=None, kind="stable")[:near]:
        i, j = divmod(int(flat), len(rows))
        if np.isfinite(distance_m[i, j]):
            pairs.append((going[i], int(rows[j])))
            distance_m[i, :] = np.inf
            distance_m[:, j] = np.inf
    return pairs


def _expected(track: _Open, frames: Sequence[PlacedBoxes], stamp_ns: int) -> Float64:
    """Return (2,) where the last box of a track is by its velocity; an unknown one is 0."""
    last, row = frames[track.frames[-1]], track.rows[-1]
    step_s = (stamp_ns - last.stamp_ns) / 1e9
    return np.asarray(last.center_m[row] + step_s * np.nan_to_num(last.velocity_mps[row]))
