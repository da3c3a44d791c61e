# SPDX-License-Identifier: Apache-2.0
"""The voxelised intensity map I_L: where LiDAR saw something, and how far to trust it.

method.md 4.4. Variant A is computed from points alone, B is learned inside the teacher, C is the
teacher's activation; "literal" is reflectance alone, "uniform" a control.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from imkd_core.bev_grid import BevGrid
from imkd_core.mapping import from_mapping, require
from imkd_core.model.layers import ConvBnRelu
from imkd_core.model.pillar_encoder import pillar_of
from imkd_core.teaching import LIDAR_POINT_COLUMNS, IntensityConfig

Float32 = NDArray[np.float32]

#: Stages of the pyramid: reflectance is averaged over occupied cells from 1/8 of a BEV cell up.
PYRAMID_STAGES = 3

#: Width of the range rings of n_ref.
RING_M = 2.0

_INTENSITY, _AGE, _LOG_COUNT = (
    LIDAR_POINT_COLUMNS.index(n) for n in ("intensity", "age", "log_count")
)


@dataclass(frozen=True, kw_only=True)
class IntensityStatistics:
    """What is measured once on the training set (stage 1b) and then kept.

    Attributes:
        full_reflectance: 95th percentile of the points' reflectance, on their own scale.
        reference_counts: n_ref, the 90th percentile of the returns in a cell that has any, in
            rings of `RING_M` around the vehicle.
        normaliser: 95th percentile of variant A's blurred map over cells inside true boxes.
        sweeps: sweeps that were merged; other numbers need other statistics.
    """

    full_reflectance: float
    reference_counts: tuple[float, ...]
    normaliser: float
    sweeps: int

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be divided by."""
        require(self.full_reflectance > 0, "intensity statistics: full_reflectance must be > 0")
        require(self.normaliser > 0, "intensity statistics: normaliser must be > 0")
        counts = self.reference_counts
        require(
            len(counts) > 0 and min(counts) >= 1,
            "intensity statistics: reference_counts must be 1 or more",
        )
        require(self.sweeps >= 1, "intensity statistics: sweeps must be 1 or more")

    @classmethod
    def from_mapping(cls, raw: Any) -> "IntensityStatistics":
        """Return statistics from plain mappings (JSON).

        Raises:
            ConfigError: a key is missing, unknown or of another type.
        """
        return from_mapping(cls, raw, "intensity statistics")

    def reference_count(self, range_m: NDArray[np.floating[Any]]) -> Float32:
        """Return n_ref at ranges, linear between the middles of the rings."""
        middle_m = (np.arange(len(self.reference_counts)) + 0.5) * RING_M
        return np.interp(range_m, middle_m, self.reference_counts).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class LidarEvidence:
    """What the returns in each BEV cell say, (Y, X) float32 each; 0 where there is none.

    Attributes:
        count: returns.
        reflectance: 0..1, averaged over occupied cells in three stages.
        persistence: share of the sweeps with a return in the cell or one of its 8 neighbours.
    """

    count: Float32
    reflectance: Float32
    persistence: Float32


def gather_evidence(
    points: NDArray[np.float32], grid: BevGrid, full_reflectance: float
) -> LidarEvidence:
    """Sum up a cloud of merged sweeps on the BEV grid.

    Args:
        points: (N, >= 5) x, y, z (metres, the grid's frame), intensity, age (seconds); points
            of one sweep share their age. Not thinned. Points off the grid do not count.
        grid: BEV grid.
        full_reflectance: intensity that counts as 1.
    """
    cells, inside = grid.cell_index(points[:, :2])
    points, cells = points[inside], cells[inside]
    flat = cells[:, 0] * grid.columns + cells[:, 1]
    count = np.bincount(flat, minlength=grid.cells).reshape(grid.shape)
    return LidarEvidence(
        count=count.astype(np.float32),
        reflectance=_pyramid(points, grid, full_reflectance),
        persistence=_persistence(flat, points[:, _AGE], grid),
    )


def _pyramid(points: Float32, grid: BevGrid, full_reflectance: float) -> Float32:
    """Return the mean reflectance of fine columns, then of occupied cells, stage by stage."""
    fine = grid.refined(2**PYRAMID_STAGES)
    cells, inside = fine.cell_index(points[:, :2])
    share = np.clip(points[inside, _INTENSITY] / full_reflectance, 0, 1)
    flat = cells[inside, 0] * fine.columns + cells[inside, 1]
    count = np.bincount(flat, minlength=fine.cells).reshape(fine.shape)
    total = np.bincount(flat, weights=share, minlength=fine.cells).reshape(fine.shape)
    mean, occupied = total / np.maximum(count, 1), count > 0
    for _ in range(PYRAMID_STAGES):
        neighbours = _four_sum(occupied.astype(np.float64))
        mean = _four_sum(mean * occupied) / np.maximum(neighbours, 1)
        occupied = neighbours > 0
    return mean.astype(np.float32)


def _four_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over blocks of 2 x 2."""
    rows = values[0::2] + values[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


def _persistence(flat: NDArray[np.int64], age_s: Float32, grid: BevGrid) -> Float32:
    """Return the share of sweeps that left a return in a cell or beside it."""
    ages, sweep = np.unique(age_s, return_inverse=True)
    if len(ages) == 0:
        return np.zeros(grid.shape, np.float32)
    hits = np.bincount(sweep * grid.cells + flat, minlength=len(ages) * grid.cells) > 0
    around = np.ones((3, 3), np.uint8)
    seen = [cv2.dilate(hit, around) for hit in hits.reshape(-1, *grid.shape).astype(np.uint8)]
    return np.mean(seen, axis=0, dtype=np.float32)


def blurred_evidence(
    evidence: LidarEvidence, reference_count: Float32, config: IntensityConfig
) -> Float32:
    """Return variant A before normalisation: weighted reflectance, density and persistence.

    Args:
        evidence: of one sample.
        reference_count: (Y, X) n_ref of each cell.
        config: the three weights and the blur.
    """
    density = np.minimum(1, np.log1p(evidence.count) / np.log1p(reference_count))
    parts = (
        config.reflectance * evidence.reflectance
        + config.density * density
        + config.consistency * evidence.persistence
    )
    seen = np.where(evidence.count > 0, parts, 0).astype(np.float32)
    if config.blur_cells == 0:
        return seen
    blurred = cv2.GaussianBlur(seen, (3, 3), config.blur_cells, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def cell_range_m(grid: BevGrid) -> Float32:
    """Return the (Y, X) distance of each cell's centre from the vehicle."""
    return np.linalg.norm(grid.centers(), axis=-1).astype(np.float32)


def intensity_map(
    config: IntensityConfig,
    statistics: IntensityStatistics,
    grid: BevGrid,
    evidence: LidarEvidence,
    features: Float[Tensor, "C Y X"],
    gate: Float[Tensor, "1 Y X"] | None,
) -> Float32:
    """Return I_L of one sample, (Y, X) float32 in [I_min, 1], by the variant of `config`.

    Nothing of it carries a gradient: trained with the student, I_L would vanish.

    Args:
        config: variant and weights.
        statistics: measured on the training set.
        grid: BEV grid.
        evidence: of the sample's points.
        features: F_L.
        gate: the teacher's learned gate; needed by "learned" alone.

    Raises:
        ConfigError: "learned", and the teacher was trained without its gate.
    """
    if config.variant == "analytic":
        reference = statistics.reference_count(cell_range_m(grid))
        raw = blurred_evidence(evidence, reference, config) / statistics.normaliser
    elif config.variant == "literal":
        raw = evidence.reflectance
    elif config.variant == "activation":
        raw = activation_map(features)
    elif config.variant == "uniform":
        raw = np.ones(grid.shape, np.float32)
    else:
        require(
            gate is not None,
            "intensity.variant is 'learned', but the teacher has no gate; train the teacher with "
            "intensity.variant: learned",
        )
        raw = gate.detach().float().cpu().numpy()[0]  # type: ignore[union-attr]
    return np.clip(raw, config.minimum, 1).astype(np.float32)


def activation_map(features: Float[Tensor, "C Y X"]) -> Float32:
    """Return variant C: the softmax over cells of the channels' mean of |F_L|, largest 1.

    The mean is divided by its standard deviation first, so that the map does not depend on the
    scale of F_L.
    """
    mean = features.detach().float().abs().mean(dim=0)
    scaled = mean / mean.std().clamp(min=1e-6)
    return (scaled - scaled.max()).exp().cpu().numpy().astype(np.float32)


class LearnedIntensity(nn.Module):
    """Variant B: a gate from reflectance and crowding of the pillars, learned with the teacher.

    Convolutions of 8, 16, 16 and 1 channels bring the pillars to BEV cells; the first one strides.
    """

    def __init__(self, bev: BevGrid, refinement: int) -> None:
        super().__init__()
        self.pillars = bev.refined(refinement)
        kernel = refinement + 1 - refinement % 2 if refinement > 3 else 3
        self.layers = nn.Sequential(
            ConvBnRelu(2, 8, kernel, refinement),
            ConvBnRelu(8, 16),
            ConvBnRelu(16, 16),
            nn.Conv2d(16, 1, 1),
        )

    def forward(
        self, points: Float[Tensor, "B P 6"], mask: Bool[Tensor, "B P"]
    ) -> Float[Tensor, "B 1 Y X"]:
        """Return I_L in (0, 1)."""
        place, _ = pillar_of(points, mask, self.pillars)
        kept = points[mask].float()
        sums = kept.new_zeros(3, len(points) * self.pillars.cells)
        values = [kept[:, _INTENSITY] / 100, kept[:, _LOG_COUNT] / 4, torch.ones_like(kept[:, 0])]
        sums = sums.index_add(1, place, torch.stack(values))
        means = (sums[:2] / sums[2:].clamp(min=1)).reshape(2, -1, *self.pillars.shape)
        gate: Tensor = self.layers(means.transpose(0, 1))
        return gate.float().sigmoid()
