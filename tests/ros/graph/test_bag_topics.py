# SPDX-License-Identifier: Apache-2.0
"""What is read of serialised messages."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from imkd_core.data.bags.messages import make_header, serialize
from imkd_ros.graph.bag_topics import header_stamp_ns


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999), st.booleans())
def test_the_stamp_is_read_in_either_byte_order(seconds, nanoseconds, is_little):
    order = "<" if is_little else ">"
    cdr = bytes([0, int(is_little), 0, 0]) + struct.pack(f"{order}iI", seconds, nanoseconds)
    assert header_stamp_ns(cdr) == seconds * 10**9 + nanoseconds


def test_the_stamp_of_a_real_message_is_read():
    stamp_ns = 1_700_000_000_123_456_789
    header = make_header(stamp_ns, "base_link")
    assert header_stamp_ns(serialize("std_msgs/msg/Header", header)) == stamp_ns
