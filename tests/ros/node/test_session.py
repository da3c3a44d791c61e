# SPDX-License-Identifier: Apache-2.0
"""What runs the model: TensorRT where it can, a refusal or the CPU where it cannot.

The GPU is a stand-in (tests/core/runtime/tensorrt/stand_ins.py); none of this ran on a real one.
"""

import time

import pytest

pytest.importorskip("rclpy")

from imkd_core.errors import BackendError
from imkd_core.runtime.tensorrt import backend, cuda, engine_cache
from imkd_core.runtime.tensorrt.builder import BuiltEngine
from imkd_core.runtime.tensorrt.cuda import Cuda, load_cuda
from tests.core.runtime.tensorrt.stand_ins import (
    ILLEGAL_ADDRESS,
    NOT_READY,
    OUT_OF_MEMORY,
    StandInCudart,
    StandInTensorRt,
)
from tests.ros.node_bench import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, benches

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture
def make_bench(tmp_path, bundle, ros_environment):
    given = {"model.backend": "tensorrt", "model.engine_folder": str(tmp_path / "engines")}
    with benches(tmp_path, bundle=bundle, **given) as make:
        yield make


def needs_no_gpu():
    try:
        load_cuda().device()
    except BackendError:
        return
    pytest.skip("there is a GPU")


def test_without_a_gpu_configure_is_refused_and_the_cpu_is_named(make_bench, capfd):
    needs_no_gpu()
    bench = make_bench()
    assert not bench.change(CONFIGURE)
    assert bench.state() == "unconfigured"
    assert "'onnxruntime', which runs on the CPU" in capfd.readouterr().err


def test_without_a_gpu_the_cpu_takes_over_if_it_may_and_diagnostics_tell(make_bench, capfd):
    needs_no_gpu()
    bench = make_bench(**{"model.cpu_fallback": True})
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)
    assert bench.wait(lambda: bench.level("backend") == 1)
    assert "ONNX Runtime takes over" in bench.status("backend").message
    assert "ONNX Runtime takes over" in capfd.readouterr().err


class Gpu:
    """Stand-ins for CUDA and TensorRT, and the engines that were built."""

    def __init__(self, monkeypatch):
        self.cudart = StandInCudart()
        self.tensorrt = StandInTensorRt(self.cudart)
        self.builds = []
        self.cuda = Cuda(self.cudart)
        monkeypatch.setattr(backend, "load_cuda", lambda: self.cuda)
        monkeypatch.setattr(backend, "import_tensorrt", lambda: self.tensorrt)
        monkeypatch.setattr(engine_cache, "build_engine", self.build)

    def build(self, tensorrt, source, target, cameras, *, timing, report):
        self.builds.append(cameras)
        report("builds the engine: phase 1 (4 s)")
        return BuiltEngine(plan=source.content, timing=b"", seconds=4.0)


@pytest.fixture
def gpu(monkeypatch):
    return Gpu(monkeypatch)


def test_an_engine_is_built_in_configure_with_progress_and_runs(make_bench, gpu, capfd):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: len(bench.boxes) > 2)
    assert bench.level("backend") is None
    log = capfd.readouterr().err
    assert "builds the engine: phase 1 (4 s)" in log
    assert "on tensorrt 11.4.0 fp32 on Stand-in GPU" in log
    assert [(c.least, c.most) for c in gpu.builds] == [(2, 2)]
    assert bench.change(DEACTIVATE)
    assert bench.change(CLEANUP)
    assert (gpu.cudart.memory, gpu.cudart.handles) == ({}, {})


def running(make_bench, **parameters):
    """A node that has answered a frame, and when the boxes of then were taken away."""
    bench = make_bench(**parameters)
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)
    return bench


FAILURES = {"an error": ILLEGAL_ADDRESS, "out of memory": OUT_OF_MEMORY, "silence": NOT_READY}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_gpu_that_fails_while_it_runs_is_replaced_within_5_s_and_diagnostics_tell(
    make_bench, gpu, monkeypatch, capfd, failure
):
    monkeypatch.setattr(cuda, "PATIENCE_S", 1.0)
    bench = running(make_bench, **{"model.cpu_fallback": True})
    gpu.cudart.fail("StreamQuery", FAILURES[failure])
    failed_s, before = time.monotonic(), len(bench.boxes)
    assert bench.feed(lambda: bench.level("backend") == 1)
    assert bench.feed(lambda: len(bench.boxes) > before + 2)
    assert time.monotonic() - failed_s < 5
    text = bench.status("backend").message
    assert "ONNX Runtime takes over" in text
    assert "configured again" in text
    assert "ONNX Runtime takes over" in capfd.readouterr().err
    assert bench.level("frames") == 0


@pytest.mark.parametrize("failure", FAILURES)
def test_without_leave_to_fall_back_nothing_is_published_and_an_error_says_why(
    make_bench, gpu, monkeypatch, failure
):
    monkeypatch.setattr(cuda, "PATIENCE_S", 0.5)
    bench = running(make_bench)
    gpu.cudart.fail("StreamQuery", FAILURES[failure])
    failed_s = time.monotonic()
    assert bench.feed(lambda: bench.level("frames") == 2)
    assert time.monotonic() - failed_s < 5
    assert "GPU" in bench.status("frames").message or "CUDA" in bench.status("frames").message
    bench.boxes.clear()
    assert not bench.feed(lambda: bench.boxes, seconds=0.5)
    assert bench.level("backend") is None


def test_configuring_again_tries_the_gpu_anew(make_bench, gpu):
    bench = running(make_bench, **{"model.cpu_fallback": True})
    gpu.cudart.fail("StreamQuery", OUT_OF_MEMORY)
    assert bench.feed(lambda: bench.level("backend") == 1)
    gpu.cudart.heal()
    assert bench.change(DEACTIVATE)
    assert bench.change(CLEANUP)
    bench.diagnostics.clear()
    assert bench.change(CONFIGURE)
    assert bench.change(ACTIVATE)
    bench.calibrate()
    bench.boxes.clear()
    assert bench.feed(lambda: bench.boxes and bench.level("frames") == 0)
    assert bench.level("backend") is None


def test_a_gpu_that_the_process_has_lost_needs_a_new_process_and_diagnostics_say_so(
    make_bench, gpu
):
    bench = running(make_bench)
    gpu.cudart.fail("StreamQuery", ILLEGAL_ADDRESS)
    assert bench.feed(lambda: bench.level("frames") == 2)
    assert "end the process and start it again" in bench.status("frames").message
    gpu.cudart.heal()
    assert bench.change(DEACTIVATE)
    assert bench.change(CLEANUP)
    assert not bench.change(CONFIGURE)
    assert bench.wait(lambda: bench.level("configure") == 2)
    assert "configuring again cannot help" in bench.status("configure").message
