# SPDX-License-Identifier: Apache-2.0
"""A real builder, as the verb, on folders and disks that fail: said what to do, nothing half kept.

Faulty engine files are in test_engine_cache and test_private_store.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from imkd_core.resources import bundles
from imkd_core.runtime.tensorrt.engine_cache import EngineCache
from imkd_core.runtime.tensorrt.keys import CameraRange, Target
from imkd_core.runtime.tensorrt.private_store import PrivateStore
from tests.core.runtime.tensorrt.tiny_onnx import tiny_bundle, tiny_source

tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

NOBODY = 65534
ADA = Target.ahead_of_time((8, 9))
SIX = CameraRange.exactly(6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle")).root


def command(bundle, cache):
    arguments = ["--model", bundle, "--role", "fp32", "--compute-capability", "8.9"]
    return [sys.executable, "-m", "imkd_core", "build-engine", *arguments, "--cache", cache]


def build(bundle, cache, **options):
    return subprocess.run(
        list(map(str, command(bundle, cache))),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def left(folder):
    """Names of what lies in a folder, but for locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_builder_that_is_killed_while_it_builds_leaves_a_free_lock_alone(tmp_path):
    """The student that ships takes seconds to build; the kill comes after a fraction of one."""
    student = next(path for path in bundles() if path.name == "imkd_tiny")
    folder = tmp_path / "engines"
    with subprocess.Popen(
        list(map(str, command(student, folder))), stdout=subprocess.PIPE, text=True
    ) as process:
        assert "builds the fp32 engine" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert left(folder) == []
    (lock,) = folder.glob("*.lock")

    def fail():
        pytest.fail("the dead builder still holds its lock")

    with PrivateStore(folder).locked(lock.stem, fail):
        pass
    lines = []
    source = tiny_source(tmp_path)
    assert EngineCache(tensorrt, folder, lines.append).obtain(source, ADA, SIX).path.exists()
    assert any("nothing says what it is for" in line for line in lines)  # its lock is tidied away
    assert not lock.exists()


def test_a_file_size_limit_costs_the_keeping_alone_and_is_said(bundle, tmp_path):
    """As a full disk: the plan cannot be written to its end."""
    folder = tmp_path / "engines"
    done = build(
        bundle,
        folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be kept" in done.stdout
    assert "File too large" in done.stdout
    assert "make room, or name another folder" in done.stdout
    assert "not kept" in done.stdout
    assert left(folder) == []


@contextmanager
def small_disk(folder, size):
    """A file system of a few kilobytes; only root can make one, and not in every container."""
    folder.mkdir(mode=0o700)
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    options = f"size={size},mode=700"
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this container may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full_costs_the_keeping_alone_and_is_said(bundle, tmp_path):
    with small_disk(tmp_path / "engines", "16k") as folder:
        done = build(bundle, folder)
        assert done.returncode == 1, done.stderr
        assert "No space left on device" in done.stdout
        assert "make room, or name another folder" in done.stdout
        assert left(folder) == []
        (folder / "filler").write_bytes(b"")
        subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
        assert build(bundle, folder).returncode == 0
        assert len(list(folder.glob("*.plan"))) == 1


@contextmanager
def as_somebody():
    """Not as root, whom no permission stops; what is under test runs in this process."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def own_folder():
    """A folder that everybody can reach and that belongs to whom `as_somebody` is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
        if os.geteuid() == 0:
            os.chown(folder, 0, 0)


def test_engines_of_a_read_only_folder_are_loaded_and_others_built_and_not_kept(
    own_folder, tmp_path
):
    lines = []
    cache = EngineCache(tensorrt, own_folder / "engines", lines.append)
    source, other = tiny_source(tmp_path), tiny_source(tmp_path, seed=1)
    with as_somebody():
        kept = cache.obtain(source, ADA, SIX)
        (own_folder / "engines").chmod(0o500)
        again = cache.obtain(source, ADA, SIX)
        with cache.in_use(again):
            built = cache.obtain(other, ADA, SIX)
        (own_folder / "engines").chmod(0o700)
    assert again.build_s is None
    assert again.plan == kept.plan
    assert built.plan
    assert built.path is None
    assert any("cannot be kept" in line and "Permission denied" in line for line in lines)


def test_a_folder_that_cannot_be_made_costs_the_keeping_alone(own_folder, tmp_path):
    lines = []
    cache = EngineCache(tensorrt, own_folder / "engines", lines.append)
    source = tiny_source(tmp_path)
    with as_somebody():
        own_folder.chmod(0o500)
        built = cache.obtain(source, ADA, SIX)
        own_folder.chmod(0o700)
    assert built.plan
    assert built.path is None
    assert any("Permission denied" in line for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_folder_of_root_gives_nothing_to_somebody_else(own_folder, tmp_path):
    folder = own_folder / "engines"
    source = tiny_source(tmp_path)
    mine = EngineCache(tensorrt, folder).obtain(source, ADA, SIX)
    folder.chmod(0o755)
    mine.path.chmod(0o644)
    mine.path.with_suffix(".json").chmod(0o644)
    lines = []
    with as_somebody():
        built = EngineCache(tensorrt, folder, lines.append).obtain(source, ADA, SIX)
    assert built.build_s is not None
    assert built.path is None
    assert any("belongs to user 0, not to user 65534" in line for line in lines)
