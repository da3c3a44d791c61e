# SPDX-License-Identifier: Apache-2.0
"""Nothing is read but what this user wrote, whole, for this purpose."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from imkd_core.runtime.tensorrt import private_store
from imkd_core.runtime.tensorrt.private_files import UntrustedError
from imkd_core.runtime.tensorrt.private_store import PrivateStore

NAME, FACTS, CONTENT = "engine", {"gpu": "X", "cameras": [1, 2]}, b"native code" * 100
NOBODY = 65534


@pytest.fixture
def store(tmp_path):
    store = PrivateStore(tmp_path / "made" / "engines")
    with store.locked(NAME):
        store.write(NAME, FACTS, CONTENT, {"seconds": 1.0})
    return store


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def exchange(path, make):
    path.unlink()
    make(path)


def link(path):
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


def test_what_was_written_is_read_back(store):
    reading = store.read(NAME, FACTS)
    assert (reading.content, reading.refusal) == (CONTENT, "")


def test_folder_and_files_are_the_users_alone(store):
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    for path in store.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_is_not_there_is_no_refusal(store, tmp_path):
    assert store.read("another", FACTS) == PrivateStore(tmp_path / "none").read(NAME, FACTS)
    assert store.read("another", FACTS).refusal == ""


FAULTS = {
    "a flipped bit": (lambda p, s: flip(p), "digest"),
    "cut short": (lambda p, s: p.write_bytes(p.read_bytes()[:-1]), "bytes instead of"),
    "empty": (lambda p, s: p.write_bytes(b""), "bytes instead of"),
    "no sidecar": (lambda p, s: s.unlink(), "no sidecar"),
    "sidecar damaged": (lambda p, s: s.write_text("{"), "sidecar is damaged"),
    "sidecar no mapping": (lambda p, s: s.write_text("[1]"), "another version"),
    "sidecar of another version": (lambda p, s: edit(s, schema_version=0), "another version"),
    "for something else": (lambda p, s: edit(s, facts={"gpu": "Y"}), "for something else"),
    "group may write": (lambda p, s: p.chmod(0o620), "written by others"),
    "world may write": (lambda p, s: p.chmod(0o602), "written by others"),
    "world may write the sidecar": (lambda p, s: s.chmod(0o602), "written by others"),
    "group may write the folder": (lambda p, s: p.parent.chmod(0o770), "chmod 700"),
    "world may write the folder": (lambda p, s: p.parent.chmod(0o707), "chmod 700"),
    "a link": (lambda p, s: link(p), "is a link"),
    "a link as sidecar": (lambda p, s: link(s), "is a link"),
    "the folder is a link": (lambda p, s: link(p.parent), "is a link"),
    "a folder": (lambda p, s: exchange(p, lambda q: q.mkdir()), "no regular file"),
    "a pipe": (lambda p, s: exchange(p, os.mkfifo), "no regular file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_and_said_why(store, fault):
    do, message = FAULTS[fault]
    do(store.path(NAME), store.folder / f"{NAME}.json")
    reading = store.read(NAME, FACTS)
    assert reading.content is None
    assert message in reading.refusal


def test_files_of_another_user_are_refused(store, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    reading = store.read(NAME, FACTS)
    assert reading.content is None
    assert "belongs to user" in reading.refusal
    with pytest.raises(UntrustedError), store.locked(NAME):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", [".", f"{NAME}.plan", f"{NAME}.json"])
def test_files_that_were_given_away_are_refused(store, what):
    os.chown(store.folder / what, NOBODY, NOBODY)
    reading = store.read(NAME, FACTS)
    assert reading.content is None
    assert "belongs to user 65534" in reading.refusal


def test_other_facts_do_not_get_it(store):
    assert store.read(NAME, {**FACTS, "gpu": "Y"}).content is None


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind_and_the_old_file_whole(store, monkeypatch, call):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"), store.locked(NAME):
            store.write(NAME, FACTS, b"new", {})
    assert store.read(NAME, FACTS).content == CONTENT
    assert not list(store.folder.glob(".*"))


def run_child(code, *arguments):
    program = "import os, signal, sys\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=False, timeout=60
    )


@pytest.mark.parametrize("files", [0, 1])
def test_a_writer_that_is_killed_leaves_no_half_file_under_the_final_name(tmp_path, files):
    """Killed before the first or the second of the two files is moved into place."""
    store = PrivateStore(tmp_path / "engines")
    child = run_child(
        """
        from pathlib import Path
        from imkd_core.runtime.tensorrt.private_store import PrivateStore
        left, move = [int(sys.argv[2])], os.replace
        def replace(*a, **k):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            move(*a, **k)
        os.replace = replace
        store = PrivateStore(Path(sys.argv[1]))
        with store.locked("engine"):
            store.write("engine", {}, b"x" * 10_000_000, {})
        """,
        store.folder,
        files,
    )
    assert child.returncode == -signal.SIGKILL
    assert store.path(NAME).exists() == bool(files)
    reading = store.read(NAME, {})
    assert reading.content is None
    assert reading.refusal == ("it has no sidecar" if files else "")
    with store.locked(NAME):  # the dead process holds no lock, and its leftovers hinder nobody
        store.write(NAME, {}, CONTENT, {})
    assert store.read(NAME, {}).content == CONTENT
    assert not list(store.folder.glob(".*"))


def test_a_lock_keeps_others_out_until_it_is_given_back(store):
    waits = []

    class EnoughError(Exception):
        pass

    def wait():
        waits.append(1)
        if len(waits) == 2:
            raise EnoughError

    with store.locked(NAME):
        with store.locked("another", wait):
            assert not waits
        with pytest.raises(EnoughError), store.locked(NAME, wait):
            pass
    with store.locked(NAME, wait):
        assert len(waits) == 2


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    store = PrivateStore(tmp_path / "file" / "engines")
    with pytest.raises(OSError, match="file"), store.locked(NAME):
        pass
    assert store.read(NAME, FACTS).content is None


def put(store, name, content=CONTENT, facts=FACTS):
    with store.locked(name):
        store.write(name, facts, content, {})


def names(store):
    return sorted(entry.name for entry in store.entries())


def test_entries_say_what_is_there_how_large_and_for_what(store):
    put(store, "another", b"x" * 5000, {"gpu": "Y"})
    (store.folder / "readme.txt").write_text("not ours")
    by_name = {entry.name: entry for entry in store.entries()}
    assert {name: entry.facts for name, entry in by_name.items()} == {
        NAME: FACTS,
        "another": {"gpu": "Y"},
    }
    assert by_name["another"].size_bytes > 5000
    assert PrivateStore(store.folder / "none").entries() == []


@pytest.mark.parametrize("fault", ["no sidecar", "sidecar damaged", "world may write the sidecar"])
def test_an_entry_whose_sidecar_cannot_be_believed_is_for_nothing(store, fault):
    FAULTS[fault][0](store.path(NAME), store.folder / f"{NAME}.json")
    assert [dict(entry.facts) for entry in store.entries()] == [{}]


def test_what_is_removed_leaves_nothing_and_all_else_stays(store):
    put(store, "another")
    (store.folder / "readme.txt").write_text("not ours")
    (store.folder / f".{NAME}.plan.tmp").write_text("left by a killed builder")
    (entry,) = (entry for entry in store.entries() if entry.name == NAME)
    assert store.remove(entry)
    left = sorted(path.name for path in store.folder.iterdir())
    assert left == ["another.json", "another.lock", "another.plan", "readme.txt"]
    assert store.read(NAME, FACTS).refusal == ""


def test_what_is_held_or_locked_is_not_removed(store):
    (entry,) = store.entries()
    held = store.hold(NAME)
    assert not store.remove(entry)
    os.close(held)
    with store.locked(NAME):
        assert not store.remove(entry)
    assert store.read(NAME, FACTS).content == CONTENT
    assert store.remove(entry)
    assert names(store) == []


def test_what_was_written_anew_since_it_was_listed_is_not_removed(store):
    (entry,) = store.entries()
    put(store, NAME, CONTENT, {"gpu": "Y"})
    assert not store.remove(entry)


def test_several_hold_one_name_and_holding_makes_it_the_newest(store):
    put(store, "another")
    os.utime(store.path(NAME), (0, 0))
    first, second = store.hold(NAME), store.hold(NAME)
    newest = max(store.entries(), key=lambda entry: entry.used_ns)
    assert newest.name == NAME
    os.close(first)
    assert not store.remove(newest)
    os.close(second)
    assert store.remove(newest)


def test_a_folder_that_cannot_be_written_holds_nothing(store, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(private_store, "open_lock", refuse)
    assert store.hold(NAME) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_listed(store):
    os.chown(store.path(NAME), NOBODY, NOBODY)
    assert store.entries() == []


def test_a_lock_whose_file_was_removed_while_it_was_waited_for_is_taken_anew(store):
    """Two builders never hold locks on two files of one name."""
    with store.locked(NAME):
        lock = store.folder / f"{NAME}.lock"

        def remove():
            lock.unlink(missing_ok=True)
            raise TimeoutError

        with pytest.raises(TimeoutError), store.locked(NAME, remove):
            pass
    with store.locked(NAME):
        assert lock.exists()
