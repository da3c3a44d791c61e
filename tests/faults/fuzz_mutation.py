# SPDX-License-Identifier: Apache-2.0
"""Broken inputs made of whole ones: bytes, trees of plain values, and choices read from bytes.

All chance comes in as a generator: the same seed makes the same inputs on every machine.
"""

import json
import math
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

#: Makes a broken input of a whole one.
Mutation = Callable[[bytes, Random], bytes]

#: No input is longer.
MAX_BYTES = 1 << 16

#: Numbers at which sizes, offsets and counts turn over.
WHOLE = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 65536)
WHOLE_LARGE = (10_000_000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)

#: Numbers that no sensor measures.
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-9, 1e-30, 5e-324, 1e9, 1e30, 1e38, 1e300, 1.7e308)
REAL_NOT = (math.nan, math.inf, -math.inf)

#: Texts that mean something to some layer between a file and a disk.
TEXTS = (
    "",
    " ",
    "a",
    "../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://localhost/x",
    "C:\\x",
    "a\\..\\b",
    "x" * 5000,
    "\u0000",
    "\ud7ff\u202e",
    "NaN",
    "1e999",
    "-1",
    "~",
    "car",
    "__class__",
    "%s%n",
    "${HOME}",
)

_INTERESTING = tuple(
    [struct.pack("<I", value) for value in (*WHOLE, *WHOLE_LARGE)]
    + [struct.pack(">H", value & 0xFFFF) for value in WHOLE]
    + [struct.pack("<f", value) for value in (*REAL[:11], *REAL_NOT)]
    + [struct.pack("<d", value) for value in (*REAL, *REAL_NOT)]
)


def broken_bytes(data: bytes, rng: Random) -> bytes:
    """Return data with one to four faults; one time in twenty bytes of pure chance."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.choice((0, 1, 3, 16, 100, 1000)))
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        _break(raw, rng)
    return bytes(raw[:MAX_BYTES])


def _break(raw: bytearray, rng: Random) -> None:
    """Do one fault to bytes, in place."""
    kind, size = rng.randrange(8), len(raw)
    at = rng.randrange(size + 1)
    if kind == 0 and at < size:
        raw[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < size:
        raw[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0xFF, rng.randrange(256)))
    elif kind in (2, 3):
        value = rng.choice(_INTERESTING)
        at = at & ~3 if kind == 3 else at
        raw[at : at + len(value)] = value
    elif kind == 4:
        del raw[at : at + rng.choice((1, 2, 4, 16, 200))]
    elif kind == 5:
        raw[at:at] = raw[at : at + rng.choice((1, 4, 16, 200))]
    elif kind == 6:
        del raw[at:]
    else:
        raw[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def broken_json(data: bytes, rng: Random) -> bytes:
    """Return a JSON text (which is YAML too) with faults in its values, or in its bytes."""
    if rng.random() < 0.2:
        return broken_bytes(data, rng)
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return broken_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        tree = broken_tree(tree, rng)
    return json.dumps(tree).encode("utf-8", "surrogatepass")[:MAX_BYTES]


def broken_tree(tree: Any, rng: Random) -> Any:
    """Return a tree of mappings, lists and scalars with one fault; the given one is kept."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return strange_value(tree, rng)
    if isinstance(tree, list):
        copy: list[Any] = list(tree)
        at = rng.randrange(len(copy))
        if rng.random() < 0.15:
            copy.insert(at, rng.choice(copy))
        elif rng.random() < 0.15:
            del copy[at]
        else:
            copy[at] = broken_tree(copy[at], rng)
        return copy
    mapping = dict(tree)
    key = rng.choice(list(mapping))
    if rng.random() < 0.1:
        del mapping[key]
    elif rng.random() < 0.1:
        mapping[str(strange_value(str(key), rng))] = mapping[key]
    else:
        mapping[key] = broken_tree(mapping[key], rng)
    return {key if _is_key(key) else str(key): value for key, value in mapping.items()}


def strange_value(value: Any, rng: Random) -> Any:
    """Return something else in the place of a value, often of its kind."""
    strange = (None, True, [], {}, [[]], {"a": 1}, [0] * 40, rng.choice(TEXTS), rng.choice(REAL))
    if rng.random() < 0.25:
        return rng.choice(strange)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((-value, value + 1, 10**30, 10**400, -1, *WHOLE, *WHOLE_LARGE))
    if isinstance(value, float):
        return rng.choice((-value, 1e3 * value, *REAL, *REAL_NOT))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), *TEXTS))
    return rng.choice(strange)


def _is_key(key: Any) -> bool:
    return isinstance(key, str | int | float | bool) or key is None


class Tape:
    """Choices read from bytes, so that an engine that changes bytes changes choices.

    Every choice has a usual answer, which an empty tape, or one that has run out, gives: the
    shorter the tape, the more ordinary what is built from it.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte; 0 at the end."""
        at = self._at
        if at >= len(self._data):
            return 0
        self._at = at + 1
        return self._data[at]

    def raw(self, size: int) -> bytes:
        """Return the next bytes, zeros behind the end."""
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found + bytes(size - len(found))

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        found = self._data[self._at :]
        self._at = len(self._data)
        return found

    def is_odd(self) -> bool:
        """Whether something unusual is wanted here: for one byte in sixteen."""
        return self.byte() >= 240

    def pick(self, usual: T, others: Sequence[T]) -> T:
        """Return the usual value, or for one byte in sixteen another."""
        return others[self.byte() % len(others)] if self.is_odd() else usual

    def whole(self, usual: int, bits: int = 32, signed: bool = False) -> int:
        """Return a whole number that fits a field of so many bits."""
        if not self.is_odd():
            return usual
        kind = self.byte()
        if kind < 64:
            value = usual + self.byte() - 128
        elif kind < 192:
            value = (*WHOLE, *WHOLE_LARGE)[kind % (len(WHOLE) + len(WHOLE_LARGE))]
        else:
            value = int.from_bytes(self.raw(bits // 8), "little")
        value &= (1 << bits) - 1
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    def real(self, usual: float) -> float:
        """Return a float64."""
        if not self.is_odd():
            return usual
        kind = self.byte()
        if kind < 64:
            return usual * (self.byte() - 128) / 16
        if kind < 192:
            return (*REAL, *REAL_NOT)[kind % (len(REAL) + len(REAL_NOT))]
        return float(struct.unpack("<d", self.raw(8))[0])

    def reals(self, usual: Sequence[float]) -> list[float]:
        """Return float64 values; most tapes leave most as they are."""
        if not self.is_odd():
            return list(usual)
        return [self.real(value) for value in usual]

    def text(self, usual: str) -> str:
        """Return a text as a ROS string may hold it."""
        return self.pick(usual, (*TEXTS, usual + "x", "/" + usual, usual.upper()))


def tapes(count: int = 24, size: int = 64) -> list[bytes]:
    """Return tapes to begin with: the empty one, and some of chance."""
    rng = Random(7)
    one_odd = [
        bytes(at) + b"\xff" + rng.randbytes(9) + bytes(size)
        for at in range(0, size, max(1, size // 21))
    ]
    return [b"", bytes(size), *one_odd, *(rng.randbytes(size) for _ in range(count))]
