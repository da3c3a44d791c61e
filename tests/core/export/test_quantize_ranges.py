# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imkd_core.errors import BundleError
from imkd_core.export.quantize_ranges import (
    METHODS,
    Histogram,
    ValueRange,
    asymmetric_steps,
    symmetric_steps,
    to_int8,
    weight_steps,
)

few = settings(max_examples=25)
values = arrays(np.float32, st.integers(1, 12), elements=st.floats(-1e3, 1e3, width=32))
spans = st.builds(lambda a, b: ValueRange(low=-a, high=b), st.floats(0, 1e4), st.floats(0, 1e4))


def histogram_of(*frames):
    histogram = Histogram()
    for frame in frames:
        histogram.add(frame)
    return histogram


@few
@example([np.zeros(3, np.float32), np.array([5.0, -1.0], np.float32)])
@example([np.array([3.4e-43], np.float32)])  # BINS / 3.4e-43 overflows
@given(st.lists(values, min_size=1, max_size=4))
def test_every_value_is_counted_once_however_the_bins_widen(frames):
    histogram = histogram_of(*frames)
    assert histogram.counts.sum() == sum(frame.size for frame in frames)
    assert histogram.low == min(0, *(float(f.min()) for f in frames))
    assert histogram.high == max(0, *(float(f.max()) for f in frames))


def test_bins_hold_the_values_that_they_stand_for():
    first, second = np.random.default_rng(0).normal(0, [[1.0], [9.0]], (2, 5000))
    histogram = histogram_of(first, second)
    everything = np.concatenate([first, second])
    width = histogram.centers[1] - histogram.centers[0]
    assert width < 0.05
    for threshold in (-4.0, -0.5, 0.0, 1.0, 20.0):
        counted = histogram.counts[histogram.centers < threshold].sum()
        assert (everything < threshold - width).sum() <= counted
        assert counted <= (everything < threshold + width).sum()


@few
@given(st.lists(values, min_size=1, max_size=3), st.sampled_from(sorted(METHODS)))
def test_a_range_lies_in_what_was_seen_and_holds_zero(frames, method):
    histogram = histogram_of(*frames)
    span = METHODS[method](histogram)
    assert histogram.low <= span.low <= 0 <= span.high <= histogram.high


def test_percentile_and_mse_give_up_a_lone_outlier_and_minmax_does_not():
    noise = np.random.default_rng(0).normal(size=100_000)
    histogram = histogram_of(noise, np.array([1000.0]))
    assert METHODS["minmax"](histogram).high == 1000
    assert METHODS["percentile"](histogram).high < 10


def test_mse_has_the_least_error_of_all_methods():
    noise = np.random.default_rng(0).laplace(size=50_000)
    histogram = histogram_of(noise)

    def error(method):
        steps = asymmetric_steps(METHODS[method](histogram))
        zero = float(steps.zero_point)
        numbers = np.clip(np.rint(noise / steps.scale) + zero, 0, 255)
        return np.square((numbers - zero) * steps.scale - noise).mean()

    assert error("mse") <= min(error(name) for name in METHODS)


@few
@given(spans)
def test_symmetric_steps_reach_both_ends_around_an_exact_zero(span):
    steps = symmetric_steps(span)
    assert steps.zero_point == 0
    assert steps.zero_point.dtype == np.int8
    assert 127 * steps.scale >= max(-span.low, span.high) * (1 - 1e-6)


@few
@given(spans)
def test_asymmetric_steps_reach_both_ends_and_zero_is_one_of_them(span):
    steps = asymmetric_steps(span)
    low = (0 - float(steps.zero_point)) * steps.scale
    high = (255 - float(steps.zero_point)) * steps.scale
    assert low <= span.low + steps.scale
    assert high >= span.high - steps.scale
    assert steps.zero_point.dtype == np.uint8


def test_what_a_relu_gave_starts_at_zero_so_that_the_kernel_can_be_the_relu():
    assert asymmetric_steps(ValueRange(low=0.0, high=7.0)).zero_point == 0


@few
@given(arrays(np.float32, (3, 2, 2, 1), elements=st.floats(-100, 100, width=32)))
def test_each_output_channel_of_a_weight_has_steps_of_its_own(weight):
    steps = weight_steps(weight)
    number = to_int8(weight, steps)
    assert steps.scale.shape == (3,)
    assert not steps.zero_point.any()
    assert number.min() >= -127
    back = number * steps.scale[:, None, None, None]
    assert (np.abs(back - weight) <= steps.scale[:, None, None, None] * 0.501).all()


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(BundleError, match="not finite on a calibration frame"):
        Histogram().add(np.array([1.0, np.nan], np.float32))
