# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show; skipped where there is none, and so never run so far."""

import importlib.util

import numpy as np
import pytest

from imkd_core.errors import BackendError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.backends import BackendSettings, OnnxRuntimeBackend
from imkd_core.runtime.tensorrt.backend import open_tensorrt
from imkd_core.runtime.tensorrt.builder import check_target
from imkd_core.runtime.tensorrt.cuda import load_cuda, pinned_array
from imkd_core.runtime.tensorrt.packages import import_tensorrt, is_tensorrt_installed
from tests.core.rigs import frame_of, rig_of
from tests.core.runtime.made_up_bundle import SPEC, make_bundle

COUNT = 1000


@pytest.fixture(scope="module")
def cuda():
    try:
        cuda = load_cuda()
        cuda.device()
    except BackendError as error:
        pytest.skip(f"no GPU: {error}")
    return cuda


def test_the_gpu_says_who_it_is(cuda):
    target = cuda.device()
    assert target.gpu_name
    assert target.compute_capability >= (5, 0)
    assert float(target.cuda_version) >= 11


def test_a_recording_copies_there_and_back(cuda):
    """Twice, with other values: what was recorded are places, not numbers."""
    size_bytes = COUNT * 4
    stream, device = cuda.new_stream(), cuda.allocate(size_bytes)
    source, target = cuda.allocate_host(size_bytes), cuda.allocate_host(size_bytes)
    cuda.begin_capture(stream)
    cuda.to_device(device, source, size_bytes, stream)
    cuda.to_host(target, device, size_bytes, stream)
    graph = cuda.end_capture(stream)
    for seed in range(2):
        values = np.random.default_rng(seed).normal(size=COUNT).astype(np.float32)
        pinned_array(source, (COUNT,), values.dtype)[...] = values
        cuda.launch(graph, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(pinned_array(target, (COUNT,), values.dtype), values)
    cuda.destroy_graph(graph)
    cuda.destroy_stream(stream)
    cuda.free(device)
    for address in (source, target):
        cuda.free_host(address)


def test_a_recording_that_is_broken_off_leaves_the_stream_usable(cuda):
    stream = cuda.new_stream()
    cuda.begin_capture(stream)
    cuda.abort_capture(stream)
    cuda.synchronize(stream)
    cuda.destroy_stream(stream)


def test_memory_that_is_not_there_is_an_error_with_a_remedy(cuda):
    with pytest.raises(BackendError, match="memory is full"):
        cuda.allocate(1 << 50)
    cuda.free(cuda.allocate(1 << 20))


@pytest.mark.skipif(not is_tensorrt_installed(), reason="TensorRT is not installed")
def test_tensorrt_agrees_with_onnx_runtime_and_finds_its_engine_again(cuda, tmp_path):
    if importlib.util.find_spec("tensorrt") is None:
        try:
            check_target(import_tensorrt(), cuda.device())
        except BackendError as error:
            pytest.skip(str(error))
    bundle = make_bundle(tmp_path / "bundle")
    settings = BackendSettings(backend="tensorrt", engine_folder=tmp_path / "engines", cameras=3)
    reference = OnnxRuntimeBackend(bundle.path("fp32"), threads=1)
    lines = []
    for _ in range(2):
        backend = open_tensorrt(bundle, settings, lines.append)
        for cameras in (3, 3, 3, 2, 3):
            rig = rig_of(cameras=cameras)
            inputs = prepare_inputs(frame_of(rig), rig, SPEC)
            found, expected = backend.run(inputs), reference.run(inputs)
            np.testing.assert_array_equal(found["labels"], expected["labels"])
            np.testing.assert_allclose(found["boxes"][:, 0], expected["boxes"][:, 0], atol=1e-3)
        backend.close()
    assert sum("builds the" in line for line in lines) >= 1
    assert any("is loaded" in line for line in lines)
    assert not any("no CUDA graph" in line for line in lines)
