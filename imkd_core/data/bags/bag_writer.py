# SPDX-License-Identifier: Apache-2.0
"""Writes bags (rosbag2: MCAP and SQLite) without ROS, with the library `rosbags`."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imkd_core.data.bags.messages import serialize, typestore
from imkd_core.errors import DataError

# isort: split
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

#: Topics whose last message a late subscriber must still get, by the end of their names.
LATCHED_ENDINGS = ("/tf_static", "/label_info", "/robot_description")


def is_latched(topic: str) -> bool:
    """Whether a topic's last message must reach late subscribers (transient local)."""
    return topic.endswith(LATCHED_ENDINGS)


@contextmanager
def reporting(what: str, remedy: str) -> Iterator[None]:
    """Turn what the library raises, which may be anything on bad bytes, into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"{what} ({cause}); {remedy}") from error


class BagWriter:
    """Writes one bag; a context manager.

    The bag is written in a hidden folder beside its place and moved there when it is complete, so
    a bag under its own name is always whole. An exception, or `abandon`, leaves nothing behind.

    Args:
        path: the folder to make.
        overwrite: replace a bag that is there; anything else that is there is never touched.
        storage: "mcap" or "sqlite3".
        custom_data: free text by key, kept in metadata.yaml: source, licence.

    Raises:
        DataError: the place is taken or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        storage: str = "mcap",
        custom_data: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() follows links)
        self.counts: dict[str, int] = {}
        _check_place(self.path, overwrite)
        with reporting(f"cannot write a bag at {self.path}", "choose another place"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self.path.name}.part-"
            self._hidden = Path(tempfile.mkdtemp(prefix=prefix, dir=self.path.parent))
            plugin = StoragePlugin[storage.upper()]
            self._writer = Writer(self._hidden / self.path.name, version=9, storage_plugin=plugin)
            for key, value in (custom_data or {}).items():
                self._writer.set_custom_data(key, value)
            self._writer.open()
        self._connections: dict[str, Connection] = {}
        self._is_done = False

    def write(self, topic: str, type_name: str, stamp_ns: int, message: Any) -> None:
        """Append a message with its log time: CDR bytes, or an object of `messages.make`.

        Raises:
            DataError: the topic holds another type, the type is unknown, or the disk is full.
        """
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._add_topic(topic, type_name)
        if connection.msgtype != type_name:
            raise DataError(
                f"topic {topic} holds {connection.msgtype} in this bag, not {type_name}; "
                "give the second type a topic of its own"
            )
        cdr = message if isinstance(message, bytes) else serialize(type_name, message)
        with reporting(f"cannot write to {self._hidden}", "make space on the disk"):
            self._writer.write(connection, stamp_ns, cdr)
        self.counts[topic] += 1

    def close(self) -> None:
        """Complete the bag and move it to its place."""
        if self._is_done:
            return
        self._is_done = True
        try:
            with reporting(f"cannot complete the bag {self.path}", "see whether the disk is full"):
                self._writer.close()
                if self.path.exists():
                    self.path.rename(self._hidden / "replaced")
                (self._hidden / self.path.name).rename(self.path)
        finally:
            shutil.rmtree(self._hidden, ignore_errors=True)

    def abandon(self) -> None:
        """Remove what was written; nothing appears under the bag's name."""
        if not self._is_done:
            self._is_done = True
            self._writer.abort()
            shutil.rmtree(self._hidden, ignore_errors=True)

    def __enter__(self) -> "BagWriter":
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Complete the bag, or abandon it after an exception."""
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _add_topic(self, topic: str, type_name: str) -> Connection:
        if type_name not in typestore().types:
            raise DataError(
                f"topic {topic}: the message type {type_name} is not known to this project; "
                "leave the topic out, or record it with 'ros2 bag record'"
            )
        connection = self._writer.add_connection(
            topic, type_name, typestore=typestore(), offered_qos_profiles=[_offered_qos(topic)]
        )
        self._connections[topic] = connection
        self.counts[topic] = 0
        return connection


def _offered_qos(topic: str) -> Qos:
    latched = is_latched(topic)
    forever = QosTime(9_223_372_036, 854_775_807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def _check_place(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise DataError(f"{path} exists; name another bag, or allow it to be overwritten")
    if not (path / "metadata.yaml").is_file():
        raise DataError(f"{path} is not a bag, so it is not overwritten; name another place")
