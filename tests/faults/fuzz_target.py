# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: one decoder, what it begins with, and how its inputs are broken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults.fuzz_mutation import Mutation, broken_bytes

#: Feeds bytes to a decoder. Returns what is wrong with the value that it gave, "" where nothing
#: is; an ImkdError is a refusal, and everything else that is raised is a fault.
Attempt = Callable[[bytes], str]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One decoder.

    Attributes:
        name: of it.
        share: of all cases, in parts of the sum of all shares: the cheaper, the more.
        open: given an empty folder of its own, returns the attempt.
        seeds: whole inputs (or tapes) to begin with.
        mutate: makes a broken input of one.
        needs: packages without which it is left out.
        is_foreign: bytes go through somebody else's compiled decoder first, whose crashes are
            counted apart: they cannot be mended here.
    """

    name: str
    share: float
    open: Callable[[Path], Attempt]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutation = broken_bytes
    needs: tuple[str, ...] = ()
    is_foreign: bool = False


def not_finite(what: str, *arrays: object) -> str:
    """Say that a value holds NaN or infinity; "" where none does."""
    for values in arrays:
        if values is not None and not np.isfinite(np.asarray(values, dtype=np.float64)).all():
            return f"NaN: {what} is not finite"
    return ""


def beyond(what: str, values: object, limit: float) -> str:
    """Say that a number is larger than is documented; "" where none is."""
    largest = float(np.abs(np.asarray(values, dtype=np.float64)).max(initial=0))
    return f"range: {what} is {largest}, documented are at most {limit}" if largest > limit else ""
