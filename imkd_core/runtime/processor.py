# SPDX-License-Identifier: Apache-2.0
"""What this machine's processor can do."""

import math
import os
from pathlib import Path

#: Where Linux tells the processor's features.
_CPUINFO = Path("/proc/cpuinfo")

#: Where Linux tells how much of them a container was given.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

#: Features that add up products of 8-bit numbers in 32 bits: Intel's and AMD's, and ARM's.
_INT8_FEATURES = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"))


#: More threads than this bring one frame little.
MOST_THREADS = 4


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return the number of cores that this process may use, rounded up.

    Args:
        quota: "max 100000", or so many microseconds of processor time in so many, as Linux has it.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        granted_us, period_us = map(int, quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no quota, or another system
        return cores
    return max(1, min(cores, math.ceil(granted_us / max(period_us, 1))))


def inference_threads(cores: int) -> int:
    """Return how many threads infer best beside everything else that a vehicle's node does.

    One core is left to messages, images and the other processes: on two cores a second thread
    shortens an inference by a third where nothing else runs, and lengthens it in the live graph
    (`python -m benchmarks.live_graph --set model.threads=...`).

    Args:
        cores: that are there.
    """
    return max(1, min(MOST_THREADS, cores - 1))


def has_int8_products(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether int8 pays and is exact; without these instructions sums of 16 bits overflow.

    Args:
        cpuinfo: as Linux writes it; elsewhere the answer is no.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    features = {
        word
        for name, _, value in lines
        if name.strip().lower() in ("flags", "features")
        for word in value.split()
    }
    return not _INT8_FEATURES.isdisjoint(features)
