# SPDX-License-Identifier: Apache-2.0
"""What runs the model: TensorRT where it can, a refusal or the CPU where it cannot.

The GPU is a stand-in (tests/core/runtime/tensorrt/stand_ins.py); none of this ran on a real one.
"""

import pytest

pytest.importorskip("rclpy")

from imkd_core.errors import BackendError
from imkd_core.runtime.tensorrt import backend, engine_cache
from imkd_core.runtime.tensorrt.builder import BuiltEngine
from imkd_core.runtime.tensorrt.cuda import Cuda, load_cuda
from tests.core.runtime.tensorrt.stand_ins import StandInCudart, StandInTensorRt
from tests.ros.node_bench import CLEANUP, CONFIGURE, DEACTIVATE, Bench
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture
def make_bench(tmp_path, bundle, ros_environment):
    benches = []

    def make(**parameters):
        given = {"model.backend": "tensorrt", "model.engine_folder": str(tmp_path / "engines")}
        benches.append(Bench(tmp_path, bundle=bundle, **given, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


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


def test_an_engine_is_built_in_configure_with_progress_and_runs(make_bench, monkeypatch, capfd):
    cudart = StandInCudart()
    builds = []

    def build(tensorrt, source, target, cameras, *, timing, report):
        builds.append(cameras)
        report("builds the engine: phase 1 (4 s)")
        return BuiltEngine(plan=source.content, timing=b"", seconds=4.0)

    monkeypatch.setattr(backend, "load_cuda", lambda: Cuda(cudart))
    monkeypatch.setattr(backend, "import_tensorrt", lambda: StandInTensorRt(cudart))
    monkeypatch.setattr(engine_cache, "build_engine", build)
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: len(bench.boxes) > 2)
    assert bench.level("backend") is None
    log = capfd.readouterr().err
    assert "builds the engine: phase 1 (4 s)" in log
    assert "on tensorrt 11.4.0 fp32 on Stand-in GPU" in log
    assert [(c.least, c.most) for c in builds] == [(2, 2)]
    assert bench.change(DEACTIVATE)
    assert bench.change(CLEANUP)
    assert (cudart.memory, cudart.handles) == ({}, {})
