# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of one's own: domain, discovery on this machine only, logs and DDS profile."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from imkd_ros.graph.dds_profile import SHARED_MEMORY, choose_profile

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
    profile = choose_profile(log_folder)
    if profile.remark:
        sys.stderr.write(f"{profile.remark}\n")
    variables |= profile.variables
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
