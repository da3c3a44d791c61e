# SPDX-License-Identifier: Apache-2.0
"""Reads bags (rosbag2: MCAP and SQLite) without ROS, with the library `rosbags`.

`open_bag(path)` gives a `Bag`; `bag.messages(topics)` yields its messages by rising log time as CDR
bytes, and `bag.decode(message)` makes an object of one. `bag_writer` writes bags.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imkd_core.data.bags.bag_writer import is_latched, reporting
from imkd_core.data.bags.messages import new_typestore, typestore
from imkd_core.errors import DataError

# isort: split
from rosbags.interfaces import (
    Connection,
    MessageDefinitionFormat,
    QosDurability,
    QosReliability,
)
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_idl, get_types_from_msg
from rosbags.typesys.store import Typestore

#: Endings of a recording that is a single file, or of a part of a bag.
ENDINGS = (".mcap", ".db3")


@dataclass(frozen=True, kw_only=True)
class BagMessage:
    """One message of a bag.

    Attributes:
        topic: absolute topic name.
        type_name: such as "sensor_msgs/msg/Image".
        stamp_ns: log time: when the message was received (not its header's stamp).
        cdr: the serialised message, with its 4-byte CDR header.
    """

    topic: str
    type_name: str
    stamp_ns: int
    cdr: bytes


@dataclass(frozen=True, kw_only=True)
class BagTopic:
    """One topic of a bag: its type, number of messages, and how it was offered.

    Attributes:
        type_name: such as "sensor_msgs/msg/Image".
        count: messages in the bag.
        is_latched: late subscribers got its last message.
        is_reliable: it was not offered as best effort by anybody.
    """

    type_name: str
    count: int
    is_latched: bool
    is_reliable: bool = True


class Bag:
    """An open bag; made by `open_bag`, a context manager.

    Attributes:
        path: the folder, or the single file.
        topics: name -> `BagTopic`.
        message_count: number of messages.
        start_ns, end_ns: log time of the first and of the last message; 0 in an empty bag.
        custom_data: free text by key, of metadata.yaml.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        self.topics: Mapping[str, BagTopic] = MappingProxyType(_topics_of(reader))
        self.message_count = reader.message_count
        self.start_ns = reader.start_time if reader.message_count else 0
        self.end_ns = reader.end_time - 1 if reader.message_count else 0
        custom = getattr(reader.storage.metadata, "custom", None) or {}
        self.custom_data: Mapping[str, str] = MappingProxyType(dict(custom))
        self._store: Typestore | None = None

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Yield the messages of some topics (of all), by rising log time.

        Messages of one time come in the order of the file.

        Raises:
            DataError: a topic is not in the bag, or the bag is damaged.
        """
        wanted = set(self.topics if topics is None else topics)
        unknown = wanted - set(self.topics)
        if unknown:
            raise DataError(
                f"bag {self.path} has no topic {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(self.topics)) or 'none'}"
            )
        return self._read(wanted) if wanted else iter(())

    def decode(self, message: BagMessage) -> Any:
        """Return a message as an object with the fields of its type.

        Raises:
            DataError: the bytes are not a message of the type, or the type is not known; the
                bag's definitions of messages are damaged.
        """
        if self._store is None:
            with _damage(self.path):
                self._store = _typestore_for(self._reader.connections)
        with reporting(
            f"bag {self.path}, topic {message.topic}: no valid {message.type_name} at "
            f"{message.stamp_ns} ns",
            "leave this topic out, or record the bag again",
        ):
            return self._store.deserialize_cdr(message.cdr, message.type_name)

    def close(self) -> None:
        """Close the files.

        Raises:
            DataError: the bag is so damaged that the library cannot even do that.
        """
        if self._reader.is_open:
            with _damage(self.path):
                self._reader.close()

    def __enter__(self) -> "Bag":
        """Return the bag."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self.close()

    def _read(self, wanted: set[str]) -> Iterator[BagMessage]:
        last_ns = 0
        with _damage(self.path):
            for connection, stamp_ns, cdr in _by_time(self._reader, wanted):
                if stamp_ns < last_ns:
                    raise ValueError("its files overlap in time and are compressed")
                last_ns = stamp_ns
                yield BagMessage(
                    topic=connection.topic,
                    type_name=connection.msgtype,
                    stamp_ns=stamp_ns,
                    cdr=cdr,
                )


def open_bag(path: Path) -> Bag:
    """Open a rosbag2 folder, or a single .mcap or .db3 file.

    Raises:
        DataError: there is none, or it is damaged; the message says what to do.
    """
    if not path.exists():
        raise DataError(f"there is no bag at {path}; give the folder that holds its metadata.yaml")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = sorted(item for item in path.iterdir() if item.suffix in ENDINGS)
        remedy = f"give the file itself: {files[0]}" if files else "give another folder"
        raise DataError(f"{path} is not a complete bag, it has no metadata.yaml; {remedy}")
    with _damage(path):
        reader = Reader(path)
        reader.open()
        try:
            return Bag(path, reader)
        except BaseException:
            reader.close()
            raise


def _by_time(reader: Reader, wanted: set[str]) -> Iterator[tuple[Connection, int, bytes]]:
    """Yield messages by rising time, also where a bag of several files overlaps in time."""
    files = getattr(reader.storage, "storages", [])
    if len(files) < 2 or reader.compression_mode == "message":
        return reader.messages([item for item in reader.connections if item.topic in wanted])
    streams = [
        file.messages(connections)
        for file in files
        if (connections := [item for item in file.connections if item.topic in wanted])
    ]
    return heapq.merge(*streams, key=lambda item: item[1])


def _topics_of(reader: Reader) -> dict[str, BagTopic]:
    topics: dict[str, BagTopic] = {}
    for item in reader.connections:
        known = topics.get(item.topic)
        if known is not None and known.type_name != item.msgtype:
            raise ValueError(f"topic {item.topic} has two types: {known.type_name}, {item.msgtype}")
        offered = getattr(item.ext, "offered_qos_profiles", [])
        topics[item.topic] = BagTopic(
            type_name=item.msgtype,
            count=item.msgcount + (known.count if known else 0),
            is_latched=is_latched(item.topic)
            or any(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in offered),
            is_reliable=(known is None or known.is_reliable)
            and all(qos.reliability is not QosReliability.BEST_EFFORT for qos in offered),
        )
    return topics


def _typestore_for(connections: list[Connection]) -> Typestore:
    """Return the project's types, and those that only the bag itself defines."""
    foreign = [item for item in connections if item.msgtype not in typestore().types]
    if not foreign:
        return typestore()
    store = new_typestore()
    for item in foreign:
        form, text = item.msgdef
        if form is MessageDefinitionFormat.NONE or item.msgtype in store.types:
            continue
        types = (
            get_types_from_idl(text)
            if form is MessageDefinitionFormat.IDL
            else get_types_from_msg(text, item.msgtype)
        )
        store.register({name: types[name] for name in types if name not in store.types})
    return store


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Report what reading a damaged bag raises."""
    with reporting(
        f"the bag {path} cannot be read",
        "it may have been cut off while it was recorded or copied: copy it again, or mend it "
        "with 'ros2 bag reindex' or 'mcap recover'",
    ):
        yield
