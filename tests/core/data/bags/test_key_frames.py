# SPDX-License-Identifier: Apache-2.0
"""Every key frame takes the nearest reading, and no reading serves two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.key_frames import PAST_NS, place_readings

MS = 1_000_000
stamps = st.lists(st.integers(0, 5_000), max_size=30, unique=True).map(
    lambda values: [10**18 + MS * value for value in sorted(values)]
)


@given(stamps, stamps, st.integers(0, 100))
def test_properties_of_the_placement(readings_ns, keys_ns, tolerance_ms):
    placed = place_readings(readings_ns, keys_ns, tolerance_ms * MS, with_sweeps=True)
    found = [item.stamp_ns for item in placed]
    assert found == sorted(set(found) & set(readings_ns))
    at_keys = [item for item in placed if item.is_key]
    assert len({item.key for item in at_keys}) == len(at_keys), "one reading a key frame"
    for item in at_keys:
        lags = np.abs(np.array(readings_ns) - keys_ns[item.key])
        assert abs(item.stamp_ns - keys_ns[item.key]) == lags.min() <= tolerance_ms * MS
    for item in placed:
        if not item.is_key:
            assert item.stamp_ns <= keys_ns[item.key], "a sweep belongs to the key frame after it"
            assert item.key == 0 or keys_ns[item.key - 1] < item.stamp_ns
            assert item.stamp_ns >= keys_ns[0] - PAST_NS
    bare = place_readings(readings_ns, keys_ns, tolerance_ms * MS, with_sweeps=False)
    assert list(bare) == at_keys


def test_a_reading_goes_to_the_nearer_of_two_key_frames():
    placed = place_readings([100 * MS], [70 * MS, 110 * MS], 50 * MS, with_sweeps=True)
    assert [(item.key, item.is_key) for item in placed] == [(1, True)]


@pytest.mark.parametrize(("lag_ms", "is_key"), [(50, True), (51, False)])
def test_a_reading_beyond_the_tolerance_is_no_key_frames(lag_ms, is_key):
    key_ns = 10**18
    placed = place_readings([key_ns - lag_ms * MS], [key_ns], 50 * MS, with_sweeps=True)
    assert [item.is_key for item in placed] == [is_key]


def test_what_comes_after_the_last_key_frame_is_left_out():
    key_ns = 10**18
    assert place_readings([key_ns + 60 * MS], [key_ns], 50 * MS, with_sweeps=True) == ()
    assert place_readings([], [key_ns], 1, with_sweeps=True) == ()
    assert place_readings([key_ns], [], 1, with_sweeps=True) == ()
