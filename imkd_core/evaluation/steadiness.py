# SPDX-License-Identifier: Apache-2.0
"""How steady the boxes of a drive are, judged without knowing the truth.

    sums = drive_sums(frames)             # one drive
    steady_figures(sums)["flicker"]       # or of the sum over drives

What is steady may still be wrong: these figures compare two models on the same drive, or tell that
something broke; they do not say how good a model is.

The jitter of a value is how far the middle one of three boxes that follow each other lies off the
straight line (in time) through the other two, scaled so that independent noise of standard
deviation s in every box gives s. A box that moves and turns evenly has none.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imkd_core.evaluation.matching import HALF_TURN_CLASSES, ROUND_CLASSES
from imkd_core.evaluation.tracks import PlacedBoxes, Track, TrackRules, join_tracks
from imkd_core.geometry import Float64, wrap_angle

#: What is summed over a drive; the figures are ratios of these, so drives can be added.
SUMS = (
    "frames",
    "boxes",
    "seconds",  # between frames that follow each other
    "changed",  # sum of the changes of the number of boxes from frame to frame, without sign
    "count_before",  # sum of the numbers before them
    "count_by_time",  # covariance of number and time, and variance of time, within drives
    "time_by_time",
    "tracks",
    "track_seconds",
    "lone",  # tracks of one box that begin and end within the recording
    "inner",  # tracks that begin and end within the recording
    "links",  # of two boxes of a track that follow each other
    "returns",  # those with frames without the box between
    "turns",  # links without, of boxes that have a front
    "flips",  # those that turn by more than a right angle
    "yaw_triples",
    "yaw_square",
    "motion_triples",
    "position_square",
    "velocity_square",
)

#: Figure -> what it says.
FIGURES: Mapping[str, str] = {
    "boxes_per_frame": "boxes in a frame",
    "flicker": "part of a box's continuations that skip a frame",
    "lone_tracks": "part of the tracks with one box alone (not cut by the recording)",
    "track_length_s": "time from a track's first box to its last",
    "count_change": "change of the number of boxes from frame to frame, relative",
    "count_drift_per_min": "boxes more, or fewer, a minute later in a drive",
    "yaw_flips": "part of a box's continuations that turn by more than 90 degrees",
    "yaw_jitter_rad": "jitter of the heading, flips left out",
    "position_jitter_m": "jitter of the centre, along each axis",
    "velocity_jitter_mps": "jitter of the velocity, along each axis",
}


def drive_sums(frames: Sequence[PlacedBoxes], rules: TrackRules | None = None) -> Float64:
    """Return (len(SUMS),) the sums of one drive.

    Args:
        frames: in the order of time, those of which the vehicle's pose is known.
        rules: which boxes are looked at, and which are one object.

    Raises:
        DataError: the frames are not in the order of time.
    """
    rules = rules or TrackRules()
    sums = dict.fromkeys(SUMS, 0.0)
    tracks = join_tracks(frames, rules)
    _add_counts(sums, frames, rules)
    part = _parts(frames, rules)
    for track in tracks:
        _add_track(sums, track, frames, part)
    return np.array([sums[name] for name in SUMS])


def steady_figures(sums: Float64) -> dict[str, float]:
    """Return figure -> value (see `FIGURES`) of sums over one drive or several; NaN where none.

    Args:
        sums: (len(SUMS),).
    """
    total = dict(zip(SUMS, sums.tolist(), strict=True))
    per = _ratio(total)
    return {
        "boxes_per_frame": per("boxes", "frames"),
        "flicker": per("returns", "links"),
        "lone_tracks": per("lone", "inner"),
        "track_length_s": per("track_seconds", "tracks"),
        "count_change": per("changed", "count_before"),
        "count_drift_per_min": 60.0 * per("count_by_time", "time_by_time"),
        "yaw_flips": per("flips", "turns"),
        "yaw_jitter_rad": math.sqrt(per("yaw_square", "yaw_triples")),
        "position_jitter_m": math.sqrt(per("position_square", "motion_triples") / 2),
        "velocity_jitter_mps": math.sqrt(per("velocity_square", "motion_triples") / 2),
    }


def _ratio(total: Mapping[str, float]) -> Callable[[str, str], float]:
    def per(part: str, whole: str) -> float:
        return total[part] / total[whole] if total[whole] > 0 else math.nan

    return per


def _parts(frames: Sequence[PlacedBoxes], rules: TrackRules) -> list[int]:
    """Return which uninterrupted part of the drive each frame is in."""
    part = [0] * len(frames)
    for i in range(1, len(frames)):
        step_s = (frames[i].stamp_ns - frames[i - 1].stamp_ns) / 1e9
        part[i] = part[i - 1] + (step_s > rules.max_step_s)
    return part


def _add_counts(sums: dict[str, float], frames: Sequence[PlacedBoxes], rules: TrackRules) -> None:
    counts = np.array([np.sum(frame.score >= rules.min_score) for frame in frames], np.float64)
    sums["frames"] += len(frames)
    sums["boxes"] += float(counts.sum())
    part = _parts(frames, rules)
    for i in range(1, len(frames)):
        if part[i] == part[i - 1]:
            sums["seconds"] += (frames[i].stamp_ns - frames[i - 1].stamp_ns) / 1e9
            sums["changed"] += abs(counts[i] - counts[i - 1])
            sums["count_before"] += counts[i - 1]
    if len(frames) > 1:
        time_s = np.array([(frame.stamp_ns - frames[0].stamp_ns) / 1e9 for frame in frames])
        off_s = time_s - time_s.mean()
        sums["count_by_time"] += float(off_s @ counts)
        sums["time_by_time"] += float(off_s @ off_s)


def _add_track(
    sums: dict[str, float], track: Track, frames: Sequence[PlacedBoxes], part: Sequence[int]
) -> None:
    first, last = int(track.frame[0]), int(track.frame[-1])
    is_cut = _is_edge(part, first, -1) or _is_edge(part, last, 1)
    sums["tracks"] += 1
    sums["track_seconds"] += (frames[last].stamp_ns - frames[first].stamp_ns) / 1e9
    sums["inner"] += not is_cut
    sums["lone"] += not is_cut and len(track.frame) == 1
    gap = np.diff(track.frame)
    sums["links"] += len(gap)
    sums["returns"] += float((gap > 1).sum())
    if len(gap):
        _add_motion(sums, track, frames, gap == 1)


def _is_edge(part: Sequence[int], index: int, step: int) -> bool:
    """Return whether a frame is the first (step -1) or the last (step 1) of its part."""
    beside = index + step
    return not 0 <= beside < len(part) or part[beside] != part[index]


def _add_motion(
    sums: dict[str, float], track: Track, frames: Sequence[PlacedBoxes], is_step: NDArray[np.bool_]
) -> None:
    """Add flips and jitter of a track; `is_step` (L - 1,) says which links have no gap."""
    pairs = list(zip(track.frame.tolist(), track.row.tolist(), strict=True))
    time_s = np.array([(frames[f].stamp_ns - frames[pairs[0][0]].stamp_ns) / 1e9 for f, _ in pairs])
    center_m = np.array([frames[f].center_m[row] for f, row in pairs])
    velocity_mps = np.array([frames[f].velocity_mps[row] for f, row in pairs])
    is_triple = is_step[1:] & is_step[:-1]
    known = is_triple & np.isfinite(velocity_mps[:-2] + velocity_mps[1:-1] + velocity_mps[2:]).all(
        1
    )
    sums["motion_triples"] += float(known.sum())
    sums["position_square"] += _square(_residuals(center_m, time_s)[known])
    sums["velocity_square"] += _square(_residuals(velocity_mps, time_s)[known])
    if track.name in ROUND_CLASSES:
        return
    has_front = track.name not in HALF_TURN_CLASSES
    period = 1.0 if has_front else 2.0  # periods in a full turn
    yaw_rad = np.array([frames[f].yaw_rad[row] for f, row in pairs])
    turn_rad = wrap_angle(period * np.diff(yaw_rad)) / period
    is_flip = has_front & (np.abs(turn_rad) > np.pi / 2)
    sums["turns"] += float(is_step.sum()) if has_front else 0.0
    sums["flips"] += float((is_flip & is_step).sum())
    smooth = is_triple & ~is_flip[1:] & ~is_flip[:-1]
    unwound_rad = np.concatenate([[0.0], np.cumsum(turn_rad)])[:, None]
    sums["yaw_triples"] += float(smooth.sum())
    sums["yaw_square"] += _square(_residuals(unwound_rad, time_s)[smooth])


def _residuals(values: Float64, time_s: Float64) -> Float64:
    """Return (L - 2, K) how far each inner value is off the line through its neighbours, scaled.

    Args:
        values: (L, K).
        time_s: (L,) ascending.
    """
    span_s = time_s[2:] - time_s[:-2]
    share = ((time_s[1:-1] - time_s[:-2]) / span_s)[:, None]
    off = values[1:-1] - (1 - share) * values[:-2] - share * values[2:]
    return np.asarray(off / np.sqrt(1 + (1 - share) ** 2 + share**2))


def _square(values: Float64) -> float:
    return float((values**2).sum())
