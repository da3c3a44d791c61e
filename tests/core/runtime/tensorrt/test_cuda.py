# SPDX-License-Identifier: Apache-2.0
"""Every call of CUDA is checked, and the real library says on this machine what is amiss."""

import ctypes

import numpy as np
import pytest

from imkd_core.errors import BackendError
from imkd_core.runtime.tensorrt import cuda as module
from imkd_core.runtime.tensorrt.cuda import Cuda, LostCudaError, load_cuda, pinned_array
from imkd_core.runtime.tensorrt.keys import Target
from tests.core.runtime.tensorrt.stand_ins import (
    ILLEGAL_ADDRESS,
    NO_DEVICE,
    OUT_OF_MEMORY,
    StandInCudart,
)


def real_cuda():
    try:
        return load_cuda()
    except BackendError:
        pytest.skip("libcudart is not installed")


def test_without_a_gpu_the_real_library_says_so_and_the_cpu_is_named():
    cuda = real_cuda()
    try:
        cuda.device()
    except BackendError as error:
        text = str(error)
    else:
        pytest.skip("there is a GPU")
    assert text.startswith("CUDA: cudaGetDeviceCount: ")
    assert "'onnxruntime', which runs on the CPU" in text
    for call in (lambda: cuda.allocate(64), cuda.new_stream, lambda: cuda.allocate_host(64)):
        with pytest.raises(BackendError, match="CUDA: cuda"):
            call()


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(module, "_candidates", lambda: iter(["libnone.so"]))
    with pytest.raises(BackendError, match=r"nvidia-cuda-runtime.*'onnxruntime'"):
        load_cuda()


def test_a_library_that_lacks_a_function_is_too_old():
    library = StandInCudart()
    del library.cudaGraphInstantiateWithFlags
    with pytest.raises(BackendError, match="lacks cudaGraphInstantiateWithFlags"):
        Cuda(library)


def test_the_gpu_is_described():
    assert Cuda(StandInCudart()).device() == Target(
        gpu_name="Stand-in GPU", compute_capability=(8, 9), cuda_version="12.9"
    )


@pytest.mark.parametrize(
    ("library", "message"),
    [
        (StandInCudart(devices=0), f"code {NO_DEVICE}.*nvidia-smi"),
        (StandInCudart({"GetDeviceCount": (0, NO_DEVICE)}), "no NVIDIA GPU is visible"),
        (StandInCudart({"GetDeviceCount": (0, 35)}), "install a newer one"),
        (StandInCudart({"GetDeviceProperties": (0, 46)}), "GetDeviceProperties.*kernel log"),
    ],
)
def test_a_gpu_that_cannot_be_had_is_said_with_the_remedy(library, message):
    with pytest.raises(BackendError, match=message):
        Cuda(library).device()


def test_full_memory_is_said_with_the_remedy():
    cuda = Cuda(StandInCudart({"Malloc": (1, OUT_OF_MEMORY)}))
    cuda.allocate(16)
    with pytest.raises(BackendError, match=r"cudaMalloc: .*memory is full.*'onnxruntime'"):
        cuda.allocate(16)


#: cudaErrorIllegalAddress, cudaErrorAssert, cudaErrorLaunchFailure
@pytest.mark.parametrize("code", [ILLEGAL_ADDRESS, 710, 719])
def test_after_an_error_that_lasts_no_gpu_is_described_and_a_new_process_is_the_remedy(code):
    library = StandInCudart({"Malloc": (0, code)})
    cuda = Cuda(library)
    cuda.device()
    with pytest.raises(LostCudaError, match=rf"cudaMalloc.*error {code}.*end the process"):
        cuda.allocate(16)
    library.heal()
    before = len(library.calls)
    with pytest.raises(LostCudaError, match=r"configuring again cannot help.*'onnxruntime'"):
        cuda.device()
    assert len(library.calls) == before


def test_an_error_that_does_not_last_leaves_the_gpu_as_it_was():
    cuda = Cuda(StandInCudart({"Malloc": (0, OUT_OF_MEMORY)}))
    with pytest.raises(BackendError, match="memory is full"):
        cuda.allocate(16)
    assert cuda.device().gpu_name == "Stand-in GPU"


def test_the_errors_that_last_are_those_that_the_real_library_calls_so():
    library = real_cuda()._library
    library.cudaGetErrorName.restype = ctypes.c_char_p
    names = {code: library.cudaGetErrorName(code).decode() for code in module._LASTING}
    assert names[700] == "cudaErrorIllegalAddress"
    assert names[710] == "cudaErrorAssert"
    assert names[719] == "cudaErrorLaunchFailure"
    assert "unrecognized error code" not in names.values()
    assert len(set(names.values())) == len(names)


def test_a_process_has_one_cuda_so_that_a_lost_one_stays_lost():
    assert real_cuda() is load_cuda()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_an_array_over_pinned_memory_writes_through(dtype):
    memory = (ctypes.c_byte * 64)()
    array = pinned_array(ctypes.addressof(memory), (2, 3), np.dtype(dtype))
    array[...] = np.arange(6).reshape(2, 3)
    assert bytes(memory)[: array.nbytes] == np.arange(6).astype(dtype).tobytes()


def test_the_library_of_nvidias_wheel_is_tried_first(tmp_path, monkeypatch):
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcudart.so.13").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    first = next(module._candidates())
    assert first == str(folder / "libcudart.so.13")
