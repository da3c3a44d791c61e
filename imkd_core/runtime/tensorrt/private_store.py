# SPDX-License-Identifier: Apache-2.0
"""A folder of our own for files that are as dangerous as programs.

An engine is native code, and TensorRT does not find out who changed it. So nothing is read but what
this user wrote: folder and file belong to the user, nobody else may write them, no link is
followed, and a sidecar says what the file is for and what its digest is. The folder is opened
once and files are opened inside it, so nothing can be exchanged between a check and its use.
"""

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1

#: How often a taken lock is tried again, seconds.
LOCK_PERIOD_S = 0.1

#: A sidecar is some hundred bytes, a plan at most some gigabytes.
_MAX_SIDECAR_BYTES = 1 << 20
_MAX_CONTENT_BYTES = 8 << 30

#: Nobody but the owner may write.
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_OPEN_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedError(Exception):
    """A folder or file may not be used; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was found.

    Attributes:
        content: of the file; None = nothing that may be used.
        refusal: why something that is there may not be used; empty = nothing is there.
    """

    content: bytes | None = None
    refusal: str = ""


class PrivateStore:
    """Files with sidecars in a folder that is the user's alone.

    Args:
        folder: made on the first write, with mode 700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where a content lies; its sidecar stands beside it, as `.json`."""
        return self.folder / f"{name}.plan"

    def read(self, name: str, facts: Mapping[str, Any]) -> Reading:
        """Read a content if all that must hold does hold.

        Args:
            name: of the file, without suffix.
            facts: what the content must be for; the sidecar must say the same.
        """
        try:
            with _opened_folder(self.folder) as folder:
                content = _read_file(folder, self.path(name).name, _MAX_CONTENT_BYTES)
                sidecar = _read_file(folder, f"{name}.json", _MAX_SIDECAR_BYTES)
        except FileNotFoundError:
            return Reading(refusal="it has no sidecar" if self._is_there(name) else "")
        except (OSError, UntrustedError) as error:
            return Reading(refusal=str(error))
        refusal = _compare(sidecar, facts, content)
        return Reading(refusal=refusal) if refusal else Reading(content=content)

    def write(
        self, name: str, facts: Mapping[str, Any], content: bytes, notes: Mapping[str, Any]
    ) -> None:
        """Write a content and its sidecar; each appears whole or not at all.

        Call it inside `locked`. An interruption between the two leaves a content without its
        sidecar, which is never read.

        Args:
            name: of the file, without suffix.
            facts: what the content is for.
            content: the file.
            notes: more that the sidecar says to people.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
            UntrustedError: the folder is not the user's alone.
        """
        sidecar = {
            "schema_version": SCHEMA_VERSION,
            "facts": dict(facts),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "notes": dict(notes),
        }
        with _opened_folder(self.folder) as folder:
            _replace(folder, self.path(name).name, content)
            _replace(folder, f"{name}.json", json.dumps(sidecar, indent=2).encode() + b"\n")
            os.fsync(folder)

    @contextmanager
    def locked(self, name: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of a name; the system frees it when the process ends, however it ends.

        Args:
            name: of the file, without suffix.
            on_wait: called again and again while another process holds the lock.

        Raises:
            OSError: the folder cannot be made or written.
            UntrustedError: the folder is not the user's alone.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | _OPEN_SAFELY
        with _opened_folder(self.folder) as folder:
            lock = os.open(f"{name}.lock", flags, 0o600, dir_fd=folder)
        try:
            while not _took(lock):
                on_wait()
                time.sleep(LOCK_PERIOD_S)
            yield
        finally:
            os.close(lock)

    def _is_there(self, name: str) -> bool:
        return os.path.lexists(self.path(name))


def _took(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    """Open a folder, not through a link, and check whose it is."""
    if path.is_symlink():
        raise UntrustedError(f"{path} is a link; name the folder itself")
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _OPEN_SAFELY)
    try:
        _check_owner(os.fstat(folder), f"the folder {path}", f"chmod 700 {path}")
        yield folder
    finally:
        os.close(folder)


def _read_file(folder: int, name: str, max_bytes: int) -> bytes:
    """Read a file inside an open folder; whose it is, is asked of what was opened."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _OPEN_SAFELY, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UntrustedError(f"{name} is a link or cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise UntrustedError(f"{name} is no regular file of a sensible size")
        _check_owner(status, name, "delete it")
        with os.fdopen(file, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(file)


def _check_owner(status: os.stat_result, what: str, remedy: str) -> None:
    if status.st_uid != os.geteuid():
        raise UntrustedError(
            f"{what} belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this"
        )
    if status.st_mode & _WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise UntrustedError(f"{what} may be written by others (mode {mode:o}); {remedy}")


def _compare(sidecar: bytes, facts: Mapping[str, Any], content: bytes) -> str:
    """Return why a content is not what its sidecar and the facts say; empty = it is."""
    try:
        said = json.loads(sidecar)
    except ValueError:
        return "its sidecar is damaged"
    if not isinstance(said, dict) or said.get("schema_version") != SCHEMA_VERSION:
        return "its sidecar is of another version"
    if said.get("facts") != dict(facts):
        return "its sidecar says that it is for something else"
    if said.get("bytes") != len(content):
        return f"it has {len(content)} bytes instead of {said.get('bytes')}"
    if said.get("sha256") != hashlib.sha256(content).hexdigest():
        return "its digest is not the one that was written down"
    return ""


def _replace(folder: int, name: str, content: bytes) -> None:
    """Write a file beside, make sure that it is on the disk, and move it into place."""
    beside = f".{name}.tmp"
    with suppress(FileNotFoundError):  # left by a process that was killed
        os.unlink(beside, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_SAFELY
    try:
        with os.fdopen(os.open(beside, flags, 0o600, dir_fd=folder), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
