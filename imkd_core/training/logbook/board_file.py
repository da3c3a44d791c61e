# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's event file, written directly: scalars, pictures, and where a resumed run goes on.

An event file is a row of TFRecords (length, checksum, data, checksum), each an `Event` message of
tensorflow/core/util/event.proto. The few fields used here are encoded by hand: the usual writers
bring many packages and a thread, which does not go together with forked data workers, and they
swallow a full disk.
"""

import os
import struct
import time
from functools import cache
from io import RawIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imkd_core.visualization import encode_png

#: Castagnoli's polynomial, reversed; TFRecord's checksums are CRC-32C, masked.
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class BoardFile:
    """One event file; every call writes to the disk's buffers at once.

    Args:
        folder: made where it is missing; each run or resumption has a file of its own there.
        first_step: what earlier files say of this step and later ones is taken back.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._file = path.open("xb", buffering=0)
        self._write(0, _field(3, _BYTES, b"brain.Event:2"))
        session_start = _field(1, _VARINT, 1)
        self._write(first_step, _field(7, _BYTES, session_start))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Append a number."""
        self._summary(tag, _field(2, _FIXED32, struct.pack("<f", value)), step)

    def picture(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        """Append an (H, W, 3) RGB picture."""
        image = (
            _field(1, _VARINT, picture.shape[0])
            + _field(2, _VARINT, picture.shape[1])
            + _field(3, _VARINT, 3)
            + _field(4, _BYTES, encode_png(picture))
        )
        self._summary(tag, _field(4, _BYTES, image), step)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _summary(self, tag: str, content: bytes, step: int) -> None:
        value = _field(1, _BYTES, tag.encode()) + content
        self._write(step, _field(5, _BYTES, _field(1, _BYTES, value)))

    def _write(self, step: int, content: bytes) -> None:
        stamp = _field(1, _FIXED64, struct.pack("<d", time.time()))
        event = stamp + _field(2, _VARINT, step) + content
        length = struct.pack("<Q", len(event))
        write_whole(self._file, length + _checksum(length) + event + _checksum(event))


def write_whole(file: RawIOBase, data: bytes) -> None:
    """Write bytes to a file that has no buffer.

    Nothing is left for later: what cannot be written is an error here, and none when the file is
    closed.

    Raises:
        OSError: the disk is full.
    """
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


def _field(number: int, kind: int, value: int | bytes) -> bytes:
    """Return one field of a protobuf message."""
    key = _varint(number << 3 | kind)
    if isinstance(value, int):
        return key + _varint(value)
    return key + (_varint(len(value)) if kind == _BYTES else b"") + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    masked = ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)
