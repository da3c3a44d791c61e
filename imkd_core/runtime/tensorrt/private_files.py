# SPDX-License-Identifier: Apache-2.0
"""Files inside a folder that is the user's alone: opened safely, locked, replaced whole.

The folder is opened once and files are opened inside it, so nothing can be exchanged between a
check and its use; no link is followed.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How often a taken lock is tried again, seconds.
LOCK_PERIOD_S = 0.1

#: Nobody but the owner may write.
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_OPEN_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedError(Exception):
    """A folder or file may not be used; the text says which and why."""


def locked_file(folder: int, name: str, on_wait: Callable[[], None]) -> int:
    """Return a lock that is held; one whose file was removed meanwhile is taken anew.

    Args:
        folder: opened.
        name: of the lock's file.
        on_wait: called again and again while another process holds it.
    """
    while True:
        lock = open_lock(folder, name)
        try:
            while not took(lock):
                on_wait()
                time.sleep(LOCK_PERIOD_S)
            if _is_at(folder, name, lock):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _is_at(folder: int, name: str, file: int) -> bool:
    """Whether a file still stands under its name."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


def open_lock(folder: int, name: str) -> int:
    """Return a lock's file, made where it is missing; whether it is taken is another matter."""
    return os.open(name, os.O_RDWR | os.O_CREAT | _OPEN_SAFELY, 0o600, dir_fd=folder)


def took(lock: int) -> bool:
    """Take a lock if nobody holds it; return whether it is held now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a folder, not through a link, and check whose it is.

    Raises:
        OSError: it cannot be opened.
        UntrustedError: it is a link, another user's, or others may write it.
    """
    if path.is_symlink():
        raise UntrustedError(f"{path} is a link; name the folder itself")
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _OPEN_SAFELY)
    try:
        _check_owner(os.fstat(folder), f"the folder {path}", f"chmod 700 {path}")
        yield folder
    finally:
        os.close(folder)


def read_file(folder: int, name: str, max_bytes: int) -> bytes:
    """Read a file inside an open folder; whose it is, is asked of what was opened.

    Raises:
        FileNotFoundError: it is not there.
        UntrustedError: it is no regular file, too large, another user's, or others may write it.
    """
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


def replace_file(folder: int, name: str, content: bytes) -> None:
    """Write a file beside, make sure that it is on the disk, and move it into place.

    Raises:
        OSError: the disk is full, or the folder cannot be written; nothing is left behind.
    """
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
