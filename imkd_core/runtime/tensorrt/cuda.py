# SPDX-License-Identifier: Apache-2.0
"""The few calls of the CUDA runtime that running an engine takes, through ctypes; all checked.

The library comes from NVIDIA's wheel or the system; nothing else has to be installed. On a machine
without a GPU the library answers as it does everywhere, with an error; what follows after a GPU was
found never ran on one here.
"""

import ctypes
import ctypes.util
import importlib.util
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import BackendError, DeviceError
from imkd_core.runtime.tensorrt.keys import Target

#: What TensorRT's users can do instead.
CPU_REMEDY = "or choose the backend 'onnxruntime', which runs on the CPU"

#: Names under which a system has the library, newest first.
_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")

# Of driver_types.h; the same in CUDA 11, 12 and 13.
_SUCCESS, _OUT_OF_MEMORY, _OLD_DRIVER, _NO_DEVICE, _NOT_READY = 0, 2, 35, 100, 600
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_CAPTURE_OF_THIS_THREAD = 1
_MAJOR, _MINOR = 75, 76

#: Larger than cudaDeviceProp of any version; the name is its first field.
_PROPERTIES_BYTES, _NAME_BYTES = 1 << 14, 256

#: Longest wait for a run, seconds: then the GPU is given up, in time for another to take over
#: within the 5 s that are promised.
PATIENCE_S = 3.0

#: How often a run is asked for, seconds. Sleeping leaves the core to others; CUDA's own waiting
#: would spin, or never come back from a GPU that hangs.
_POLL_S = 50e-6

_REMEDIES = {
    _OUT_OF_MEMORY: "the GPU's memory is full: stop what else runs on it",
    _OLD_DRIVER: "there is no NVIDIA driver, or it is older than this CUDA: install a newer one",
    _NO_DEVICE: "no NVIDIA GPU is visible: see 'nvidia-smi' and CUDA_VISIBLE_DEVICES; containers "
    "need '--gpus all'",
}

#: Errors after which CUDA does nothing more in this process, whatever is closed and opened again:
#: memory that failed, links that failed, and kernels that broke off.
_LASTING = frozenset({214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721})

_LASTING_REMEDY = (
    "CUDA does nothing more in this process and configuring again cannot help: end the process and "
    "start it again (the keeper starts a node that ended), see 'nvidia-smi' and the kernel log"
)

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_POINTER_OUT, _INT_OUT = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int)

_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (_INT_OUT,),
    "cudaRuntimeGetVersion": (_INT_OUT,),
    "cudaDeviceGetAttribute": (_INT_OUT, _INT, _INT),
    "cudaGetDeviceProperties": (_POINTER, _INT),
    "cudaMalloc": (_POINTER_OUT, _SIZE),
    "cudaFree": (_POINTER,),
    "cudaHostAlloc": (_POINTER_OUT, _SIZE, ctypes.c_uint),
    "cudaFreeHost": (_POINTER,),
    "cudaMemcpyAsync": (_POINTER, _POINTER, _SIZE, _INT, _POINTER),
    "cudaStreamCreateWithFlags": (_POINTER_OUT, ctypes.c_uint),
    "cudaStreamQuery": (_POINTER,),
    "cudaStreamDestroy": (_POINTER,),
    "cudaStreamBeginCapture": (_POINTER, _INT),
    "cudaStreamEndCapture": (_POINTER, _POINTER_OUT),
    "cudaGraphInstantiateWithFlags": (_POINTER_OUT, _POINTER, ctypes.c_ulonglong),
    "cudaGraphLaunch": (_POINTER, _POINTER),
    "cudaGraphExecDestroy": (_POINTER,),
    "cudaGraphDestroy": (_POINTER,),
}

#: Does not wait for the legacy default stream.
_NON_BLOCKING = 1


class SilentGpuError(DeviceError):
    """The GPU does not answer; what it holds cannot be taken back."""


class LostCudaError(DeviceError):
    """CUDA is of no more use in this process; nothing but a new process helps."""


class Cuda:
    """The CUDA runtime; addresses, streams and graphs are plain integers.

    After an error that lasts (see `LostCudaError`) it describes no GPU any more, so that no model
    is opened on it.

    Args:
        library: libcudart as ctypes loads it.

    Raises:
        BackendError: the library lacks a function: it is older than CUDA 11.4.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._lost = ""
        for name, arguments in _ARGUMENTS.items():
            function = getattr(library, name, None)
            if function is None:
                raise BackendError(f"libcudart lacks {name}; install CUDA 12 or newer")
            function.argtypes, function.restype = arguments, ctypes.c_int
        library.cudaGetErrorString.argtypes = (ctypes.c_int,)
        library.cudaGetErrorString.restype = ctypes.c_char_p

    def device(self) -> Target:
        """Return the first GPU that is visible, which all other calls use.

        Raises:
            LostCudaError: an earlier error lasts as long as this process.
            BackendError: there is none, or its driver is missing or too old.
        """
        if self._lost:
            raise LostCudaError(self._lost)
        count = ctypes.c_int(0)
        self._call("cudaGetDeviceCount", ctypes.byref(count))
        if count.value < 1:
            self._check("cudaGetDeviceCount", _NO_DEVICE)
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", ctypes.addressof(properties), 0)
        name = properties.raw[:_NAME_BYTES].split(b"\0")[0].decode(errors="replace")
        version = self._number("cudaRuntimeGetVersion")
        return Target(
            gpu_name=name,
            compute_capability=(
                self._number("cudaDeviceGetAttribute", _MAJOR, 0),
                self._number("cudaDeviceGetAttribute", _MINOR, 0),
            ),
            cuda_version=f"{version // 1000}.{version % 1000 // 10}",
        )

    def allocate(self, size_bytes: int) -> int:
        """Return the address of new memory on the GPU; `free` gives it back."""
        return self._made("cudaMalloc", size_bytes)

    def free(self, address: int) -> None:
        """Give memory of the GPU back."""
        self._call("cudaFree", address)

    def allocate_host(self, size_bytes: int) -> int:
        """Return the address of new pinned memory; `free_host` gives it back."""
        return self._made("cudaHostAlloc", size_bytes, 0)

    def free_host(self, address: int) -> None:
        """Give pinned memory back; no array may look at it any more."""
        self._call("cudaFreeHost", address)

    def to_device(self, address: int, host_address: int, size_bytes: int, stream: int) -> None:
        """Copy pinned memory to the GPU, in the order of the stream."""
        self._call("cudaMemcpyAsync", address, host_address, size_bytes, _HOST_TO_DEVICE, stream)

    def to_host(self, host_address: int, address: int, size_bytes: int, stream: int) -> None:
        """Copy memory of the GPU to pinned memory, in the order of the stream."""
        self._call("cudaMemcpyAsync", host_address, address, size_bytes, _DEVICE_TO_HOST, stream)

    def new_stream(self) -> int:
        """Return a new stream; `destroy_stream` gives it back."""
        return self._made("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def synchronize(self, stream: int) -> None:
        """Wait until all work of a stream is done.

        Raises:
            SilentGpuError: it is not, after `PATIENCE_S`.
            DeviceError: it failed.
        """
        due_s = time.monotonic() + PATIENCE_S
        while (code := self._library.cudaStreamQuery(stream)) == _NOT_READY:
            if time.monotonic() > due_s:
                raise SilentGpuError(
                    f"the GPU did not answer within {PATIENCE_S:g} s; see 'nvidia-smi' and the "
                    f"kernel log, {CPU_REMEDY}"
                )
            time.sleep(_POLL_S)
        self._check("cudaStreamQuery", code)

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def begin_capture(self, stream: int) -> None:
        """Record what this thread gives to a stream, instead of doing it."""
        self._call("cudaStreamBeginCapture", stream, _CAPTURE_OF_THIS_THREAD)

    def end_capture(self, stream: int) -> int:
        """Return what was recorded, ready to launch; `destroy_graph` gives it back."""
        recorded = self._made_first("cudaStreamEndCapture", stream)
        try:
            return self._made("cudaGraphInstantiateWithFlags", recorded, 0)
        finally:
            self._call("cudaGraphDestroy", recorded)

    def abort_capture(self, stream: int) -> None:
        """End a recording that failed; its error is known already."""
        recorded = ctypes.c_void_p()
        self._library.cudaStreamEndCapture(stream, ctypes.byref(recorded))
        if recorded.value:
            self._library.cudaGraphDestroy(recorded)
        self._library.cudaGetLastError()

    def launch(self, graph: int, stream: int) -> None:
        """Do what was recorded."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a recording back."""
        self._call("cudaGraphExecDestroy", graph)

    def _made(self, name: str, *arguments: Any) -> int:
        """Return the handle that a call writes through its first argument."""
        handle = ctypes.c_void_p()
        self._call(name, ctypes.byref(handle), *arguments)
        return int(handle.value or 0)

    def _made_first(self, name: str, argument: int) -> int:
        """Return the handle that a call writes through its second argument."""
        handle = ctypes.c_void_p()
        self._call(name, argument, ctypes.byref(handle))
        return int(handle.value or 0)

    def _number(self, name: str, *arguments: int) -> int:
        value = ctypes.c_int(0)
        self._call(name, ctypes.byref(value), *arguments)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self._library, name)(*arguments))

    def _check(self, name: str, code: int) -> None:
        if code == _SUCCESS:
            return
        text = (self._library.cudaGetErrorString(code) or b"unknown error").decode()
        if code in _LASTING:
            self._lost = f"CUDA: {name}: {text} (error {code}); {_LASTING_REMEDY}, {CPU_REMEDY}"
            raise LostCudaError(self._lost)
        remedy = _REMEDIES.get(code, "see 'nvidia-smi' and the kernel log")
        raise DeviceError(f"CUDA: {name}: {text} (error {code}); {remedy}, {CPU_REMEDY}")


def load_cuda() -> Cuda:
    """Load libcudart of NVIDIA's wheel or of the system; a process has one.

    Raises:
        BackendError: it is not to be had.
    """
    for name in _candidates():
        try:
            cuda = _opened(name)
        except OSError:
            continue
        return cuda
    raise BackendError(
        "the CUDA runtime (libcudart) is not installed, which TensorRT needs; install it with 'pip "
        f"install nvidia-cuda-runtime' or the system's CUDA packages, {CPU_REMEDY}"
    )


@cache
def _opened(name: str) -> Cuda:
    return Cuda(ctypes.CDLL(name))


def pinned_array(address: int, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """Return an array over pinned memory; it must not outlive it."""
    size_bytes = math.prod(shape) * dtype.itemsize
    memory = (ctypes.c_byte * size_bytes).from_address(address)
    return np.ndarray(tuple(shape), dtype, memoryview(memory))


def _candidates() -> Iterator[str]:
    """Yield file names, the wheel's first: it came with the TensorRT that is installed."""
    package = importlib.util.find_spec("nvidia")
    for folder in (package.submodule_search_locations or ()) if package else ():
        yield from (str(path) for path in sorted(Path(folder).glob("*/lib/libcudart.so.*")))
    yield from _SONAMES
    found = ctypes.util.find_library("cudart")
    if found:
        yield found
    for root in (os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"):
        yield from (str(path) for path in sorted(Path(root or "/").glob("lib*/libcudart.so.*")))
