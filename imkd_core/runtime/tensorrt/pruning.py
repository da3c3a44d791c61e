# SPDX-License-Identifier: Apache-2.0
"""Old engines go: the newest few of each purpose stay, and all together stay under a size.

A purpose is a GPU, a precision and a number of cameras: what differs within it is the model's file
and the versions of TensorRT and CUDA, so all but a few of its engines are yesterday's. The newest
is the one that was used last. What another process builds or uses is never touched, nor what
another user owns; a file without a sound sidecar is of no use to anybody and goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imkd_core.runtime.tensorrt.private_store import Entry, PrivateStore

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a folder of engines may hold.

    Attributes:
        of_a_purpose: engines for one GPU, precision and number of cameras.
        size_bytes: of all files together.
    """

    of_a_purpose: int = 4
    size_bytes: int = 4096 * _MIB


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One thing that goes, and why."""

    entry: Entry
    reason: str


def surplus(entries: Iterable[Entry], limits: Limits, fresh: str = "") -> list[Removal]:
    """Return what has to go, the oldest first.

    Args:
        entries: all that a folder holds.
        limits: how much it may hold.
        fresh: name of what was just written, which stays.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.name == fresh, entry.used_ns))[::-1]
    removals, counts, held_bytes = [], dict[str, int](), 0
    for entry in newest_first:
        purpose = _purpose(entry.facts)
        counts[purpose] = counts.get(purpose, 0) + 1
        held_bytes += entry.size_bytes
        reason = _reason(purpose, counts[purpose], held_bytes, limits)
        if reason and entry.name != fresh:
            held_bytes -= entry.size_bytes
            removals.append(Removal(entry=entry, reason=reason))
    return removals[::-1]


def prune(store: PrivateStore, limits: Limits, fresh: str = "") -> list[str]:
    """Remove what has to go; return a line on each thing that went or could not.

    Raises:
        OSError: the folder cannot be read.
        UntrustedError: the folder is not the user's alone.
    """
    lines = []
    for removal in surplus(store.entries(), limits, fresh):
        path, size_mib = store.path(removal.entry.name), removal.entry.size_bytes / _MIB
        try:
            if store.remove(removal.entry):
                lines.append(f"{path} ({size_mib:.1f} MiB) is deleted: {removal.reason}")
        except OSError as error:
            lines.append(f"{path} cannot be deleted: {error}")
    return lines


def _purpose(facts: Any) -> str:
    """Return what a file is for, in words; empty = its sidecar does not say."""
    try:
        gpu, precision = facts["target"]["gpu_name"], facts.get("precision", "timing cache")
        major, minor = facts["target"]["compute_capability"]
        cameras = facts.get("cameras", {})
        count = f", {cameras['least']}..{cameras['most']} cameras" if cameras else ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    return f"{precision} on GPU {gpu} ({major}.{minor}){count}"


def _reason(purpose: str, rank: int, held_bytes: int, limits: Limits) -> str:
    if not purpose:
        return "nothing says what it is for"
    if rank > limits.of_a_purpose:
        return f"there are {limits.of_a_purpose} newer ones for {purpose}"
    if held_bytes > limits.size_bytes:
        return f"the folder holds at most {limits.size_bytes / _MIB:.0f} MiB, the newest first"
    return ""
