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
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imkd_core.runtime.tensorrt.private_files import (
    UntrustedError,
    locked_file,
    open_lock,
    opened_folder,
    read_file,
    replace_file,
    took,
)

SCHEMA_VERSION = 1

#: A sidecar is some hundred bytes, a plan at most some gigabytes.
_MAX_SIDECAR_BYTES = 1 << 20
_MAX_CONTENT_BYTES = 8 << 30

#: Endings of what belongs to a name: content, sidecar, and the two locks.
_PLAN, _SIDECAR, _LOCK, _USE = ".plan", ".json", ".lock", ".use"

#: Files of ours; all else in the folder is left alone.
_OWN_FILE = re.compile(r"\.?([\w-]+)\.(?:plan|json|lock|use)(?:\.tmp)?")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was found.

    Attributes:
        content: of the file; None = nothing that may be used.
        refusal: why something that is there may not be used; empty = nothing is there.
    """

    content: bytes | None = None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What lies in a folder under one name.

    Attributes:
        name: without suffix.
        facts: what its sidecar says it is for; empty = there is none, or it is damaged.
        size_bytes: of all files of the name.
        used_ns: when it was written or held last; time of the system's clock.
    """

    name: str
    facts: Mapping[str, Any]
    size_bytes: int
    used_ns: int


class PrivateStore:
    """Files with sidecars in a folder that is the user's alone.

    Args:
        folder: made on the first write, with mode 700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where a content lies; its sidecar stands beside it, as `.json`."""
        return self.folder / f"{name}{_PLAN}"

    def read(self, name: str, facts: Mapping[str, Any]) -> Reading:
        """Read a content if all that must hold does hold.

        Args:
            name: of the file, without suffix.
            facts: what the content must be for; the sidecar must say the same.
        """
        try:
            with opened_folder(self.folder) as folder:
                content = read_file(folder, self.path(name).name, _MAX_CONTENT_BYTES)
                sidecar = read_file(folder, f"{name}{_SIDECAR}", _MAX_SIDECAR_BYTES)
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
        with opened_folder(self.folder) as folder:
            replace_file(folder, self.path(name).name, content)
            replace_file(
                folder, f"{name}{_SIDECAR}", json.dumps(sidecar, indent=2).encode() + b"\n"
            )
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
        with opened_folder(self.folder) as folder:
            lock = locked_file(folder, f"{name}{_LOCK}", on_wait)
        try:
            yield
        finally:
            os.close(lock)

    def hold(self, name: str) -> int | None:
        """Say that a name is in use, and that it was used now; `os.close` ends it.

        A name that is held by any process is not removed.

        Returns:
            A file descriptor; None where the folder cannot be written, so that nobody removes.
        """
        try:
            with opened_folder(self.folder) as folder:
                file = open_lock(folder, f"{name}{_USE}")
        except (OSError, UntrustedError):
            return None
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.utime(file)
        return file

    def entries(self) -> list[Entry]:
        """Return what the folder holds, in no order; nothing where there is no folder.

        Names with a file of another user are left out: they are not ours to remove.

        Raises:
            OSError: the folder cannot be read.
            UntrustedError: the folder is not the user's alone.
        """
        try:
            with opened_folder(self.folder) as folder:
                names: dict[str, list[str]] = {}
                for file in os.listdir(folder):  # noqa: PTH208 - of the open folder
                    match = _OWN_FILE.fullmatch(file)
                    if match is not None:
                        names.setdefault(match[1], []).append(file)
                found = [_entry(folder, name, files) for name, files in names.items()]
                return [entry for entry in found if entry is not None]
        except FileNotFoundError:
            return []

    def remove(self, entry: Entry) -> bool:
        """Remove a name's files, unless a process builds or holds it; return whether they went.

        Args:
            entry: as it was listed; what has become something else since then stays.

        Raises:
            OSError: the folder cannot be written.
            UntrustedError: the folder is not the user's alone.
        """
        name = entry.name
        with opened_folder(self.folder) as folder, ExitStack() as stack:
            for suffix in (_LOCK, _USE):
                file = open_lock(folder, f"{name}{suffix}")
                stack.callback(os.close, file)
                if not took(file):
                    return False
            if _facts(folder, name) != entry.facts:
                return False
            temporary = (f".{name}{suffix}.tmp" for suffix in (_PLAN, _SIDECAR))
            for file_name in (*temporary, *(f"{name}{s}" for s in (_SIDECAR, _PLAN, _USE, _LOCK))):
                with suppress(FileNotFoundError):
                    os.unlink(file_name, dir_fd=folder)
        return True

    def _is_there(self, name: str) -> bool:
        return os.path.lexists(self.path(name))


def _entry(folder: int, name: str, files: Sequence[str]) -> Entry | None:
    """Return what is known of a name; what vanishes meanwhile counts nothing."""
    size_bytes, used_ns = 0, 0
    for file in files:
        with suppress(FileNotFoundError):
            status = os.stat(file, dir_fd=folder, follow_symlinks=False)
            if status.st_uid != os.geteuid():
                return None
            size_bytes += status.st_size
            used_ns = max(used_ns, status.st_mtime_ns)
    return Entry(name=name, facts=_facts(folder, name), size_bytes=size_bytes, used_ns=used_ns)


def _facts(folder: int, name: str) -> Mapping[str, Any]:
    try:
        said = json.loads(read_file(folder, f"{name}{_SIDECAR}", _MAX_SIDECAR_BYTES))
        os.stat(f"{name}{_PLAN}", dir_fd=folder, follow_symlinks=False)
    except (OSError, ValueError, UntrustedError):
        return {}
    facts = said.get("facts") if isinstance(said, dict) else None
    return facts if isinstance(facts, dict) else {}


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
