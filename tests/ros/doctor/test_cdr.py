# SPDX-License-Identifier: Apache-2.0
"""The header of serialised messages."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.messages import make_header, serialize
from imkd_core.errors import SensorError
from imkd_ros.doctor.cdr import read_header

STAMPS = st.integers(min_value=1, max_value=(2**31 - 1) * 1_000_000_000)
FRAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(STAMPS, FRAMES)
def test_a_header_comes_back_as_it_was_written(stamp_ns, frame_id):
    cdr = serialize("std_msgs/msg/Header", make_header(stamp_ns, frame_id))
    assert read_header(cdr) == (stamp_ns, frame_id)


@given(STAMPS, st.data())
def test_a_cut_header_is_refused(stamp_ns, data):
    cdr = serialize("std_msgs/msg/Header", make_header(stamp_ns, "front"))
    with pytest.raises(SensorError, match="does not hold its header"):
        read_header(cdr[: data.draw(st.integers(0, 16 + 5))])


@given(st.binary(max_size=64))
def test_bytes_of_any_kind_give_a_header_or_an_error_of_ours(cdr):
    with contextlib.suppress(SensorError):
        assert read_header(cdr).stamp_ns >= 0


def test_a_stamp_of_zero_is_no_time():
    assert read_header(serialize("std_msgs/msg/Header", make_header(0, "a"))) == (0, "a")
