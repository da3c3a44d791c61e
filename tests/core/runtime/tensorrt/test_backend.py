# SPDX-License-Identifier: Apache-2.0
"""The backend on stand-ins for CUDA and TensorRT. None of this ever ran on a GPU."""

import time

import numpy as np
import pytest

from imkd_core.errors import BackendError, BundleError, DeviceError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime import processor
from imkd_core.runtime.backends import BackendSettings, OnnxRuntimeBackend, open_backend
from imkd_core.runtime.bundle import write_bundle
from imkd_core.runtime.contract import input_contract, output_contract
from imkd_core.runtime.tensorrt import backend as module
from imkd_core.runtime.tensorrt import cuda, engine_cache
from imkd_core.runtime.tensorrt.backend import (
    TensorRtBackend,
    UnreadableEngineError,
    open_tensorrt,
)
from imkd_core.runtime.tensorrt.builder import BuiltEngine, build_engine
from imkd_core.runtime.tensorrt.cuda import Cuda, LostCudaError, SilentGpuError, load_cuda
from imkd_core.runtime.tensorrt.engine_cache import Engine
from imkd_core.runtime.tensorrt.keys import CameraRange, EngineKey, Target
from tests.core.rigs import frame_of, rig_of
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle
from tests.core.runtime.tensorrt.stand_ins import (
    ILLEGAL_ADDRESS,
    NOT_READY,
    NOT_SUPPORTED,
    OUT_OF_MEMORY,
    StandInCudart,
    StandInTensorRt,
)
from tests.core.runtime.tensorrt.tiny_onnx import tiny_source

TARGET = Target(gpu_name="Stand-in GPU", compute_capability=(8, 9), cuda_version="12.9")


def inputs_of(cameras, seed=0):
    rig = rig_of(cameras=cameras)
    inputs = prepare_inputs(frame_of(rig), rig, SPEC)
    shape = inputs["images"].shape
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return {**inputs, "images": images}


def engine_of(plan, is_kept=False):
    key = EngineKey(
        onnx_sha256="a" * 64,
        package="tensorrt",
        version="11.4.0",
        target=TARGET,
        cameras=CameraRange(),
        precision="fp16",
    )
    return Engine(plan=plan, key=key, path=None, build_s=None if is_kept else 1.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


class Bench:
    """A backend on stand-ins, and its reference."""

    def __init__(self, path, fail=None, **options):
        self.cudart = StandInCudart(fail)
        self.tensorrt = StandInTensorRt(self.cudart, **options)
        self.lines = []
        self.backend = TensorRtBackend(
            engine_of(path.read_bytes()),
            path,
            self.tensorrt,
            Cuda(self.cudart),
            self.lines.append,
        )
        self.reference = OnnxRuntimeBackend(path, threads=1)

    def check(self, inputs):
        found, expected = self.backend.run(inputs), self.reference.run(inputs)
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture
def bench(bundle):
    bench = Bench(bundle.path("fp32"))
    yield bench
    bench.backend.close()


def test_every_run_gives_what_the_graph_gives_also_from_the_recording(bench):
    for seed in range(4):
        bench.check(inputs_of(3, seed))
    assert bench.cudart.calls.count("StreamBeginCapture") == 1
    assert bench.cudart.calls.count("GraphLaunch") == 3


def test_another_number_of_cameras_is_recorded_anew(bench):
    for cameras in (2, 2, 5, 5, 1, 2, 2):
        bench.check(inputs_of(cameras, cameras))
    assert bench.cudart.calls.count("StreamBeginCapture") == 4
    assert bench.cudart.calls.count("GraphExecDestroy") == 3


def test_outputs_are_the_callers_own(bench):
    first = bench.backend.run(inputs_of(3, 1))
    boxes = first["boxes"].copy()
    bench.backend.run(inputs_of(3, 2))
    np.testing.assert_array_equal(first["boxes"], boxes)


def test_memory_is_taken_once_and_all_is_given_back(bundle):
    bench = Bench(bundle.path("fp32"))
    count = len(input_contract(SPEC)) + len(output_contract(SPEC, HEAD))
    assert len(bench.cudart.memory) == 2 * count
    for cameras in (3, 3, 8):
        bench.backend.run(inputs_of(cameras))
    assert len(bench.cudart.memory) == 2 * count
    bench.backend.close()
    bench.backend.close()
    assert (bench.cudart.memory, bench.cudart.handles) == ({}, {})
    with pytest.raises(BackendError, match="is closed"):
        bench.backend.run(inputs_of(3))


def test_inputs_and_outputs_are_known_by_name_and_type(bench):
    for name, spec in input_contract(SPEC).items():
        assert spec.accepts(bench.backend.inputs[name].dtype, bench.backend.inputs[name].shape)
    assert set(bench.backend.outputs) == set(output_contract(SPEC, HEAD))
    assert bench.backend.name == "tensorrt 11.4.0 fp16 on Stand-in GPU"


@pytest.mark.parametrize("calls", range(0, 25, 6))
@pytest.mark.parametrize("function", ["Malloc", "HostAlloc"])
def test_short_memory_is_said_and_what_was_taken_is_given_back(bundle, function, calls):
    cudart = StandInCudart({function: (calls // 2, OUT_OF_MEMORY)})
    path = bundle.path("fp32")
    with pytest.raises(BackendError, match="memory is full"):
        TensorRtBackend(engine_of(path.read_bytes()), path, StandInTensorRt(cudart), Cuda(cudart))
    assert (cudart.memory, cudart.handles) == ({}, {})


def test_a_context_that_finds_no_memory_is_said(bundle):
    cudart = StandInCudart()
    tensorrt, path = StandInTensorRt(cudart), bundle.path("fp32")
    tensorrt.has_context = False
    with pytest.raises(BackendError, match="no memory to run"):
        TensorRtBackend(engine_of(path.read_bytes()), path, tensorrt, Cuda(cudart))


@pytest.mark.parametrize(
    "function", ["StreamBeginCapture", "StreamEndCapture", "GraphInstantiateWithFlags"]
)
def test_without_recordings_it_runs_all_the_same_and_says_so_once(bundle, function):
    bench = Bench(bundle.path("fp32"), {function: (0, NOT_SUPPORTED)})
    for seed in range(3):
        bench.cudart._recorded = None  # a real capture ends with its failure
        bench.check(inputs_of(3, seed))
    assert len(bench.lines) == 1
    assert "no CUDA graph" in bench.lines[0]
    bench.backend.close()


def test_a_run_that_fails_says_so_and_the_next_one_works(bench):
    bench.tensorrt.is_failing = True
    with pytest.raises(BackendError, match="a kernel failed"):
        bench.backend.run(inputs_of(3))
    bench.tensorrt.is_failing = False
    bench.check(inputs_of(3, 1))


def test_values_that_are_not_finite_suppress_the_frame(tmp_path):
    bench = Bench(make_bundle(tmp_path / "b", scale=float("inf")).path("fp32"))
    with pytest.raises(BackendError, match="not finite in 'boxes'"):
        bench.backend.run(inputs_of(3))
    bench.backend.close()


def test_more_cameras_than_the_engine_was_built_for_are_refused_and_the_rest_works(bundle):
    bench = Bench(bundle.path("fp32"), cameras=(1, 4))
    with pytest.raises(BackendError, match=r"not built for \(outside the profile\)"):
        bench.backend.run(inputs_of(5))
    bench.check(inputs_of(4))
    bench.backend.close()


def padded(inputs, count):
    """The same with cameras behind that are masked."""
    open_axis = {name for name, spec in input_contract(SPEC).items() if spec.shape[0] is None}
    return {
        name: np.concatenate([v, np.zeros((count - len(v), *v.shape[1:]), v.dtype)])
        if name in open_axis
        else v
        for name, v in inputs.items()
    }


def test_a_rig_with_fewer_cameras_is_filled_up_with_masked_ones(bundle):
    bench = Bench(bundle.path("fp32"), cameras=(5, 5))
    for cameras in (5, 2, 0, 3, 5):
        inputs = inputs_of(cameras, cameras)
        found = bench.backend.run(inputs)
        expected = bench.reference.run(padded(inputs, 5))
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert bench.cudart.calls.count("StreamBeginCapture") == 1
    bench.backend.close()


@pytest.mark.parametrize("fault", ["missing", "dtype", "shape"])
def test_inputs_that_do_not_fit_are_refused(bench, fault):
    inputs = inputs_of(3)
    if fault == "missing":
        del inputs["radar_mask"]
    elif fault == "dtype":
        inputs["images"] = inputs["images"].astype(np.float32)
    else:
        inputs["radar_mask"] = np.zeros(2, np.float32)
    with pytest.raises(BackendError):
        bench.backend.run(inputs)


class OpenBench:
    """`open_tensorrt` on stand-ins; engines are built by copying the ONNX file."""

    def __init__(self, patch, folder):
        self.cudart = StandInCudart()
        self.tensorrt = StandInTensorRt(self.cudart)
        self.lines, self.builds, self.folder = [], [], folder / "engines"
        self.cuda = Cuda(self.cudart)
        patch.setattr(module, "load_cuda", lambda: self.cuda)
        patch.setattr(module, "import_tensorrt", lambda: self.tensorrt)
        patch.setattr(engine_cache, "build_engine", self.build)

    def build(self, tensorrt, source, target, cameras, *, timing, report):
        self.builds.append((target, cameras))
        return BuiltEngine(plan=source.content, timing=b"", seconds=1.0)

    def open(self, bundle, **options):
        settings = BackendSettings(backend="tensorrt", engine_folder=self.folder, **options)
        return open_backend(bundle, settings, self.lines.append)


@pytest.fixture
def open_bench(monkeypatch, tmp_path):
    return OpenBench(monkeypatch, tmp_path)


def test_opening_builds_once_for_this_gpu_and_the_rigs_cameras(open_bench, bundle):
    for _ in range(2):
        backend = open_bench.open(bundle, cameras=3)
        assert backend.run(inputs_of(3))["boxes"].shape == (HEAD.candidates, 10)
        backend.close()
    assert open_bench.builds == [(TARGET, CameraRange.exactly(3))]


def test_a_kept_engine_that_cannot_be_read_back_is_built_again_once(open_bench, bundle):
    open_bench.open(bundle).close()
    plan = bundle.path("fp32").read_bytes()
    first = True

    class Fickle(StandInTensorRt):
        def Runtime(self, logger):  # noqa: N802
            nonlocal first
            self.unreadable, first = ((plan,) if first else ()), False
            return super().Runtime(logger)

    open_bench.tensorrt = Fickle(open_bench.cudart)
    open_bench.open(bundle).close()
    assert len(open_bench.builds) == 2
    assert any("another GPU; it is built again" in line for line in open_bench.lines)


def test_a_folder_that_cannot_be_made_does_not_keep_the_model_from_running(
    open_bench, bundle, tmp_path
):
    (tmp_path / "file").write_text("")
    open_bench.folder = tmp_path / "file" / "engines"
    backend = open_bench.open(bundle)
    assert backend.run(inputs_of(3))
    backend.close()
    assert any("engines cannot be kept in" in line for line in open_bench.lines)


#: Fault of an engine's file -> what makes it; each is of the same size or less and would be run.
FAULTS = {
    "flipped": lambda plan: plan.write_bytes(plan.read_bytes()[:-1] + b"?"),
    "cut short": lambda plan: plan.write_bytes(plan.read_bytes()[:-1]),
    "world may write": lambda plan: plan.chmod(0o606),
    "a link": lambda plan: plan.symlink_to(plan.rename(plan.with_name("other"))),
    "world may write the folder": lambda plan: plan.parent.chmod(0o707),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_engine_never_reaches_tensorrt(open_bench, bundle, fault):
    open_bench.open(bundle).close()
    (plan,) = open_bench.folder.glob("*.plan")
    FAULTS[fault](plan)
    open_bench.tensorrt.deserialized.clear()
    open_bench.open(bundle).close()
    assert len(open_bench.builds) == 2
    assert open_bench.tensorrt.deserialized == [bundle.path("fp32").read_bytes()]


def test_a_new_engine_that_cannot_be_read_back_is_an_error(open_bench, bundle):
    open_bench.tensorrt.unreadable = (bundle.path("fp32").read_bytes(),)
    with pytest.raises(UnreadableEngineError, match="another GPU"):
        open_bench.open(bundle)
    assert len(open_bench.builds) == 1


@pytest.mark.parametrize(
    "change", [{"outputs": {"labels": None}}, {"inputs": {"spare": ("float32", (1,))}}]
)
def test_a_model_that_does_not_fit_its_bundle_is_refused_and_given_back(
    open_bench, tmp_path, change
):
    with pytest.raises(BackendError, match="do not fit"):
        open_bench.open(make_bundle(tmp_path / "b", **change))
    assert (open_bench.cudart.memory, open_bench.cudart.handles) == ({}, {})


@pytest.mark.parametrize("error", [BackendError("GPU full"), BundleError("no memory to build")])
def test_whatever_tensorrt_refuses_the_cpu_takes_over_if_it_may(
    open_bench, bundle, monkeypatch, error
):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(engine_cache, "build_engine", refuse)
    with pytest.raises(type(error)):
        open_bench.open(bundle)
    backend = open_bench.open(bundle, cpu_fallback=True, threads=1)
    assert backend.name.startswith("onnxruntime")
    assert str(error) in open_bench.lines[-1]
    assert (open_bench.cudart.memory, open_bench.cudart.handles) == ({}, {})


@pytest.mark.parametrize("code", [ILLEGAL_ADDRESS, OUT_OF_MEMORY])
def test_a_gpu_that_fails_while_it_runs_is_replaced_in_that_very_frame(open_bench, bundle, code):
    backend = open_bench.open(bundle, cpu_fallback=True, threads=1)
    reference = OnnxRuntimeBackend(bundle.path("fp32"), threads=1)
    assert backend.name.startswith("tensorrt")
    assert backend.substitution == ""
    open_bench.cudart.fail("StreamQuery", code)
    inputs = inputs_of(3)
    np.testing.assert_array_equal(backend.run(inputs)["boxes"], reference.run(inputs)["boxes"])
    assert backend.name.startswith("onnxruntime")
    assert f"error {code}" in backend.substitution
    assert open_bench.lines[-1] == backend.substitution
    assert (open_bench.cudart.memory, open_bench.cudart.handles) == ({}, {})


def test_without_leave_to_fall_back_every_run_is_an_error_that_names_the_cpu(open_bench, bundle):
    backend = open_bench.open(bundle)
    open_bench.cudart.fail("StreamQuery", OUT_OF_MEMORY)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"error 2.*runs on the CPU"):
            backend.run(inputs_of(3))
    open_bench.cudart.heal()
    assert backend.run(inputs_of(3))["boxes"].shape == (HEAD.candidates, 10)


def test_a_gpu_that_this_process_has_lost_is_neither_run_nor_opened_again(open_bench, bundle):
    backend = open_bench.open(bundle)
    open_bench.cudart.fail("StreamQuery", ILLEGAL_ADDRESS)
    with pytest.raises(LostCudaError, match=r"error 700.*end the process and start it again"):
        backend.run(inputs_of(3))
    open_bench.cudart.heal()
    before = len(open_bench.cudart.calls)
    with pytest.raises(LostCudaError, match="end the process"):
        backend.run(inputs_of(3))
    assert len(open_bench.cudart.calls) == before
    backend.close()
    assert (open_bench.cudart.memory, open_bench.cudart.handles) == ({}, {})
    with pytest.raises(LostCudaError, match="configuring again cannot help"):
        open_bench.open(bundle)
    backend = open_bench.open(bundle, cpu_fallback=True, threads=1)
    assert "end the process" in backend.substitution


def test_closing_gives_all_back_also_where_the_recording_is_not_taken_back(bundle):
    bench = Bench(bundle.path("fp32"))
    for seed in range(2):
        bench.backend.run(inputs_of(3, seed))
    bench.cudart.fail("GraphExecDestroy", NOT_SUPPORTED)
    bench.cudart.fail("StreamDestroy", OUT_OF_MEMORY)
    with pytest.raises(DeviceError, match="cudaGraphExecDestroy"):
        bench.backend.close()
    assert bench.cudart.memory == {}
    assert bench.backend._engine is None
    bench.backend.close()


def test_what_keeps_a_model_from_opening_is_said_also_where_closing_fails(open_bench, bundle):
    open_bench.cudart.fail("StreamQuery", NOT_SUPPORTED)
    open_bench.cudart.fail("StreamDestroy", OUT_OF_MEMORY)
    with pytest.raises(DeviceError, match="cudaStreamQuery"):
        open_bench.open(bundle)


def test_a_gpu_that_does_not_answer_is_given_up_in_time_and_never_waited_for_again(
    open_bench, bundle, monkeypatch
):
    monkeypatch.setattr(cuda, "PATIENCE_S", 0.05)
    backend = open_bench.open(bundle)
    open_bench.cudart.fail("StreamQuery", NOT_READY)
    with pytest.raises(SilentGpuError, match="did not answer within"):
        backend.run(inputs_of(3))
    before = len(open_bench.cudart.calls)
    with pytest.raises(SilentGpuError, match="has to be opened again"):
        backend.run(inputs_of(3))
    backend.close()
    assert len(open_bench.cudart.calls) == before


def test_patience_with_a_gpu_and_the_cpus_start_fit_into_the_5_s_that_are_promised():
    assert cuda.PATIENCE_S <= 4


@pytest.mark.parametrize("function", ["StreamQuery", "MemcpyAsync"])
def test_what_fails_at_its_first_run_fails_when_it_is_opened(open_bench, bundle, function):
    open_bench.cudart.fail(function, ILLEGAL_ADDRESS)
    with pytest.raises(DeviceError, match="error 700"):
        open_bench.open(bundle)
    assert (open_bench.cudart.memory, open_bench.cudart.handles) == ({}, {})
    assert open_bench.open(bundle, cpu_fallback=True).name.startswith("onnxruntime")


def test_each_runner_gets_the_file_that_the_bundle_recommends_for_it(
    open_bench, tmp_path, monkeypatch
):
    monkeypatch.setattr(processor, "has_int8_products", lambda: True)
    plain = make_bundle(tmp_path / "b")
    bundle = write_bundle(
        plain.root,
        name="tiny",
        inputs=SPEC,
        head=HEAD,
        files=dict.fromkeys(("fp32", "fp16", "int8_u8"), "model.onnx"),
        provenance={"recommended": {"tensorrt": "fp16", "cpu": "int8_u8"}},
        producer={},
    )
    backend = open_bench.open(bundle, role="auto")
    assert " fp16 on " in backend.name
    backend.close()
    open_bench.cudart.fail("StreamQuery", ILLEGAL_ADDRESS)
    backend = open_bench.open(bundle, role="fp16", cpu_fallback=True)
    assert backend.name.endswith("CPUExecutionProvider")
    assert (
        "CPUExecutionProvider runs the int8_u8 file: the bundle recommends it" in open_bench.lines
    )


def test_a_role_that_the_bundle_lacks_is_refused(open_bench, bundle):
    with pytest.raises(BundleError, match="no 'fp16'"):
        open_bench.open(bundle, role="fp16")


def needs_no_gpu():
    try:
        load_cuda().device()
    except BackendError:
        return
    pytest.skip("there is a GPU")


def test_without_a_gpu_it_is_refused_within_seconds_and_the_cpu_is_named(bundle):
    needs_no_gpu()
    start_s = time.monotonic()
    with pytest.raises(BackendError, match="'onnxruntime', which runs on the CPU"):
        open_tensorrt(bundle, BackendSettings(backend="tensorrt"))
    assert time.monotonic() - start_s < 5


def test_without_a_gpu_the_cpu_takes_over_where_that_is_asked_for(bundle):
    needs_no_gpu()
    lines = []
    settings = BackendSettings(backend="tensorrt", cpu_fallback=True, threads=1)
    backend = open_backend(bundle, settings, lines.append)
    assert backend.name.startswith("onnxruntime")
    assert backend.run(inputs_of(3))
    assert "ONNX Runtime takes over" in lines[-1]


def test_the_real_tensorrt_rtx_says_why_it_cannot_read_an_engine_back(tmp_path):
    """It builds without a GPU; reading back needs one, and says so."""
    tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    needs_no_gpu()
    source = tiny_source(tmp_path)
    built = build_engine(tensorrt, source, Target.ahead_of_time((8, 9)), CameraRange())
    with pytest.raises(UnreadableEngineError, match=r"cannot read .* back: .*[Cc]uda"):
        TensorRtBackend(engine_of(built.plan), source.path, tensorrt, Cuda(StandInCudart()))
