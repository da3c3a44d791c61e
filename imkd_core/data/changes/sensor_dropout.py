# SPDX-License-Identifier: Apache-2.0
"""Sensors that fail in training: sides masked, cameras late, radars gone, late, thin or noisy.

Drawn by one function, applied by another. The teachers see everything: distillation asks the
sensors that are left to complete the map (method.md 12.3, 13).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imkd_core.bev_grid import BevGrid
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.geometry import Float64
from imkd_core.radar_grid import merge_scans
from imkd_core.recipe import AugmentConfig
from imkd_core.types import RADAR_FIELDS, Frame, SensorRig

Float32 = NDArray[np.float32]

#: Scans that a stale radar may miss at most.
STALE_SCANS = 2

#: A camera belongs to a side of the car when it looks at most this far away from it.
SIDE_REACH_RAD = np.deg2rad(75.0)

#: Headings of the four sides: front, left, back, right.
SIDES_RAD = (0.0, np.pi / 2, np.pi, -np.pi / 2)

#: Noise on the radar cross section that goes with noise on positions (method.md 13).
RCS_NOISE_DB_PER_M = 2.0

#: Standard deviation of the radial speed of made-up false returns.
CLUTTER_SPEED_MPS = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RadarReturns:
    """Returns of all radars and scans, merged, with what is needed to take some away.

    Attributes:
        points: (P, 7) float32 `RADAR_FIELDS` in the ego frame of the reference time.
        origin_m: (P, 2) float32 position of the radar when it measured, same frame.
        scan: (P,) int64 number of the scan, 0 the newest.
        scans: number of scans of the radar that has most; 0 when there is no radar.
    """

    points: Float32
    origin_m: Float32
    scan: NDArray[np.int64]
    scans: int

    def select(self, keep: NDArray[np.bool_]) -> "RadarReturns":
        """Return the returns of a mask."""
        return replace(
            self, points=self.points[keep], origin_m=self.origin_m[keep], scan=self.scan[keep]
        )

    def changed(self, change: BevChange) -> "RadarReturns":
        """Return the returns in the frame of a changed scene."""
        if change.is_identity:
            return self
        origin_m = self.origin_m @ change.changed_from_ego[:2, :2].T
        return replace(
            self,
            points=change.apply_to_radar(self.points),
            origin_m=origin_m.astype(np.float32),
        )


def collect_returns(frame: Frame, ego_from_radars: Mapping[str, Float64]) -> RadarReturns:
    """Merge all scans of a frame, as `radar_grid.merge_radars` does."""
    points = [np.zeros((0, len(RADAR_FIELDS)), np.float32)]
    origins, numbers = [np.zeros((0, 2))], [np.zeros(0, np.int64)]
    for name, clouds in frame.radars.items():
        for number, cloud in enumerate(clouds):
            points.append(merge_scans((cloud,), ego_from_radars[name], frame))
            pose = frame.motion_at(cloud.stamp_ns) @ ego_from_radars[name]
            origins.append(np.tile(pose[:2, 3], (len(cloud.points), 1)))
            numbers.append(np.full(len(cloud.points), number, np.int64))
    return RadarReturns(
        points=np.concatenate(points),
        origin_m=np.concatenate(origins).astype(np.float32),
        scan=np.concatenate(numbers),
        scans=max((len(clouds) for clouds in frame.radars.values()), default=0),
    )


@dataclass(frozen=True, kw_only=True)
class RadarChange:
    """What happens to the radars.

    Attributes:
        drop: whether all are gone.
        missing_scans: newest scans that are missing.
        dropped_sweeps: numbers of the scans, counted behind the missing ones, that are left out.
        drop_points: share of returns left out.
        noise_m: standard deviation of noise on positions; the cross section gets some, too.
        clutter: false returns made up, as a share of the true ones.
        seed: of those three.
    """

    drop: bool = False
    missing_scans: int = 0
    dropped_sweeps: tuple[int, ...] = ()
    drop_points: float = 0.0
    noise_m: float = 0.0
    clutter: float = 0.0
    seed: int = 0


def sample_radar_change(
    rng: np.random.Generator, augment: AugmentConfig, sweeps: int
) -> RadarChange:
    """Draw everything but `drop`, for a detector that merges `sweeps` scans."""
    is_stale, missing = rng.random() < augment.stale_radar, rng.integers(1, STALE_SCANS + 1)
    lost = rng.random(sweeps) < augment.drop_radar_sweep
    lost[rng.integers(sweeps)] = False
    return RadarChange(
        missing_scans=int(missing) if is_stale else 0,
        dropped_sweeps=tuple(int(number) for number in np.flatnonzero(lost)),
        drop_points=augment.drop_radar_points,
        noise_m=augment.radar_noise_m,
        clutter=augment.radar_clutter,
        seed=int(rng.integers(1 << 31)),
    )


def live_mask(returns: RadarReturns, change: RadarChange, sweeps: int) -> NDArray[np.bool_] | None:
    """Return (P,) which of the returns are left for a detector that merges `sweeps` scans.

    None when no radar is left. Scans are missing only as far as there are older ones.
    """
    if change.drop or returns.scans == 0:
        return None
    missing = min(change.missing_scans, returns.scans - 1)
    number = returns.scan - missing
    keep = (number >= 0) & (number < sweeps)
    remaining = min(sweeps, returns.scans - missing)
    if not set(range(remaining)) <= set(change.dropped_sweeps):
        keep &= ~np.isin(number, change.dropped_sweeps)
    if change.drop_points:
        rng = np.random.default_rng((change.seed, 0))
        keep &= rng.random(len(keep)) >= change.drop_points
    return keep


def disturbed_points(returns: RadarReturns, change: RadarChange, grid: BevGrid) -> Float32:
    """Return (P, 7) points with noise, and with false returns on the grid behind them."""
    points = returns.points
    rng = np.random.default_rng((change.seed, 1))
    if change.noise_m and len(points):
        points = points.copy()
        noise = rng.standard_normal((len(points), 3), dtype=np.float32)
        noise *= np.array([1, 1, RCS_NOISE_DB_PER_M], np.float32) * np.float32(change.noise_m)
        points[:, [0, 1, 3]] += noise
    count = round(change.clutter * len(points))
    if not count:
        return points
    false = points[rng.integers(len(points), size=count)].copy()
    low, high = (grid.x_min_m, grid.y_min_m), (grid.x_max_m, grid.y_max_m)
    false[:, :2] = rng.uniform(low, high, size=(count, 2))
    ray = false[:, :2] / np.maximum(np.hypot(false[:, 0], false[:, 1]), 1e-3)[:, None]
    false[:, 4:6] = ray * rng.normal(0, CLUTTER_SPEED_MPS, size=(count, 1))
    return np.concatenate([points, false])


def camera_sides(rig: SensorRig) -> tuple[frozenset[str], ...]:
    """Return the cameras of each side of the car; sides that hold none or all are left out."""
    heading = {
        name: float(np.arctan2(camera.ego_from_cam[1, 2], camera.ego_from_cam[0, 2]))
        for name, camera in rig.cameras.items()
    }
    least = np.cos(SIDE_REACH_RAD)
    sides = [
        frozenset(name for name, rad in heading.items() if np.cos(rad - side) >= least)
        for side in SIDES_RAD
    ]
    return tuple(side for side in sides if 0 < len(side) < len(heading))
