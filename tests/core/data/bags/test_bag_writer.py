# SPDX-License-Identifier: Apache-2.0
"""A bag appears under its name only when it is whole; nothing foreign is overwritten."""

from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import Reader

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make_header, serialize
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError

HEADER = "std_msgs/msg/Header"


def fill(bag: BagWriter, topic: str, stamps: list[int]) -> None:
    for stamp_ns in stamps:
        bag.write(topic, HEADER, stamp_ns, make_header(stamp_ns, topic))


def test_metadata_tells_counts_times_types_and_custom_data(tmp_path: Path):
    with BagWriter(tmp_path / "drive", custom_data={"licence": "none"}) as bag:
        fill(bag, "/a", [5_000, 7_000])
        fill(bag, "/tf_static", [6_000])
    text = (tmp_path / "drive" / "metadata.yaml").read_text()
    info = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert (info["version"], info["storage_identifier"]) == (9, "mcap")
    assert info["message_count"] == 3
    assert info["starting_time"]["nanoseconds_since_epoch"] == 5_000
    assert info["duration"]["nanoseconds"] == 2_000
    assert info["custom_data"] == {"licence": "none"}
    topics = {item["topic_metadata"]["name"]: item for item in info["topics_with_message_count"]}
    assert {name: item["message_count"] for name, item in topics.items()} == {
        "/a": 2,
        "/tf_static": 1,
    }
    qos = {name: item["topic_metadata"]["offered_qos_profiles"][0] for name, item in topics.items()}
    assert (qos["/a"]["durability"], qos["/tf_static"]["durability"]) == (
        "volatile",
        "transient_local",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]
    files = sorted(path.name for path in (tmp_path / "drive").iterdir())
    assert files == sorted([*info["relative_file_paths"], "metadata.yaml"])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_librarys_own_reader_finds_the_bytes(tmp_path: Path, storage: str):
    raw = serialize(HEADER, make_header(3, "x"))
    with BagWriter(tmp_path / "drive", storage=storage) as bag:
        bag.write("/a", HEADER, 4, raw)
    with Reader(tmp_path / "drive") as reader:
        found = [(item.topic, stamp, bytes(data)) for item, stamp, data in reader.messages()]
    assert found == [("/a", 4, raw)]


def test_an_exception_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(RuntimeError, match="sensor"), BagWriter(tmp_path / "drive") as bag:  # noqa: PT012
        fill(bag, "/a", [1])
        raise RuntimeError("sensor on fire")
    assert list(tmp_path.iterdir()) == []


def test_nothing_stands_under_the_name_until_the_bag_is_closed(tmp_path: Path):
    bag = BagWriter(tmp_path / "drive")
    fill(bag, "/a", [1])
    assert not (tmp_path / "drive").exists()
    bag.close()
    bag.close()
    assert (tmp_path / "drive" / "metadata.yaml").is_file()


def test_an_abandoned_bag_disappears(tmp_path: Path):
    bag = BagWriter(tmp_path / "drive")
    fill(bag, "/a", [1])
    bag.abandon()
    bag.close()
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_replaced_only_when_that_is_allowed(tmp_path: Path):
    with BagWriter(tmp_path / "drive") as bag:
        fill(bag, "/old", [1])
    with pytest.raises(DataError, match="exists"):
        BagWriter(tmp_path / "drive")
    with BagWriter(tmp_path / "drive", overwrite=True) as bag:
        fill(bag, "/new", [2])
        with open_bag(tmp_path / "drive") as old:
            assert set(old.topics) == {"/old"}
    with open_bag(tmp_path / "drive") as new:
        assert set(new.topics) == {"/new"}
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]


def test_what_is_not_a_bag_is_never_overwritten(tmp_path: Path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="not a bag"):
        BagWriter(precious, overwrite=True)
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another place"):
        BagWriter(tmp_path / "file" / "drive")


def test_one_topic_has_one_type(tmp_path: Path):
    with BagWriter(tmp_path / "drive") as bag:
        fill(bag, "/a", [1])
        with pytest.raises(DataError, match="topic of its own"):
            bag.write("/a", "std_msgs/msg/String", 2, b"\x00\x01\x00\x00")
        with pytest.raises(DataError, match="not known"):
            bag.write("/b", "acme_msgs/msg/Anvil", 2, b"\x00\x01\x00\x00")
    assert bag.counts == {"/a": 1}


def test_an_empty_bag_can_be_read(tmp_path: Path):
    with BagWriter(tmp_path / "drive"):
        pass
    with open_bag(tmp_path / "drive") as bag:
        assert (bag.message_count, bag.start_ns, bag.end_ns) == (0, 0, 0)
        assert list(bag.messages()) == []
