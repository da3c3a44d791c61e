# SPDX-License-Identifier: Apache-2.0
"""F_L and F_lab in a few numbers a cell: one basis, two scales (method.md 5, 12.1).

Channels are divided by their standard deviation, so that loss weights mean the same for every
teacher. F_lab has deviations of its own: it is trained through the teacher's head, which does not
hold it to the scale of F_L (measured after a short fit: twelve times as large, enough to drown
every other term). The basis holds the principal components about 0, not about the mean: 0 stays
"nothing here", and scaling a feature by I_L scales its components. Both teachers share it, because
F_lab lives in the feature space of F_L and the student is compared with both.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import DataError

Float32 = NDArray[np.float32]

#: Channels that vary less than this share of the mean deviation are dead; they are not blown up.
_LEAST_STD_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureProjection:
    """The taught space.

    Attributes:
        std, label_std: (C,) float32 standard deviation of the channels of F_L, and of F_lab, over
            the sampled cells.
        basis: (Kp, C) float32 orthonormal rows; the identity where nothing is left out.
        kept_lidar, kept_label: share of the energy (sum of squares over 0) of F_L and F_lab that
            the components keep.
        kept_lidar_variance: share of F_L's variance (about its mean) that they keep.
    """

    std: Float32
    label_std: Float32
    basis: Float32
    kept_lidar: float = 1.0
    kept_label: float = 1.0
    kept_lidar_variance: float = 1.0

    def apply(self, features: Float32) -> Float32:
        """Return (C, Y, X) features F_L as (Kp, Y, X) components."""
        return _components(self.basis / self.std, features)

    def apply_label(self, features: Float32) -> Float32:
        """Return (C, Y, X) features F_lab as (Kp, Y, X) components."""
        return _components(self.basis / self.label_std, features)


def _components(matrix: Float32, features: Float32) -> Float32:
    return np.tensordot(matrix, features, axes=1).astype(np.float32)


class _Moments:
    """Sums over cells of one kind of features."""

    def __init__(self, channels: int) -> None:
        self.cells = 0
        self.total = np.zeros(channels)
        self.products = np.zeros((channels, channels))

    def add(self, cells: Float32) -> None:
        """Take (C, n) cells in."""
        values = cells.astype(np.float64)
        self.cells += values.shape[1]
        self.total += values.sum(axis=1)
        self.products += values @ values.T

    def std(self) -> NDArray[np.float64]:
        """Return the (C,) standard deviations, held above those of dead channels."""
        cells = max(self.cells, 1)
        variance = np.diag(self.products) / cells - (self.total / cells) ** 2
        std = np.sqrt(np.maximum(variance, 0))
        return np.maximum(std, max(_LEAST_STD_SHARE * float(std.mean()), 1e-6))

    def energy(self, std: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (C, C) mean products of the scaled features."""
        return self.products / max(self.cells, 1) / np.outer(std, std)

    def covariance(self, std: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (C, C) covariance of the scaled features."""
        mean = self.total / max(self.cells, 1) / std
        return self.energy(std) - np.outer(mean, mean)


def measure_projection(
    lessons: Iterable[tuple[Float32, Float32, NDArray[np.bool_]]], channels: int, seed: int = 0
) -> FeatureProjection:
    """Return scale and basis from samples of a training set.

    Cells on objects count as much as the same number of others, chosen by chance; otherwise the
    empty ground would choose the basis. F_L and F_lab count the same.

    Args:
        lessons: F_L (C, Y, X), F_lab (C, Y, X) and the (Y, X) cells on objects, of each sample.
        channels: Kp.
        seed: of the chance.

    Raises:
        DataError: there is no sample, or the teacher has fewer channels.
    """
    rng = np.random.default_rng(seed)
    moments: tuple[_Moments, _Moments] | None = None
    for lidar, label, on_objects in lessons:
        moments = moments or (_Moments(len(lidar)), _Moments(len(lidar)))
        chosen = _chosen_cells(on_objects, rng)
        for kind, features in zip(moments, (lidar, label), strict=True):
            kind.add(features.reshape(len(features), -1)[:, chosen])
    if moments is None:
        raise DataError("no sample with LiDAR to measure the teacher's features on")
    return _projection(*moments, channels)


def _chosen_cells(on_objects: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return flat cells: all on objects, and as many others (64 at least)."""
    foreground = np.flatnonzero(on_objects)
    count = min(max(64, len(foreground)), on_objects.size)
    return np.concatenate([foreground, rng.choice(on_objects.size, count, replace=False)])


def _projection(lidar: _Moments, label: _Moments, channels: int) -> FeatureProjection:
    wide = len(lidar.total)
    if channels > wide:
        raise DataError(f"the teacher has {wide} channels, not {channels}; lower distill.channels")
    stds = lidar.std(), label.std()
    std, label_std = (values.astype(np.float32) for values in stds)
    if channels == wide:
        return FeatureProjection(std=std, label_std=label_std, basis=np.eye(wide, dtype=np.float32))
    energies = [kind.energy(std) for kind, std in zip((lidar, label), stds, strict=True)]
    joint = sum(energy / max(float(np.trace(energy)), 1e-12) for energy in energies)
    basis = np.linalg.eigh(joint)[1][:, ::-1].T[:channels]
    kept = [_kept(basis, energy) for energy in (*energies, lidar.covariance(stds[0]))]
    return FeatureProjection(
        std=std,
        label_std=label_std,
        basis=basis.astype(np.float32),
        kept_lidar=kept[0],
        kept_label=kept[1],
        kept_lidar_variance=kept[2],
    )


def _kept(basis: NDArray[np.float64], energy: NDArray[np.float64]) -> float:
    return float(np.trace(basis @ energy @ basis.T) / max(float(np.trace(energy)), 1e-12))
