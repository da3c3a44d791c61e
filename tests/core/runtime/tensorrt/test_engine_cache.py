# SPDX-License-Identifier: Apache-2.0
"""The cache with a real builder: what is kept is found, all else is built, nothing else is read."""

import errno
import functools
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from imkd_core.errors import BundleError, ConfigError
from imkd_core.runtime.tensorrt import engine_cache
from imkd_core.runtime.tensorrt.engine_cache import EngineCache, default_folder
from imkd_core.runtime.tensorrt.keys import CameraRange, Target
from imkd_core.runtime.tensorrt.private_store import PrivateStore
from imkd_core.runtime.tensorrt.pruning import Limits
from tests.core.runtime.tensorrt.tiny_onnx import tiny_source

tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

TARGET = Target(gpu_name="GPU X", compute_capability=(8, 9), cuda_version="13.0")
NOBODY = 65534
SIX = CameraRange.exactly(6)


class Bench:
    """A cache on a folder of its own, and what it said."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = []
        self.cache = EngineCache(tensorrt, folder / "engines", self.lines.append)
        self.source = tiny_source(folder)

    def obtain(self, target=TARGET, cameras=SIX, source=None, **options):
        return self.cache.obtain(source or self.source, target, cameras, **options)

    def said(self, text):
        return [line for line in self.lines if text in line]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def kept(bench):
    """A bench with one engine, and that engine."""
    engine = bench.obtain()
    bench.lines.clear()
    return bench, engine


def test_an_engine_is_built_once_and_found_from_then_on(bench):
    first, second = bench.obtain(), bench.obtain()
    assert first.build_s > 0
    assert second.build_s is None
    assert (first.plan, first.path, first.key) == (second.plan, second.path, second.key)
    assert first.path.read_bytes() == first.plan
    assert len(bench.said("builds the fp32 engine")) == 1
    assert len(bench.said("is loaded")) == 1


CHANGES = {
    "GPU name": {"target": replace(TARGET, gpu_name="GPU Y")},
    "compute capability": {"target": replace(TARGET, compute_capability=(8, 6))},
    "CUDA version": {"target": replace(TARGET, cuda_version="13.1")},
    "cameras": {"cameras": CameraRange()},
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_engine_for_something_else_is_not_found(kept, change):
    bench, engine = kept
    other = bench.obtain(**CHANGES[change])
    assert other.build_s is not None
    assert other.path != engine.path
    assert bench.obtain().build_s is None


REASONS = {
    "GPU name": "GPU 'GPU X' (here 'GPU Y')",
    "compute capability": "compute capability 8.9 (here 8.6)",
    "CUDA version": "CUDA 13.0 (here 13.1)",
}


@pytest.mark.parametrize("change", REASONS)
def test_why_an_engine_of_the_same_model_does_not_serve_is_said_and_it_is_not_read(
    kept, change, monkeypatch
):
    bench, engine = kept
    real, read = PrivateStore.read, []

    def watched(store, name, facts):
        read.append(name)
        return real(store, name, facts)

    monkeypatch.setattr(PrivateStore, "read", watched)
    bench.obtain(**CHANGES[change])
    (line,) = bench.said("not loaded")
    assert str(engine.path) in line
    assert f"it is for {REASONS[change]}; one is built" in line
    assert engine.path.stem not in read


def test_the_engine_that_comes_nearest_is_the_one_that_is_told_of(kept):
    bench, engine = kept
    far = Target(gpu_name="GPU Z", compute_capability=(8, 6), cuda_version="12.0")
    bench.obtain(far)
    bench.lines.clear()
    bench.obtain(replace(TARGET, cuda_version="13.1"))
    (line,) = bench.said("not loaded")
    assert str(engine.path) in line


@pytest.mark.parametrize("options", [{"cameras": CameraRange()}, {"is_anew": True}])
def test_engines_for_other_cameras_or_built_anew_on_purpose_need_no_reason(kept, options):
    bench, _ = kept
    bench.obtain(**options)
    assert not bench.said("not loaded")


def test_an_engine_of_another_file_or_precision_is_not_found(kept):
    bench, engine = kept
    for source in (
        tiny_source(bench.folder, seed=1),
        tiny_source(bench.folder, "fp16"),
        replace(bench.source, precision="other"),
    ):
        other = bench.obtain(source=source)
        assert other.build_s is not None
        assert other.path != engine.path


def test_an_engine_of_another_version_of_tensorrt_is_not_found(kept, monkeypatch):
    bench, engine = kept
    monkeypatch.setattr(tensorrt, "__version__", "99.0")
    other = bench.obtain()
    assert other.build_s is not None
    assert other.path != engine.path
    assert bench.said("(here 'tensorrt_rtx 99.0')")


def given_away(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, NOBODY, NOBODY)


FAULTS = {
    "flipped": lambda plan: plan.write_bytes(
        bytes([plan.read_bytes()[0] ^ 1]) + plan.read_bytes()[1:]
    ),
    "cut short": lambda plan: plan.write_bytes(plan.read_bytes()[:1000]),
    "world may write": lambda plan: plan.chmod(0o666),
    "empty": lambda plan: plan.write_bytes(b""),
    "group may write the sidecar": lambda plan: plan.with_suffix(".json").chmod(0o620),
    "no sidecar": lambda plan: plan.with_suffix(".json").unlink(),
    "given to another user": lambda plan: given_away(plan),
    "a link": lambda plan: plan.symlink_to(plan.rename(plan.with_name("other"))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_engine_is_built_again_replaced_and_said_why(kept, fault):
    bench, engine = kept
    FAULTS[fault](engine.path)
    again = bench.obtain()
    assert again.build_s is not None
    assert again.path == engine.path
    assert bench.said("is not loaded: ")
    assert bench.said("it is built again")
    assert bench.obtain().build_s is None


def test_another_engine_under_this_ones_name_is_not_loaded(kept):
    bench, engine = kept
    other = bench.obtain(source=tiny_source(bench.folder, seed=1))
    for suffix in (".plan", ".json"):
        other.path.with_suffix(suffix).replace(engine.path.with_suffix(suffix))
    again = bench.obtain()
    assert again.build_s is not None
    assert bench.said("for something else")


def test_a_folder_that_others_may_write_is_neither_read_nor_written(kept):
    bench, engine = kept
    engine.path.parent.chmod(0o777)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in engine.path.parent.iterdir())
    again = bench.obtain()
    assert again.build_s is not None
    assert again.path is None
    assert bench.said("cannot be kept")
    assert bench.said("chmod 700")
    assert sorted((p.name, p.stat().st_mtime_ns) for p in engine.path.parent.iterdir()) == before


def test_a_folder_of_another_user_is_neither_read_nor_written(kept, monkeypatch):
    bench, _ = kept
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    again = bench.obtain()
    assert again.build_s is not None
    assert again.path is None
    assert bench.said("belongs to user")


def test_a_full_disk_costs_the_keeping_alone(bench, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    engine = bench.obtain()
    assert engine.plan
    assert engine.path is None
    assert bench.said("No space left")
    assert not list((bench.folder / "engines").glob("*.plan"))


def test_an_engine_of_a_folder_that_cannot_be_written_is_still_loaded(kept, monkeypatch):
    bench, engine = kept

    def refuse(store, name, on_wait):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(PrivateStore, "locked", refuse)
    assert bench.obtain().plan == engine.plan
    other = bench.obtain(cameras=CameraRange())
    assert other.plan
    assert other.path is None
    assert bench.said("Read-only file system")


def test_an_engine_is_replaced_when_it_is_asked_for_anew(kept):
    bench, engine = kept
    again = bench.obtain(is_anew=True)
    assert again.build_s is not None
    assert again.path == engine.path
    assert bench.obtain().plan == again.plan


def test_an_engine_built_ahead_of_time_serves_gpus_of_its_compute_capability_alone(bench):
    ahead = bench.obtain(Target.ahead_of_time((8, 9)))
    assert bench.obtain().plan == ahead.plan
    assert bench.obtain().build_s is None
    bench.lines.clear()
    assert bench.obtain(replace(TARGET, compute_capability=(8, 6))).build_s is not None
    assert bench.said("it is for compute capability 8.9 (here 8.6)")


def test_a_file_that_tensorrt_refuses_leaves_nothing_and_no_lock(bench):
    broken = replace(bench.source, content=b"no onnx")
    for _ in range(2):
        with pytest.raises(BundleError, match="parser refuses"):
            bench.obtain(source=broken)
    assert not list((bench.folder / "engines").glob("*.plan"))


def test_a_timing_cache_is_kept_and_given_to_the_next_build(bench, monkeypatch):
    """TensorRT-RTX has none, so the builder is stood in for."""
    given = []

    def build(*arguments, timing, report):
        given.append(timing)
        return engine_cache.BuiltEngine(plan=b"p", timing=b"t%d" % len(given), seconds=0.1)

    monkeypatch.setattr(engine_cache, "build_engine", build)
    for seed in range(3):
        bench.obtain(source=tiny_source(bench.folder, seed=seed))
    assert given == [b"", b"t1", b"t2"]
    next((bench.folder / "engines").glob("timing-*.plan")).chmod(0o666)
    bench.obtain(source=tiny_source(bench.folder, seed=3))
    assert given[-1] == b""


def test_old_engines_go_when_a_new_one_is_kept_and_never_the_one_in_use(bench):
    cache = EngineCache(
        tensorrt, bench.folder / "engines", bench.lines.append, Limits(of_a_purpose=2)
    )
    sources = [tiny_source(bench.folder, seed=seed) for seed in range(4)]
    first = cache.obtain(sources[0], TARGET, SIX)
    with cache.in_use(first):
        paths = [cache.obtain(source, TARGET, SIX).path for source in sources[1:]]
        assert [path.exists() for path in (first.path, *paths)] == [True, False, True, True]
    assert len(bench.said("is deleted: there are 2 newer ones for fp32 on GPU GPU X")) == 1
    assert cache.obtain(sources[0], TARGET, SIX).build_s is None


def test_a_folder_whose_old_engines_cannot_go_still_keeps_the_new_one(bench, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(engine_cache, "prune", refuse)
    assert bench.obtain().path.exists()
    assert bench.said("cannot be deleted: ")


CHILD = """
    import sys
    from pathlib import Path
    import tensorrt_rtx
    from imkd_core.runtime.tensorrt.builder import Source
    from imkd_core.runtime.tensorrt.engine_cache import EngineCache
    from imkd_core.runtime.tensorrt.keys import CameraRange, Target
    from imkd_core.runtime.tensorrt import engine_cache
    def say(text):
        print(text, flush=True)
    build = engine_cache.build_engine
    def slow(*arguments, **options):
        say("child builds")
        sys.stdin.readline()
        return build(*arguments, **options)
    engine_cache.build_engine = slow
    cache = EngineCache(tensorrt_rtx, Path(sys.argv[1]), say)
    source = Source.read(Path(sys.argv[2]), "fp32")
    target = Target(gpu_name="GPU X", compute_capability=(8, 9), cuda_version="13.0")
    engine = cache.obtain(source, target, CameraRange.exactly(6))
    say(f"child has it, built {engine.build_s is not None}")
"""


@pytest.fixture
def child(bench):
    """A process that wants the bench's engine, and waits for a line before it builds."""
    arguments = [bench.folder / "engines", bench.source.path]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "child builds\n"
        yield process
        process.kill()


def test_of_two_processes_one_builds_and_the_other_waits_and_loads(bench, child):
    def let_it_build(text):
        if "another process builds" in text:
            child.stdin.write("\n")
            child.stdin.flush()
        bench.lines.append(text)

    cache = EngineCache(tensorrt, bench.folder / "engines", let_it_build)
    engine = cache.obtain(bench.source, TARGET, SIX)
    assert engine.build_s is None
    assert len(bench.said("another process builds")) == 1
    assert "built True" in child.communicate(timeout=60)[0]


def test_a_builder_that_is_killed_leaves_nothing_and_the_next_one_builds(bench, child):
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not list((bench.folder / "engines").glob("*.plan"))
    assert bench.obtain().build_s is not None
    assert bench.obtain().build_s is None


def test_waiting_is_said_at_once_and_then_now_and_then(bench, monkeypatch):
    key = bench.source.key(tensorrt, TARGET, SIX)
    times = iter([0.0, 0.0, 1.0, 3.9, 4.0, 5.0, 8.5])
    monkeypatch.setattr(engine_cache.time, "monotonic", functools.partial(next, times))
    wait = bench.cache._waiting(key)
    for _ in range(6):
        wait()
    assert [line.rpartition("(")[2] for line in bench.lines] == ["0 s)", "4 s)", "8 s)"]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/imkd/engines"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/imkd/engines"),
        ({"HOME": "/h"}, "/h/.cache/imkd/engines"),
    ],
)
def test_the_folder_is_in_the_users_cache(monkeypatch, environment, folder):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(default_folder()) == folder


def test_without_a_home_the_parameter_is_named(monkeypatch):
    def none():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(engine_cache.Path, "home", none)
    with pytest.raises(ConfigError, match=r"model\.engine_folder"):
        default_folder()
