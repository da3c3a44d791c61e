# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for a GPU: a CUDA runtime on host memory, and a TensorRT whose engines are ONNX files.

Work of a stream is done when the stream is waited for and not before, as on a GPU: who reads too
early, forgets a copy or records the wrong thing gets wrong numbers. What is given back twice, or
never taken, is a KeyError.
"""

import ctypes
import math
from types import SimpleNamespace

import numpy as np
import onnxruntime

NAMES = {"float": "FLOAT", "int32": "INT32", "uint8": "UINT8"}
DTYPES = {"FLOAT": np.float32, "INT32": np.int32, "UINT8": np.uint8}
OUT_OF_MEMORY, NOT_SUPPORTED, NO_DEVICE, NOT_READY, ILLEGAL_ADDRESS = 2, 900, 100, 600, 700


class StandInCudart:
    """libcudart as ctypes shows it.

    Args:
        fail: function name -> (number of calls that succeed before, error code).
        devices: that are visible.
    """

    def __init__(self, fail=None, devices=1):
        self.memory = {}
        self.handles = {}
        self.calls = []
        self._fail = dict(fail or {})
        self._devices = devices
        self._recorded = None
        self._next = 1
        for name in dir(type(self)):
            if name.startswith("do_"):
                setattr(self, "cuda" + name[3:], self._function(name[3:]))
        for name in ("HostAlloc", "Malloc"):
            setattr(self, "cuda" + name, self._function(name))
        for name in ("Free", "FreeHost"):
            setattr(self, "cuda" + name, self._function(name))

    def _function(self, name):
        do = getattr(self, "do_" + name, None) or getattr(self, "_" + name.lower()[:4])

        def function(*arguments):
            self.calls.append(name)
            left, code = self._fail.get(name, (math.inf, 0))
            if left <= 0:
                return code
            self._fail[name] = (left - 1, code)
            return do(*arguments) or 0

        return function

    def fail(self, name, code):
        """From now on every call of a function fails."""
        self._fail[name] = (0, code)

    def heal(self):
        """Nothing fails any more."""
        self._fail.clear()

    def _new(self, out, what):
        self._next += 1
        self.handles[self._next] = what
        out._obj.value = self._next

    def enqueue(self, stream, work):
        """Do `work` later: when the stream is waited for, or the recording is launched."""
        (self.handles[stream] if self._recorded is None else self._recorded).append(work)

    def _mall(self, out, size_bytes):
        memory = (ctypes.c_byte * size_bytes)(*([0x55] * min(size_bytes, 64)))
        address = ctypes.addressof(memory)
        self.memory[address] = memory
        out._obj.value = address

    def _host(self, out, size_bytes, flags):
        self._mall(out, size_bytes)

    def _free(self, address):
        del self.memory[address]

    def do_GetErrorString(self, code):  # noqa: N802 - named as in CUDA
        return b"code %d" % code

    def do_GetLastError(self):  # noqa: N802
        return 0

    def do_GetDeviceCount(self, out):  # noqa: N802
        out._obj.value = self._devices

    def do_RuntimeGetVersion(self, out):  # noqa: N802
        out._obj.value = 12090

    def do_DeviceGetAttribute(self, out, attribute, device):  # noqa: N802
        out._obj.value = {75: 8, 76: 9}[attribute]

    def do_GetDeviceProperties(self, address, device):  # noqa: N802
        ctypes.memmove(address, b"Stand-in GPU\0rest", 17)

    def do_StreamCreateWithFlags(self, out, flags):  # noqa: N802
        self._new(out, [])

    def do_StreamDestroy(self, stream):  # noqa: N802
        del self.handles[stream]

    def do_StreamQuery(self, stream):  # noqa: N802
        """Work takes until it was asked for twice."""
        work, self.handles[stream] = self.handles[stream], []
        for do in work:
            do()
        return NOT_READY if work else 0

    def do_MemcpyAsync(self, to, source, size_bytes, kind, stream):  # noqa: N802
        assert kind in (1, 2)
        self.enqueue(stream, lambda: ctypes.memmove(to, source, size_bytes))

    def do_StreamBeginCapture(self, stream, mode):  # noqa: N802
        self._recorded = []

    def do_StreamEndCapture(self, stream, out):  # noqa: N802
        recorded, self._recorded = self._recorded, None
        self._new(out, recorded)

    def do_GraphInstantiateWithFlags(self, out, graph, flags):  # noqa: N802
        self._new(out, list(self.handles[int(graph)]))

    def do_GraphLaunch(self, graph, stream):  # noqa: N802
        self.handles[stream].extend(self.handles[graph])

    def do_GraphDestroy(self, graph):  # noqa: N802
        del self.handles[getattr(graph, "value", graph)]

    def do_GraphExecDestroy(self, graph):  # noqa: N802
        del self.handles[graph]


class _Logger:
    INTERNAL_ERROR, ERROR = 0, 1


class StandInTensorRt(SimpleNamespace):
    """The module `tensorrt`; plans are ONNX files, run by ONNX Runtime on "GPU memory".

    Args:
        cudart: whose streams the work goes to.
        cameras: least and most that engines take.
        unreadable: plans that it does not take back.
    """

    def __init__(self, cudart, cameras=(1, 8), unreadable=()):
        super().__init__(
            __name__="tensorrt",
            __version__="11.4.0",
            ILogger=_Logger,
            TensorIOMode=SimpleNamespace(INPUT=0, OUTPUT=1),
            cudart=cudart,
            cameras=cameras,
            unreadable=unreadable,
            is_failing=False,
            has_context=True,
            deserialized=[],
        )

    def Runtime(self, logger):  # noqa: N802 - named as in TensorRT
        def deserialize(plan):
            self.deserialized.append(plan)
            if plan in self.unreadable:
                logger.log(_Logger.ERROR, "another GPU")
                return None
            return _Engine(self, plan, logger)

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class _Engine:
    def __init__(self, module, plan, logger):
        self._module, self._logger = module, logger
        self.session = onnxruntime.InferenceSession(plan)
        self.items = {
            item.name: (mode, item)
            for mode, items in enumerate((self.session.get_inputs(), self.session.get_outputs()))
            for item in items
        }
        self.num_io_tensors = len(self.items)

    def get_tensor_name(self, index):
        return list(self.items)[index]

    def get_tensor_mode(self, name):
        return self.items[name][0]

    def get_tensor_dtype(self, name):
        kind = self.items[name][1].type
        return "DataType." + NAMES[kind.removeprefix("tensor(").rstrip(")")]

    def get_tensor_shape(self, name):
        return [size if isinstance(size, int) else -1 for size in self.items[name][1].shape]

    def get_tensor_profile_shape(self, name, profile):
        shape = self.get_tensor_shape(name)
        least, most = self._module.cameras
        return [[n if size < 0 else size for size in shape] for n in (least, least, most)]

    def create_execution_context(self):
        return _Context(self._module, self, self._logger) if self._module.has_context else None


class _Context:
    def __init__(self, module, engine, logger):
        self._module, self._engine, self._logger = module, engine, logger
        self._shapes = {}
        self._addresses = {}

    def set_input_shape(self, name, shape):
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        fits = all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        if not fits:
            self._logger.log(_Logger.ERROR, "outside the profile")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        return self._shapes.get(name) or tuple(self._engine.get_tensor_shape(name))

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        if self._module.is_failing:
            self._logger.log(_Logger.ERROR, "a kernel failed")
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self._engine.items}
        self._module.cudart.enqueue(stream, lambda: self._infer(shapes))
        return True

    def _infer(self, shapes):
        arrays = {name: self._array(name, shape) for name, shape in shapes.items()}
        modes = {name: mode for name, (mode, _) in self._engine.items.items()}
        outputs = [name for name, mode in modes.items() if mode == 1]
        feeds = {name: arrays[name].copy() for name, mode in modes.items() if mode == 0}
        for name, value in zip(outputs, self._engine.session.run(outputs, feeds), strict=True):
            arrays[name][...] = value

    def _array(self, name, shape):
        dtype = np.dtype(DTYPES[self._engine.get_tensor_dtype(name).split(".")[1]])
        memory = (ctypes.c_byte * (math.prod(shape) * dtype.itemsize)).from_address(
            self._addresses[name]
        )
        return np.frombuffer(memory, dtype).reshape(shape)
