# SPDX-License-Identifier: Apache-2.0
"""Old engines go, the newest few of each purpose stay, and never one that is in use."""

import os

import pytest

from imkd_core.runtime.tensorrt.private_store import Entry, PrivateStore
from imkd_core.runtime.tensorrt.pruning import Limits, prune, surplus

MIB = 1 << 20


def facts(gpu="X", precision="fp16", cameras=6, version="11.0"):
    target = {"gpu_name": gpu, "compute_capability": [8, 9], "cuda_version": "13.0"}
    count = {"least": cameras, "likely": cameras, "most": cameras}
    return {"target": target, "precision": precision, "cameras": count, "version": version}


def entry(name, used_ns, size_mib=10, said=None):
    said = facts() if said is None else said
    return Entry(name=name, facts=said, size_bytes=size_mib * MIB, used_ns=used_ns)


def names(removals):
    return [removal.entry.name for removal in removals]


def test_while_there_is_room_everything_stays():
    assert surplus([entry("a", 1), entry("b", 2)], Limits()) == []


def test_of_one_purpose_the_newest_stay_whatever_version_or_file_they_are_of():
    entries = [entry(f"e{i}", i, said=facts(version=str(i))) for i in range(6)]
    removals = surplus(entries[::-1], Limits(of_a_purpose=2))
    assert names(removals) == ["e0", "e1", "e2", "e3"]
    assert "2 newer ones for fp16 on GPU X (8.9), 6..6 cameras" in removals[0].reason


@pytest.mark.parametrize("other", [{"gpu": "Y"}, {"precision": "fp32"}, {"cameras": 5}])
def test_engines_for_something_else_do_not_count(other):
    entries = [entry("old", 1), entry("new", 2, said=facts(**other))]
    assert surplus(entries, Limits(of_a_purpose=1)) == []


def test_all_together_stay_under_the_size_and_the_oldest_go_first():
    entries = [entry(f"e{i}", i, said=facts(gpu=str(i))) for i in range(5)]
    removals = surplus(entries, Limits(size_bytes=35 * MIB))
    assert names(removals) == ["e0", "e1"]
    assert "at most 35 MiB" in removals[0].reason


def test_one_that_is_too_large_makes_room_for_smaller_older_ones():
    entries = [entry("old", 1), entry("huge", 2, 100, facts(gpu="Y")), entry("new", 3)]
    assert names(surplus(entries, Limits(size_bytes=30 * MIB))) == ["huge"]


def test_what_was_just_written_stays_though_it_alone_is_too_large():
    entries = [entry("old", 5), entry("fresh", 1, 100)]
    assert names(surplus(entries, Limits(size_bytes=30 * MIB), fresh="fresh")) == ["old"]


@pytest.mark.parametrize("said", [{}, {"target": 3}, {"target": {"gpu_name": "X"}}])
def test_what_does_not_say_what_it_is_for_goes(said):
    (removal,) = surplus([entry("orphan", 9, said=said)], Limits())
    assert removal.reason == "nothing says what it is for"


def test_a_timing_cache_is_a_purpose_of_its_own():
    timing = {name: facts()[name] for name in ("target", "version")}
    assert surplus([entry("a", 1), entry("t", 2, said=timing)], Limits(of_a_purpose=1)) == []


@pytest.fixture
def store(tmp_path):
    store = PrivateStore(tmp_path / "engines")
    for index in range(4):
        name = f"e{index}"
        with store.locked(name):
            store.write(name, facts(version=str(index)), b"x" * 1000, {})
        for path in store.folder.glob(f"{name}.*"):
            os.utime(path, (index, index))
    return store


def left(store):
    return sorted(path.stem for path in store.folder.glob("*.plan"))


def test_what_goes_is_said_and_gone(store):
    lines = prune(store, Limits(of_a_purpose=2))
    assert left(store) == ["e2", "e3"]
    assert [line.partition(" (0.0 MiB) is deleted: ")[0] for line in lines] == [
        str(store.path(name)) for name in ("e0", "e1")
    ]


def test_one_in_use_stays_and_is_the_newest(store):
    held = store.hold("e0")
    prune(store, Limits(of_a_purpose=1))
    assert left(store) == ["e0"]
    os.close(held)


def test_one_that_is_locked_stays_though_it_is_old(store):
    with store.locked("e0"):
        assert len(prune(store, Limits(of_a_purpose=1))) == 2
    assert left(store) == ["e0", "e3"]


def test_one_that_cannot_be_deleted_is_said_and_the_others_go(store):
    link = store.folder / "e0.use"
    link.symlink_to("/dev/null")
    os.utime(link, (0, 0), follow_symlinks=False)
    lines = prune(store, Limits(of_a_purpose=2))
    assert left(store) == ["e0", "e2", "e3"]
    assert "cannot be deleted" in lines[0]
