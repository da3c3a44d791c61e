# SPDX-License-Identifier: Apache-2.0
"""Past frames of a training sample: which they are, how they lie, what moved since.

Past frames are key frames of the same drive, `InputSpec.memory.interval_s` apart
(method.md 3.5, 12.2 d). All are changed by the scene's one change A; pictures and returns have
changes of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.data.changes.augmentation import SampleChange
from imkd_core.data.samples import HasPose, Sample
from imkd_core.errors import DataError
from imkd_core.geometry import Float64, invert_transform, planar_transform
from imkd_core.preprocess import Arrays
from imkd_core.recipe import AugmentConfig

#: A key frame stands in for a moment that is this share of the interval away, at most.
_NEAREST = 0.5

#: Objects that are faster than this, m/s, are not where an earlier map shows them.
MOVING_MPS = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class PastFrame:
    """One past frame of a sample.

    Attributes:
        index: of its record.
        age_s: how much older it is than the frame it is read from.
        past_from_newer: (2, 3) SE(2) from that frame's ego frame to its own, metres.
    """

    index: int
    age_s: float
    past_from_newer: Float64


class Drives:
    """Which key frames of a drive come before which.

    Args:
        records: samples of any number of drives, in any order.
    """

    def __init__(self, records: Sequence[Sample]) -> None:
        self._records = records
        self._stamps = np.array([record.stamp_ns for record in records], np.int64)
        members: dict[str, list[int]] = {}
        for index in np.argsort(self._stamps, kind="stable"):
            members.setdefault(records[index].scene, []).append(int(index))
        self._members = {scene: np.array(indices) for scene, indices in members.items()}

    def before(self, index: int, gaps_s: Sequence[float]) -> list[int]:
        """Return the key frames before one, newest first, about `gaps_s` seconds apart.

        The row ends where the drive has no key frame near the moment that is asked for.
        """
        found: list[int] = []
        drive = self._members[self._records[index].scene]
        for gap_s in gaps_s:
            newer = found[-1] if found else index
            ages_s = (self._stamps[newer] - self._stamps[drive]) * 1e-9
            distance = np.where(ages_s > 0, np.abs(ages_s - gap_s), np.inf)
            nearest = int(distance.argmin())
            if distance[nearest] > _NEAREST * gap_s:
                break
            found.append(int(drive[nearest]))
        return found

    def past_frames(
        self, index: int, gaps_s: Sequence[float], memory: MemorySpec
    ) -> list[PastFrame]:
        """Return the frames of `before`, each as it is read.

        A window reads them from the key frame, a recurrent memory from the next newer frame.

        Raises:
            DataError: a sample does not know its pose.
        """
        chain = [index, *self.before(index, gaps_s)]
        frames = []
        for place, past in enumerate(chain[1:]):
            newer = chain[place] if memory.kind == "recurrent" else index
            odom_from_newer, odom_from_past = self._pose(newer), self._pose(past)
            frames.append(
                PastFrame(
                    index=past,
                    age_s=float(self._stamps[newer] - self._stamps[past]) * 1e-9,
                    past_from_newer=planar_transform(
                        invert_transform(odom_from_past) @ odom_from_newer
                    ),
                )
            )
        return frames

    def _pose(self, index: int) -> Float64:
        record = self._records[index]
        if not isinstance(record, HasPose):
            raise DataError(
                f"sample '{record.token}' does not know where the vehicle was; a memory is trained "
                "on drives with poses, or set inputs.memory.kind to none"
            )
        return record.odom_from_ego


def draw_gaps(
    memory: MemorySpec, frames: int, augment: AugmentConfig, rng: np.random.Generator | None
) -> list[float]:
    """Return the seconds between past frames, newest first; fewer where history is dropped.

    Args:
        memory: the usual interval.
        frames: how many past frames are wanted.
        augment: `drop_history` and `history_jitter`.
        rng: None gives the usual ones.
    """
    if rng is None:
        return [memory.interval_s] * frames
    count = int(rng.integers(frames)) if rng.random() < augment.drop_history else frames
    is_long = rng.random(frames) < augment.history_jitter
    longest = min(2 * memory.interval_s, memory.max_gap_s)
    return [longest if is_long[place] else memory.interval_s for place in range(count)]


def disturbed_motion(
    past_from_newer: Float64, augment: AugmentConfig, rng: np.random.Generator | None
) -> Float64:
    """Return a (2, 3) motion with the noise of `history_noise_m` and `history_noise_deg`."""
    if rng is None:
        return past_from_newer
    x_m, y_m, turn = rng.normal(size=3) * (
        augment.history_noise_m,
        augment.history_noise_m,
        np.deg2rad(augment.history_noise_deg),
    )
    cos, sin = np.cos(turn), np.sin(turn)
    disturbed = np.array([[cos, -sin], [sin, cos]]) @ past_from_newer
    disturbed[:, 2] += (x_m, y_m)
    return disturbed


def past_change(own: SampleChange, key: SampleChange) -> SampleChange:
    """Return the change of a past frame: its own, in the key frame's scene, with lasting faults.

    A sensor that the key frame lost was lost before, too, so that no memory knows what the targets
    leave out because no sensor sees it (see `augmentation.lost_boxes`).
    """
    cameras = {
        name: replace(change, blank=key.cameras[name].blank)
        if name in key.cameras and key.cameras[name].blank
        else change
        for name, change in own.cameras.items()
    }
    radar = replace(own.radar, drop=own.radar.drop or key.radar.drop)
    return replace(own, cameras=cameras, radar=radar, bev=key.bev)


def stack_past(
    present: Mapping[str, NDArray[np.generic]],
    past: Sequence[Mapping[str, NDArray[np.generic]]],
    motions: Sequence[Float64],
    ages_s: Sequence[float],
    count: int,
) -> Arrays:
    """Return the arrays of `model.sequence.with_history`; what does not exist is zero.

    Args:
        present: inputs of the key frame.
        past: inputs of the past frames, newest first; one that has other sensors ends the row.
        motions: (2, 3) of each.
        ages_s: of each.
        count: L, frames that a sample has.
    """
    shapes = {name: value.shape for name, value in present.items()}
    usable = [{n: v.shape for n, v in frame.items()} == shapes for frame in past]
    live = usable.index(False) if False in usable else len(past)
    arrays: Arrays = {}
    for name, value in present.items():
        arrays[f"past_{name}"] = np.zeros((count, *value.shape), value.dtype)
        for place in range(live):
            arrays[f"past_{name}"][place] = past[place][name]
    transform = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    age_s, mask = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for place in range(live):
        transform[place], age_s[place], mask[place] = motions[place], ages_s[place], 1
    return arrays | {"past_transform": transform, "past_age_s": age_s, "past_mask": mask}


def static_mask(
    center_m: NDArray[np.floating],
    size_m: NDArray[np.floating],
    velocity_mps: NDArray[np.floating],
    age_s: float,
    grid: BevGrid,
) -> NDArray[np.float32]:
    """Return (Y, X), 0 where a moving object is or was within the last `age_s` seconds, else 1.

    An object covers all cells within its half diagonal, and a cell more, of the way it came. One
    of unknown speed (NaN) counts as moving.

    Args:
        center_m: (N, 3) centres in the grid's frame.
        size_m: (N, 3) length, width, height.
        velocity_mps: (N, 2).
        age_s: of the map that is compared.
        grid: of the mask.
    """
    mask, cells = np.ones(grid.shape, np.float32), grid.centers()
    speed = np.hypot(velocity_mps[:, 0], velocity_mps[:, 1])
    for row in np.flatnonzero(~(speed <= MOVING_MPS)):
        way = -np.nan_to_num(velocity_mps[row].astype(np.float64)) * age_s
        offset = cells - center_m[row, :2]
        length2 = max(float(way @ way), 1e-9)
        along = np.clip(offset @ way / length2, 0, 1)
        distance_m = np.linalg.norm(offset - along[..., None] * way, axis=-1)
        mask[distance_m <= np.hypot(*size_m[row, :2]) / 2 + grid.cell_m] = 0
    return mask
