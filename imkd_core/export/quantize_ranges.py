# SPDX-License-Identifier: Apache-2.0
"""How large a tensor's values become, and the 8-bit steps that serve them best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import BundleError

#: Bins of a histogram on each side of zero.
BINS = 2048

#: Share of the values that "percentile" gives up, both tails together.
PERCENTILE_TAIL = 1e-4

#: Shares of the full range that "mse" tries.
_MSE_SHARES = np.linspace(0.2, 1.0, 81)

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """Interval that is told apart; what lies outside is clipped to it.

    Attributes:
        low: 0 or less.
        high: 0 or more.
    """

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How a tensor becomes 8-bit numbers: value = scale * (number - zero_point).

    Attributes:
        scale: float32; one, or one a channel.
        zero_point: of the number's type and of the same shape; 0 where steps are symmetric.
    """

    scale: Array
    zero_point: Array


class Histogram:
    """Counts values of a tensor frame by frame; its bins widen by doubling, nothing is kept."""

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self._limit = 0.0
        self._counts = np.zeros(2 * BINS, np.int64)

    def add(self, values: Array) -> None:
        """Count the values of one frame, of any shape.

        Raises:
            BundleError: a value is not finite.
        """
        flat = np.asarray(values, np.float32).ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite([low, high]).all():
            raise BundleError(
                "the float32 model gives values that are not finite on a calibration frame; it "
                "cannot be quantised, train or export it again"
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if not self._limit:  # only zeros so far: they stay in this bin however the bins widen
            self._counts[BINS] += flat.size
            return
        places = (flat / np.float32(self._limit) * BINS + BINS).astype(np.int32)
        np.clip(places, 0, 2 * BINS - 1, out=places)
        self._counts += np.bincount(places, minlength=2 * BINS)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(2 * BINS,) values in each bin, from -limit to limit."""
        return self._counts

    @property
    def centers(self) -> Array:
        """(2 * BINS,) middle of each bin."""
        return (np.arange(2 * BINS) - BINS + 0.5) * (self._limit / BINS)

    def _widen(self, largest: float) -> None:
        """Make the bins reach `largest`; pairs of bins on each side of zero become one."""
        if not self._limit:
            self._limit = largest
        while largest > self._limit:
            pairs = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts[:] = 0
            self._counts[BINS // 2 : BINS // 2 + BINS] = pairs
            self._limit *= 2


def minmax_range(histogram: Histogram) -> ValueRange:
    """Return everything that was seen."""
    return ValueRange(low=histogram.low, high=histogram.high)


def percentile_range(histogram: Histogram) -> ValueRange:
    """Return what was seen but for the outermost `PERCENTILE_TAIL` of the values."""
    total = int(histogram.counts.sum())
    if not total:
        return minmax_range(histogram)
    shares = np.cumsum(histogram.counts) / total
    low = histogram.centers[int(np.searchsorted(shares, PERCENTILE_TAIL / 2))]
    high = histogram.centers[int(np.searchsorted(shares, 1 - PERCENTILE_TAIL / 2))]
    return ValueRange(
        low=min(0.0, max(float(low), histogram.low)),
        high=max(0.0, min(float(high), histogram.high)),
    )


def mse_range(histogram: Histogram) -> ValueRange:
    """Return the share of what was seen whose 8-bit steps have the least mean square error."""
    values, counts = histogram.centers, histogram.counts
    present = counts > 0
    values, counts = values[present], counts[present]
    best = minmax_range(histogram)
    least = np.inf
    for share in _MSE_SHARES[::-1] if best.high > best.low else ():
        tried = ValueRange(low=histogram.low * share, high=histogram.high * share)
        step = (tried.high - tried.low) / 255
        kept = np.clip(values, tried.low, tried.high)
        rounded = np.rint((kept - tried.low) / step) * step + tried.low
        error = float((counts * (rounded - values) ** 2).sum())
        if error < least:
            best, least = tried, error
    return best


#: Ways to choose a range, by the name that a bundle records.
METHODS: Mapping[str, Callable[[Histogram], ValueRange]] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "mse": mse_range,
}


def symmetric_steps(span: ValueRange) -> Steps:
    """Return int8 steps of -127..127 around 0."""
    scale = _positive(np.array(max(-span.low, span.high) / 127))
    return Steps(scale=scale, zero_point=np.array(0, np.int8))


def asymmetric_steps(span: ValueRange) -> Steps:
    """Return uint8 steps of 0..255 in which 0 is exact."""
    scale = _positive(np.array((span.high - span.low) / 255))
    zero = np.clip(np.rint(-span.low / scale), 0, 255)
    return Steps(scale=scale, zero_point=np.array(zero, np.uint8))


def weight_steps(weight: Array) -> Steps:
    """Return symmetric int8 steps of each output channel, which is the first axis."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    return Steps(
        scale=_positive(largest / 127),
        zero_point=np.zeros(len(weight), np.int8),
    )


def to_int8(weight: Array, steps: Steps) -> NDArray[np.int8]:
    """Return a weight in its steps, never -128."""
    scale = steps.scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)


def _positive(scale: Array) -> Array:
    """Return scales that can be divided by: a tensor of zeros has any."""
    return np.where(scale > 1e-30, scale, 1.0).astype(np.float32)
