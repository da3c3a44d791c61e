# SPDX-License-Identifier: Apache-2.0
"""Which DDS profile of `config/` a graph runs with: chosen by middleware, fitted to the machine.

    profile = choose_profile(folder)        # RMW_IMPLEMENTATION and ROS_DISTRO say which
    environment |= profile.variables        # before a participant is made

Launch file and supervisor both ask here. A profile that the user has set stays. No ROS in here.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imkd_core.resources import share_folder

#: What ROS 2 runs on where RMW_IMPLEMENTATION is not set, Humble to Kilted.
DEFAULT_MIDDLEWARE = "rmw_fastrtps_cpp"

#: Variables that name Fast DDS's profile: of today, and up to ROS 2 Jazzy, which reads no other.
FASTDDS_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")

#: Distributions that read the older of `FASTDDS_VARIABLES` alone; from Kilted on it is deprecated.
_OLD_DISTRIBUTIONS = ("humble", "iron", "jazzy")

#: Names Cyclone DDS's profile.
CYCLONEDDS_VARIABLE = "CYCLONEDDS_URI"

#: The kernel's shared memory, and its limit of a socket's receive buffer.
SHARED_MEMORY = Path("/dev/shm")
RECEIVE_LIMIT = Path("/proc/sys/net/core/rmem_max")

#: A segment may take one part in so many of the free shared memory: four participants, a reserve.
_SHARES = 5

#: Smaller segments do not hold the pictures of six cameras that come at once; bytes.
_SMALLEST_SEGMENT, _LARGEST_SEGMENT = 4 << 20, 64 << 20

#: A raw image of 1600 x 900 in one piece, bytes.
_LARGEST_MESSAGE = 8 << 20

#: What config/cyclonedds.xml asks the kernel for, bytes.
CYCLONEDDS_BUFFER_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class DdsProfile:
    """What a graph's processes are started with.

    Attributes:
        variables: environment variables; none where the middleware's defaults must do.
        remark: what the user should know and do; empty when all is well.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


def choose_profile(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    config: Path | None = None,
    shared_memory: Path = SHARED_MEMORY,
    receive_limit: Path = RECEIVE_LIMIT,
) -> DdsProfile:
    """Return the profile for the middleware in use.

    Args:
        folder: where a fitted copy is written.
        environment: read for RMW_IMPLEMENTATION, ROS_DISTRO and a profile of the user's own; this
            process's when None.
        config: folder of the profiles that ship; the package's when None.
        shared_memory: where Fast DDS makes its segments.
        receive_limit: the file that holds `net.core.rmem_max`.
    """
    variables = os.environ if environment is None else environment
    config = share_folder() / "config" if config is None else config
    middleware = variables.get("RMW_IMPLEMENTATION") or DEFAULT_MIDDLEWARE
    if middleware.startswith("rmw_fastrtps"):
        return _fastdds(config / "fastdds.xml", folder, variables, shared_memory)
    if middleware == "rmw_cyclonedds_cpp":
        return _cyclonedds(config / "cyclonedds.xml", variables, receive_limit)
    return DdsProfile(remark=f"no profile ships for {middleware}: it runs with its own settings")


def named_profile(path: Path, environment: Mapping[str, str] | None = None) -> DdsProfile:
    """Return a profile of the user's own, as it is, for the middleware in use."""
    variables = os.environ if environment is None else environment
    if (variables.get("RMW_IMPLEMENTATION") or DEFAULT_MIDDLEWARE) == "rmw_cyclonedds_cpp":
        return DdsProfile(variables={CYCLONEDDS_VARIABLE: path.absolute().as_uri()})
    return DdsProfile(variables={fastdds_variable(variables): str(path.absolute())})


def fastdds_variable(environment: Mapping[str, str]) -> str:
    """Return the variable that names Fast DDS's profile to this ROS distribution."""
    is_old = environment.get("ROS_DISTRO") in _OLD_DISTRIBUTIONS
    return FASTDDS_VARIABLES[1] if is_old else FASTDDS_VARIABLES[0]


def write_profile(profile: Path, folder: Path, shared_memory: Path = SHARED_MEMORY) -> Path | None:
    """Write the Fast DDS profile with segments that fit this machine's shared memory.

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
    text = _with_number(profile.read_text(encoding="utf-8"), "segment_size", size)
    # Fast DDS drops the whole transport where a message may be larger than the segment.
    text = _with_number(text, "maxMessageSize", min(_LARGEST_MESSAGE, size // 2))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fastdds.xml"
    path.write_text(text, encoding="utf-8")
    return path


def _fastdds(
    profile: Path, folder: Path, environment: Mapping[str, str], shared_memory: Path
) -> DdsProfile:
    if any(name in environment for name in FASTDDS_VARIABLES):
        return DdsProfile()
    path = write_profile(profile, folder, shared_memory)
    if path is None:
        need = _SMALLEST_SEGMENT * _SHARES >> 20
        return DdsProfile(
            remark=f"{shared_memory} has less than {need} MB free: Fast DDS runs with its own "
            "small segments, and raw images get lost; make room there (docker run --shm-size=1g), "
            "or use compressed images"
        )
    return DdsProfile(variables={fastdds_variable(environment): str(path.absolute())})


def _cyclonedds(profile: Path, environment: Mapping[str, str], receive_limit: Path) -> DdsProfile:
    if CYCLONEDDS_VARIABLE in environment or not profile.is_file():
        return DdsProfile()
    limit = _limit_bytes(receive_limit)
    remark = ""
    if limit is not None and limit < CYCLONEDDS_BUFFER_BYTES:
        remark = (
            f"the kernel grants a socket {limit >> 10} KiB, less than config/cyclonedds.xml asks "
            f"for, and images of cameras that fire together may get lost: sysctl -w "
            f"net.core.rmem_max={CYCLONEDDS_BUFFER_BYTES}"
        )
    return DdsProfile(variables={CYCLONEDDS_VARIABLE: profile.absolute().as_uri()}, remark=remark)


def _with_number(text: str, element: str, number: int) -> str:
    return re.sub(rf"<{element}>\d+</{element}>", f"<{element}>{number}</{element}>", text)


def _limit_bytes(path: Path) -> int | None:
    """Return the kernel's limit; None where it does not tell."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
