# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of one's own: domain, discovery on this machine only, logs and DDS profile."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from imkd_core.resources import PROFILE_VARIABLES, dds_profile_variable, share_folder

#: The kernel's shared memory.
SHARED_MEMORY = Path("/dev/shm")

#: A segment may take one part in so many of the free shared memory: four participants, a reserve.
_SHARES = 5

#: Smaller segments do not hold the pictures of six cameras that come at once; bytes.
_SMALLEST_SEGMENT, _LARGEST_SEGMENT = 4 << 20, 64 << 20

#: Segments this young may not be locked by their owner yet, seconds.
_YOUNG_S = 3.0


@contextmanager
def graph_environment(log_folder: Path, domain_id: int | None) -> Iterator[Mapping[str, str]]:
    """Give this process and its children a ROS graph of their own; undo it at the end."""
    variables = {
        "ROS_LOG_DIR": str(log_folder / "ros"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        profile = write_profile(share_folder() / "config" / "fastdds.xml", log_folder)
        variables |= {dds_profile_variable(): str(profile)} if profile else {}
    with _domain(domain_id) as domain:
        variables["ROS_DOMAIN_ID"] = str(domain)
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield dict(os.environ)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def write_profile(profile: Path, folder: Path, shared_memory: Path = SHARED_MEMORY) -> Path | None:
    """Write the DDS profile with segments that fit this machine's shared memory.

    With the default segment of 512 KB, best-effort readers lose pictures of six cameras that come
    at once; with one that does not fit, DDS falls back to UDP and loses nearly all.

    Returns:
        The file; None where there is no profile or too little memory, and the default must do.
    """
    if not profile.is_file() or not shared_memory.is_dir():
        return None
    size = min(_LARGEST_SEGMENT, shutil.disk_usage(shared_memory).free // _SHARES)
    if size < _SMALLEST_SEGMENT:
        return None
    text = profile.read_text(encoding="utf-8")
    fitted = re.sub(
        r"<segment_size>\d+</segment_size>", f"<segment_size>{size}</segment_size>", text
    )
    path = folder / "fastdds.xml"
    path.write_text(fitted, encoding="utf-8")
    return path


def remove_dead_segments(shared_memory: Path = SHARED_MEMORY) -> int:
    """Remove the Fast DDS segments that killed processes left; return how many.

    The owner of a segment holds a lock on its `_el` file while it lives (as `fastdds shm clean`
    looks at it).
    """
    try:
        import fcntl
    except ImportError:  # only POSIX has such segments
        return 0
    count = 0
    for lock in shared_memory.glob("fastdds_????????????????_el"):
        with contextlib.suppress(OSError), lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - lock.stat().st_mtime > _YOUNG_S:
                lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
                lock.unlink()
                count += 1
    return count


@contextmanager
def _domain(given: int | None) -> Iterator[int]:
    """Yield the given domain, that of the environment, or one that nobody here uses."""
    named = os.environ.get("ROS_DOMAIN_ID", "") if given is None else str(given)
    if named:
        yield int(named)
        return
    try:
        from domain_coordinator import domain_id
    except ImportError:
        yield 1 + os.getpid() % 100  # 0 is where the neighbours are; above 101 ports are few
        return
    with domain_id() as free:
        yield int(free)
