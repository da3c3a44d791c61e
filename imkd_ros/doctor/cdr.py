# SPDX-License-Identifier: Apache-2.0
"""The header of a serialised message, read without the rest of it. No ROS in here."""

import struct
from typing import NamedTuple

from imkd_core.errors import SensorError

#: A frame's name beyond this is not one.
_MAX_FRAME_BYTES = 4096


class CdrHeader(NamedTuple):
    """Stamp (0 where it is no time) and frame of a `std_msgs/Header`."""

    stamp_ns: int
    frame_id: str


def read_header(cdr: bytes | memoryview) -> CdrHeader:
    """Return the header that a serialised message begins with.

    Args:
        cdr: the message with its 4-byte encapsulation.

    Raises:
        SensorError: the bytes end before the header does.
    """
    try:
        order = "<" if cdr[1] & 1 else ">"
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", cdr, 4)
        if length > _MAX_FRAME_BYTES or 16 + length > len(cdr):
            raise ValueError(f"a frame_id of {length} bytes")
    except (IndexError, struct.error, ValueError) as error:
        raise SensorError(
            f"a message of {len(cdr)} bytes does not hold its header ({error}); check the driver "
            "and the network for lost packets"
        ) from None
    frame_id = bytes(cdr[16 : 16 + length]).rstrip(b"\0").decode("utf-8", errors="replace")
    is_time = seconds >= 0 and nanoseconds < 1_000_000_000 and seconds + nanoseconds > 0
    return CdrHeader(seconds * 1_000_000_000 + nanoseconds if is_time else 0, frame_id)
