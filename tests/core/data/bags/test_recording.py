# SPDX-License-Identifier: Apache-2.0
"""Bags come back in order of time, byte by byte; damaged ones say what to do."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header, serialize
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError

HEADER, STRING = "std_msgs/msg/Header", "std_msgs/msg/String"


def write(path: Path, stamps: list[int], storage: str = "mcap") -> Path:
    """Write headers on /a and /b by turns, in the order given; text number i is the i-th."""
    with BagWriter(path, storage=storage, overwrite=True) as bag:
        for i, stamp_ns in enumerate(stamps):
            bag.write(f"/{'ab'[i % 2]}", HEADER, stamp_ns, make_header(stamp_ns, str(i)))
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@settings(max_examples=15)
@given(stamps=st.lists(st.integers(1, 10**15), min_size=1, max_size=12, unique=True))
def test_messages_come_by_rising_time_whatever_the_order_of_writing(
    tmp_path_factory, storage, stamps
):
    path = write(tmp_path_factory.mktemp("bag") / "drive", stamps, storage)
    with open_bag(path) as bag:
        found = [(m.stamp_ns, bag.decode(m).frame_id) for m in bag.messages()]
        assert (bag.start_ns, bag.end_ns) == (min(stamps), max(stamps))
        assert bag.message_count == len(stamps)
    assert found == sorted((stamp_ns, str(i)) for i, stamp_ns in enumerate(stamps))


def test_messages_of_one_time_keep_the_order_of_the_file_across_chunks(tmp_path: Path):
    text = make(STRING, data="x" * 400_000)  # chunks close at 1 MiB
    with BagWriter(tmp_path / "drive") as bag:
        for i in range(9):
            bag.write(f"/t{i}", STRING, 50, text)
    with open_bag(tmp_path / "drive") as bag:
        assert [m.topic for m in bag.messages()] == [f"/t{i}" for i in range(9)]


def test_topics_can_be_chosen_and_a_wrong_one_is_named(tmp_path: Path):
    path = write(tmp_path / "drive", [1, 2, 3, 4, 5])
    with open_bag(path) as bag:
        assert [m.stamp_ns for m in bag.messages(["/b"])] == [2, 4]
        assert list(bag.messages([])) == []
        with pytest.raises(DataError, match=r"no topic /c; it has /a, /b"):
            bag.messages(["/c"])
        assert bag.topics["/a"].count == 3
        assert bag.topics["/a"].type_name == HEADER


def test_the_storage_file_alone_is_enough(tmp_path: Path):
    path = write(tmp_path / "drive", [1, 2])
    (path / "metadata.yaml").unlink()
    with pytest.raises(DataError, match=r"give the file itself: .*drive\.mcap"):
        open_bag(path)
    with open_bag(path / "drive.mcap") as bag:
        assert [m.stamp_ns for m in bag.messages()] == [1, 2]


def test_files_of_a_split_bag_that_overlap_in_time_are_merged(tmp_path: Path):
    path = write(tmp_path / "drive", [1, 3, 5])
    other = write(tmp_path / "other", [2, 4, 6])
    (other / "other.mcap").rename(path / "drive_1.mcap")
    text = (path / "metadata.yaml").read_text()
    head, tail = text.split("  - drive.mcap\n")
    (path / "metadata.yaml").write_text(f"{head}  - drive.mcap\n  - drive_1.mcap\n{tail}")
    with open_bag(path) as bag:
        assert [m.stamp_ns for m in bag.messages()] == [1, 2, 3, 4, 5, 6]


def test_a_type_that_only_the_bag_knows_is_decoded(tmp_path: Path):
    text = "uint16 weight\nstd_msgs/Header header\n"
    embedded = text + "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\n"
    embedded += "string frame_id\n" + "=" * 80
    embedded += "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        anvil = writer.add_connection(
            "/anvil", "acme_msgs/msg/Anvil", msgdef=embedded, rihs01="RIHS01_" + "0" * 64
        )
        header = serialize(HEADER, make_header(1, "lab"))
        writer.write(anvil, 1, header[:4] + b"\x2a\x00\x00\x00" + header[4:])
    with open_bag(tmp_path / "b") as bag:
        (message,) = bag.messages()
        decoded = bag.decode(message)
    assert (decoded.weight, decoded.header.frame_id) == (42, "lab")


def test_bytes_that_are_no_message_of_their_type_are_refused(tmp_path: Path):
    with BagWriter(tmp_path / "drive") as bag:
        bag.write("/a", HEADER, 7, b"\x00\x01\x00\x00\x01")
    with open_bag(tmp_path / "drive") as bag:
        (message,) = bag.messages()
        with pytest.raises(DataError, match=r"/a: no valid std_msgs/msg/Header at 7 ns"):
            bag.decode(message)


def test_definitions_of_messages_that_are_damaged_are_refused(tmp_path: Path):
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        anvil = writer.add_connection(
            "/anvil",
            "acme_msgs/msg/An\0vil",
            msgdef="uint16 wei\0ght\n",
            rihs01="RIHS01_" + "0" * 64,
        )
        writer.write(anvil, 1, b"\0\1\0\0\2\0")
    with open_bag(tmp_path / "b") as bag:
        (message,) = bag.messages()
        with pytest.raises(DataError, match="cannot be read"):
            bag.decode(message)


def test_no_bag_and_an_empty_folder_are_told_apart(tmp_path: Path):
    with pytest.raises(DataError, match="there is no bag"):
        open_bag(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no metadata\.yaml"):
        open_bag(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="cannot be read"):
        open_bag(tmp_path / "notes.txt")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@settings(max_examples=40)
@given(fraction=st.floats(0, 0.999))
def test_a_bag_that_was_cut_off_is_refused_and_never_read_as_whole(
    tmp_path_factory, storage, fraction
):
    path = write(tmp_path_factory.mktemp("bag") / "drive", list(range(1, 400)), storage)
    (file,) = (item for item in path.iterdir() if item.suffix != ".yaml")
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * fraction)])
    with pytest.raises(DataError, match="cannot be read"), open_bag(path) as bag:
        list(bag.messages())


@settings(max_examples=60)
@given(where=st.floats(0, 0.999), value=st.integers(0, 255))
def test_a_flipped_byte_gives_messages_or_a_data_error_and_nothing_else(
    tmp_path_factory, where, value
):
    path = write(tmp_path_factory.mktemp("bag") / "drive", list(range(1, 40)))
    file = path / "drive.mcap"
    raw = bytearray(file.read_bytes())
    raw[int(len(raw) * where)] = value
    file.write_bytes(raw)
    with contextlib.suppress(DataError), open_bag(path) as bag:
        for message in bag.messages():
            bag.decode(message)


def test_metadata_that_the_library_stumbles_over_when_it_closes_are_refused(tmp_path: Path):
    path = write(tmp_path / "drive", [1])
    metadata = (path / "metadata.yaml").read_text().splitlines()
    at = metadata.index("  files:")
    (path / "metadata.yaml").write_text("\n".join([*metadata[:at], "  files: many"]))
    with pytest.raises(DataError, match="cannot be read"), open_bag(path) as bag:
        list(bag.messages())


def test_files_outside_of_a_bags_folder_are_not_read(tmp_path: Path):
    write(tmp_path / "other", [7])
    path = write(tmp_path / "drive", [1])
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("- drive.mcap", "- ../other/other.mcap"))
    with pytest.raises(DataError, match="cannot be read"), open_bag(path) as bag:
        list(bag.messages())


@pytest.mark.parametrize("text", ["", "[]", "rosbag2_bagfile_information: {version: 9}", "a: {"])
def test_damaged_metadata_is_refused(tmp_path: Path, text: str):
    path = write(tmp_path / "drive", [1])
    (path / "metadata.yaml").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        open_bag(path)
