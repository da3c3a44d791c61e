# SPDX-License-Identifier: Apache-2.0
"""What Linux says of a process: memory, threads, open files, time on a core."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

#: Fields of /proc/PID/stat behind the name in brackets: time in user and in system mode, ticks.
_USER, _SYSTEM = 11, 12


@dataclass(frozen=True, kw_only=True)
class ProcessStats:
    """One look at a process.

    Attributes:
        rss_mb: resident memory, 10^6 bytes.
        peak_rss_mb: the most it ever was.
        threads: how many.
        files: open file descriptors.
        cpu_s: time on a core since the start, all threads.
        main_cpu_s: the same of the main thread, in which a node's executor takes messages.
    """

    rss_mb: float
    peak_rss_mb: float
    threads: int
    files: int
    cpu_s: float
    main_cpu_s: float


def read_stats(process_id: int, proc: Path = PROC) -> ProcessStats | None:
    """Return what a process uses just now; None where it is gone or nobody says."""
    folder = proc / str(process_id)
    try:
        lines = (folder / "status").read_text(encoding="ascii", errors="replace").splitlines()
        whole_s = _cpu_s(folder / "stat")
        main_s = _cpu_s(folder / "task" / str(process_id) / "stat")
        files = sum(1 for _ in (folder / "fd").iterdir())
    except (OSError, ValueError, IndexError):
        return None
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmRSS" not in status:
        return None  # a zombie has no memory
    return ProcessStats(
        rss_mb=_megabytes(status["VmRSS"]),
        peak_rss_mb=_megabytes(status["VmHWM"]),
        threads=int(status["Threads"]),
        files=files,
        cpu_s=whole_s,
        main_cpu_s=main_s,
    )


def keep_to_cores(count: int) -> int:
    """Keep this process and what it starts to so many cores; return how many there are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return len(cores)


def _cpu_s(path: Path) -> float:
    ticks = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(ticks[_USER]) + int(ticks[_SYSTEM])) / os.sysconf("SC_CLK_TCK")


def _megabytes(text: str) -> float:
    """Read "1234 kB" of /proc, which means KiB."""
    return int(text.split()[0]) * 1024 / 1e6
