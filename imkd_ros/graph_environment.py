# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of one's own: domain, discovery on this machine only, logs and DDS profile."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from imkd_ros.resources import share_folder

#: Shared memory that each of the four participants may take (config/fastdds.xml), and a reserve.
_SHM_BYTES_NEEDED = 5 * 64 * 1024 * 1024


@contextmanager
def graph_environment(log_folder: Path, domain_id: int | None) -> Iterator[Mapping[str, str]]:
    """Give this process and its children a ROS graph of their own; undo it at the end."""
    variables = {
        "ROS_LOG_DIR": str(log_folder / "ros"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    profile = share_folder() / "config" / "fastdds.xml"
    if "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ and _profile_fits(profile):
        variables["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
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


def _profile_fits(profile: Path) -> bool:
    """Whether the shared-memory segments of the DDS profile fit on this machine."""
    memory = Path("/dev/shm")
    return (
        profile.is_file()
        and memory.is_dir()
        and shutil.disk_usage(memory).free >= _SHM_BYTES_NEEDED
    )


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
