# SPDX-License-Identifier: Apache-2.0
"""Means of a few repeated runs, and figures of a set of drives, with the interval they allow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.errors import ConfigError

#: 97.5 % quantile of Student's t by degrees of freedom (all to 10, then some).
_T_975 = (
    (1, 12.706),
    (2, 4.303),
    (3, 3.182),
    (4, 2.776),
    (5, 2.571),
    (6, 2.447),
    (7, 2.365),
    (8, 2.306),
    (9, 2.262),
    (10, 2.228),
    (15, 2.131),
    (20, 2.086),
    (30, 2.042),
    (60, 2.000),
)


#: Below, drawing drives anew says too little: the interval would be far too narrow.
MIN_DRIVES = 5

#: An interval needs a known figure in this part of the draws.
_KNOWN_PART = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and half the width of its 95 % interval; infinite for a single run."""

    mean: float
    half_width: float
    runs: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of independent runs with its 95 % interval (Student's t).

    Raises:
        ConfigError: there is no value, or one is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ConfigError(f"a mean needs finite values, got {list(values)}")
    count = len(values)
    mean = sum(values) / count
    if count == 1:
        return Interval(mean=mean, half_width=math.inf, runs=1)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    half_width = _t_975(count - 1) * deviation / math.sqrt(count)
    return Interval(mean=mean, half_width=half_width, runs=count)


def paired_difference(of: Mapping[int, float], against: Mapping[int, float]) -> Interval:
    """Return the mean difference of runs that share a seed, with its 95 % interval.

    Args:
        of: seed -> figure.
        against: seed -> figure to subtract.

    Raises:
        ConfigError: no seed is in both.
    """
    seeds = sorted(set(of) & set(against))
    if not seeds:
        raise ConfigError("no seed was run in both rows; run the missing ones first")
    return mean_interval([of[seed] - against[seed] for seed in seeds])


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """A figure and the ends of its 95 % interval; infinite ones where the drives allow none."""

    value: float
    low: float
    high: float


def drawn_drives(drives: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Return (draws, drives) how often each counts when as many are drawn, each put back.

    Args:
        drives: their number.
        draws: how often to draw.
        seed: the same gives the same draws.

    Raises:
        ConfigError: there is no drive, or no draw.
    """
    if drives < 1 or draws < 1:
        raise ConfigError(f"drawing needs 1 drive and 1 draw or more, got {drives} and {draws}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(drives, np.full(drives, 1.0 / drives), size=draws).astype(np.int64)


def drawn_bounds(value: float, drawn: ArrayLike, drives: int) -> Bounds:
    """Return a figure with its interval: the middle 95 % of what the draws gave (bootstrap).

    Args:
        value: of all drives, each once.
        drawn: (draws,) the figure of each draw; NaN where it is not known.
        drives: their number; fewer than `MIN_DRIVES` allow no interval, nor does a figure that is
            unknown in many of the draws, as that of a class which few of the drives have.
    """
    values = np.asarray(drawn, dtype=np.float64)
    known = values[np.isfinite(values)]
    if drives < MIN_DRIVES or len(known) < _KNOWN_PART * len(values) or not math.isfinite(value):
        return Bounds(value=value, low=-math.inf, high=math.inf)
    low, high = np.percentile(known, (2.5, 97.5))
    return Bounds(value=value, low=float(low), high=float(high))


def _t_975(freedom: int) -> float:
    """Return the quantile for the next smaller tabled degrees of freedom, which is wider."""
    return max(((df, t) for df, t in _T_975 if df <= freedom), key=lambda row: row[0])[1]
