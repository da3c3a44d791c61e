# SPDX-License-Identifier: Apache-2.0
"""Average precision of View-of-Delft: three classes, two regions, in 3D and from above.

Own implementation of the published rules (method.md 9.4 and 10, KITTI's 11-point AP): IoU 0.5,
0.25 and 0.25; one difficulty (2D height above 40 px, any occlusion up to 4); the entire annotated
area, and the driving corridor (|x| at most 4 m, z at most 25 m in the camera frame). Boxes outside
a region or too small in the image are neither hits nor faults.

The original devkit was not at hand to compare with. Known differences to expect: boxes here stand
upright in the ego (LiDAR) frame, while KITTI's code builds them in the tilted camera frame; the
2D height of a detection comes from its projected corners, since a 3D detector gives no 2D box;
what the original does on a tie of scores or of overlaps was not checked. As in KITTI's code, a
class with 40 true boxes or fewer cannot reach AP 1: each hit gives at most one sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import DataError
from imkd_core.evaluation.rotated_iou import box_iou
from imkd_core.geometry import Float64

#: Class -> least overlap of a hit.
MIN_IOU: Mapping[str, float] = MappingProxyType({"Car": 0.5, "Pedestrian": 0.25, "Cyclist": 0.25})

#: Smaller 2D boxes, and boxes more hidden, are neither hits nor faults.
MIN_HEIGHT_PX = 40.0
MAX_OCCLUSION = 4

#: Driving corridor in the camera frame: sideways and ahead.
CORRIDOR_HALF_WIDTH_M = 4.0
CORRIDOR_LENGTH_M = 25.0

REGIONS = ("entire area", "driving corridor")
VIEWS = ("3d", "bev")

#: Scores at which precision is sampled; every fourth is one of the 11 points.
_RECALL_STEPS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class VodBoxes:
    """True or found boxes of one frame.

    Attributes:
        names: class of each box; other classes than the three are not looked at.
        center_m: (N, 3) geometric centres, x forward, y left, z up.
        size_m: (N, 3) length, width, height.
        yaw_rad: (N,) heading about z.
        position_cam_m: (N, 3) bottom centre in the camera frame (x right, y down, z forward).
        height_px: (N,) height of the 2D box.
        occlusion: (N,) as annotated; 0 for found boxes.
        scores: (N,) of found boxes; 1 for true ones.

    Raises:
        DataError: lengths disagree, a number is not finite, or a size is not positive.
    """

    names: tuple[str, ...]
    center_m: Float64
    size_m: Float64
    yaw_rad: Float64
    position_cam_m: Float64
    height_px: Float64
    occlusion: NDArray[np.int64]
    scores: Float64

    def __post_init__(self) -> None:
        """Check lengths and numbers."""
        n = len(self.names)
        shapes = {"center_m": (n, 3), "size_m": (n, 3), "position_cam_m": (n, 3)}
        for name in ("center_m", "size_m", "yaw_rad", "position_cam_m", "height_px", "scores"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shapes.get(name, (n,)) or not np.isfinite(value).all():
                raise DataError(
                    f"boxes: {name} must be {shapes.get(name, (n,))} finite numbers; got "
                    f"{value.shape}"
                )
            object.__setattr__(self, name, value)
        if len(self.occlusion) != n or not (self.size_m > 0).all():
            raise DataError("boxes: sizes must be positive, and occlusion given for each box")

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class VodClass:
    """Figures of one class in one region and view: AP 0..1 and the true boxes that count."""

    ap: float
    truth: int


@dataclass(frozen=True, kw_only=True)
class VodMetrics:
    """Figures of a set of frames: region -> view ("3d", "bev") -> class -> figures."""

    frames: int
    regions: Mapping[str, Mapping[str, Mapping[str, VodClass]]]

    def mean_ap(self, region: str = "entire area", view: str = "3d") -> float:
        """Return the mean AP of the three classes, as it is published; NaN counts as 0."""
        return float(np.mean([np.nan_to_num(c.ap) for c in self.regions[region][view].values()]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frame:
    """One class of one frame: overlaps above the limit, and what is ignored.

    Attributes:
        candidates: for each true box (index, overlap) of the detections that overlap it enough.
        is_true_ignored, is_found_ignored, scores: of true and found boxes of the class.
    """

    candidates: tuple[tuple[tuple[int, float], ...], ...]
    is_true_ignored: NDArray[np.bool_]
    is_found_ignored: NDArray[np.bool_]
    scores: Float64


def evaluate_vod(frames: Sequence[tuple[VodBoxes, VodBoxes]]) -> VodMetrics:
    """Return View-of-Delft's AP.

    Args:
        frames: (found, true) boxes of each frame.
    """
    overlaps = [
        box_iou(
            found.center_m, found.size_m, found.yaw_rad, true.center_m, true.size_m, true.yaw_rad
        )
        for found, true in frames
    ]
    regions: dict[str, dict[str, dict[str, VodClass]]] = {}
    for region in REGIONS:
        regions[region] = {view: {} for view in VIEWS}
        for column, view in ((1, "3d"), (0, "bev")):
            for name, limit in MIN_IOU.items():
                parts = [
                    _frame(found, true, overlap[column], name, limit, region)
                    for (found, true), overlap in zip(frames, overlaps, strict=True)
                ]
                regions[region][view][name] = _class(parts)
    return VodMetrics(frames=len(frames), regions=regions)


def _class(frames: Sequence[_Frame]) -> VodClass:
    truth = int(sum((~frame.is_true_ignored).sum() for frame in frames))
    if not truth:
        return VodClass(ap=float("nan"), truth=0)
    hits = np.concatenate([_scores_of_hits(frame) for frame in frames])
    limits = sampled_scores(np.sort(hits)[::-1], truth)
    precision = np.zeros(_RECALL_STEPS + 1)
    for i, limit in enumerate(limits[: len(precision)]):
        right, wrong = np.sum([_count(frame, limit) for frame in frames], axis=0)
        precision[i] = right / (right + wrong) if right + wrong else 0.0
    best_beyond = np.maximum.accumulate(precision[::-1])[::-1]
    return VodClass(ap=float(best_beyond[::4].mean()), truth=truth)


def sampled_scores(scores: Float64, truth: int) -> list[float]:
    """Return the scores, of hits sorted downwards, whose recalls are nearest to 0, 1/40, ... 1.

    Args:
        scores: (H,) best first.
        truth: number of true boxes.
    """
    chosen: list[float] = []
    recall = 0.0
    for i, score in enumerate(scores.tolist()):
        is_last = i == len(scores) - 1
        here = (i + 1) / truth
        following = here if is_last else (i + 2) / truth
        if following - recall < recall - here and not is_last:
            continue
        chosen.append(score)
        recall += 1 / _RECALL_STEPS
    return chosen


def _frame(
    found: VodBoxes, true: VodBoxes, overlap: Float64, name: str, limit: float, region: str
) -> _Frame:
    rows = np.array([i for i, one in enumerate(found.names) if one == name], np.int64)
    columns = np.array([i for i, one in enumerate(true.names) if one == name], np.int64)
    near = overlap[np.ix_(rows, columns)]
    too_small = true.height_px <= MIN_HEIGHT_PX
    hidden = np.asarray(true.occlusion) > MAX_OCCLUSION
    true_ignored = too_small | hidden | _is_outside(true, region)
    found_ignored = (found.height_px < MIN_HEIGHT_PX) | _is_outside(found, region)
    return _Frame(
        candidates=tuple(
            tuple((int(i), float(near[i, j])) for i in np.flatnonzero(near[:, j] > limit))
            for j in range(len(columns))
        ),
        is_true_ignored=true_ignored[columns],
        is_found_ignored=found_ignored[rows],
        scores=found.scores[rows],
    )


def _is_outside(boxes: VodBoxes, region: str) -> NDArray[np.bool_]:
    if region == "entire area":
        return np.zeros(len(boxes), dtype=np.bool_)
    x, z = boxes.position_cam_m[:, 0], boxes.position_cam_m[:, 2]
    return np.asarray((np.abs(x) > CORRIDOR_HALF_WIDTH_M) | (z > CORRIDOR_LENGTH_M))


def _scores_of_hits(frame: _Frame) -> Float64:
    """Return the scores of hits when each true box takes the surest detection on it."""
    taken: set[int] = set()
    scores = []
    for ignored, candidates in zip(frame.is_true_ignored, frame.candidates, strict=True):
        free = [i for i, _ in candidates if i not in taken]
        if free:
            best = max(free, key=lambda i: frame.scores[i])
            taken.add(best)
            if not ignored and not frame.is_found_ignored[best]:
                scores.append(float(frame.scores[best]))
    return np.array(scores)


def _count(frame: _Frame, limit: float) -> tuple[int, int]:
    """Return hits and faults when detections scored `limit` or more count.

    Each true box takes the detection with the largest overlap; one that is ignored only where
    there is no other.
    """
    taken: set[int] = set()
    hits = 0
    for ignored, candidates in zip(frame.is_true_ignored, frame.candidates, strict=True):
        free = [(i, o) for i, o in candidates if i not in taken and frame.scores[i] >= limit]
        counting = [(i, o) for i, o in free if not frame.is_found_ignored[i]]
        if not free:
            continue
        best = max(counting, key=lambda pair: pair[1])[0] if counting else free[0][0]
        taken.add(best)
        hits += bool(counting) and not ignored
    counts = (frame.scores >= limit) & ~frame.is_found_ignored
    counts[list(taken)] = False
    return hits, int(counts.sum())
