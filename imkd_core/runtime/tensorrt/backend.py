# SPDX-License-Identifier: Apache-2.0
"""Runs an engine: inputs and outputs bound once, pinned memory, one stream, a CUDA graph.

None of this ever ran on a GPU: its tests run it against a stand-in for CUDA and TensorRT that
keeps "GPU memory" apart from the host's and executes the ONNX file.
"""

import ctypes
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import BackendError, DeviceError
from imkd_core.runtime.backends import BackendSettings
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.checked import CheckedBackend
from imkd_core.runtime.contract import (
    check_arrays,
    check_contract,
    input_contract,
    output_contract,
)
from imkd_core.runtime.roles import role_for
from imkd_core.runtime.tensorrt.bindings import Binding, bind
from imkd_core.runtime.tensorrt.builder import Source, check_target, collecting_logger
from imkd_core.runtime.tensorrt.cuda import (
    CPU_REMEDY,
    Cuda,
    LostCudaError,
    SilentGpuError,
    load_cuda,
)
from imkd_core.runtime.tensorrt.engine_cache import Engine, EngineCache, default_folder
from imkd_core.runtime.tensorrt.keys import CameraRange, Target
from imkd_core.runtime.tensorrt.packages import import_tensorrt
from imkd_core.runtime.tensorrt.progress import Progress

Report = Callable[[str], None]

_Shapes = dict[str, tuple[int, ...]]


class UnreadableEngineError(BackendError):
    """TensorRT does not take an engine back: it has to be built again."""


class TensorRtBackend(CheckedBackend):
    """Runs an engine. One thread at a time, as all backends.

    Args:
        engine: from our own cache or built just now; nothing else may be given to TensorRT.
        model: the ONNX file it was built from, for messages.
        tensorrt: the package that built it.
        cuda: the CUDA runtime; its first GPU runs the engine.
        report: is told when CUDA graphs cannot be used.
        held: entered now and left by `close`; keeps the engine's file from being deleted.

    Raises:
        UnreadableEngineError: TensorRT does not take the engine back.
        BackendError: the GPU's memory is short.
    """

    def __init__(
        self,
        engine: Engine,
        model: Path,
        tensorrt: Any,
        cuda: Cuda,
        report: Report | None = None,
        held: AbstractContextManager[None] | None = None,
    ) -> None:
        self._model, self._cuda, self._report = model, cuda, report
        self._logger = collecting_logger(tensorrt)
        with ExitStack() as stack:
            stack.enter_context(held or nullcontext())
            self._runtime = tensorrt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
            if self._engine is None:
                raise UnreadableEngineError(
                    f"{tensorrt.__name__} cannot read the engine of {model} back: {self._errors()}"
                )
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise BackendError(
                    f"no memory to run the engine of {model}: {self._errors()}; stop what else "
                    f"runs on the GPU, {CPU_REMEDY}"
                )
            self._bindings = bind(tensorrt, self._engine, self._context, cuda, stack)
            self._stream = cuda.new_stream()
            stack.callback(cuda.destroy_stream, self._stream)
            self._stack = stack.pop_all()
        self.inputs = {b.name: b.spec for b in self._bindings if b.is_input}
        self.outputs = {b.name: b.spec for b in self._bindings if not b.is_input}
        self._shapes: _Shapes = {}
        self._graph: int | None = None
        self._uses_graph = True
        self._is_closed = False
        self._lost: tuple[type[DeviceError], str] | None = None
        key = engine.key
        self.name = f"{key.package} {key.version} {key.precision} on {key.target.gpu_name}"

    def infer(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name, whatever they are.

        A rig with fewer cameras than the engine takes is filled up with cameras that are masked,
        so one engine and one recording serve a rig while its calibration arrives. The first run
        with other shapes than the last is slower.

        Raises:
            DeviceError: the GPU failed, or does not answer.
            BackendError: the backend is closed, or an input does not fit.
        """
        if self._lost is not None:
            kind, text = self._lost
            raise kind(text)
        if self._is_closed:
            raise BackendError(f"the backend of {self._model} is closed")
        check_arrays(self._model, self.inputs, inputs)
        taken = [binding for binding in self._bindings if binding.is_input]
        shapes = {b.name: b.padded(inputs[b.name].shape) for b in taken}
        if any(self._shapes.get(name) != shape for name, shape in shapes.items()):
            self._take_shapes(shapes)
        for binding in taken:
            binding.put(inputs[binding.name], shapes[binding.name])
        try:
            self._execute()
        except SilentGpuError as error:
            self._lost = SilentGpuError, f"{error}; the model has to be opened again"
            self._abandon()
            raise
        except LostCudaError as error:
            self._lost = LostCudaError, str(error)
            raise
        return {
            b.name: b.view(self._shapes[b.name]).copy() for b in self._bindings if not b.is_input
        }

    def _abandon(self) -> None:
        """Let go of a GPU that hangs: giving anything back would wait for it without end."""
        self._is_closed = True
        held = (self._context, self._engine, self._runtime, self._stack.pop_all())
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))  # never destroyed, not even at exit

    def close(self) -> None:
        """Give memory and the engine back; a closed backend refuses to run.

        Raises:
            DeviceError: the GPU did not take something back; all else is given back.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._drop_graph()
        except BaseException:
            with suppress(BackendError):  # the first error is the one that tells
                self._give_back()
            raise
        self._give_back()

    def _give_back(self) -> None:
        self._context = self._engine = self._runtime = None
        self._stack.close()

    def _take_shapes(self, shapes: _Shapes) -> None:
        """Tell the context the inputs' shapes; learn those of the outputs."""
        self._drop_graph()
        self._shapes = {}
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise BackendError(
                    f"input '{name}' is {list(shape)}, which the engine was not built for "
                    f"({self._errors()}); open the model again for this number of cameras"
                )
        known = {b.name: tuple(self._context.get_tensor_shape(b.name)) for b in self._bindings}
        self._shapes = known

    def _execute(self) -> None:
        """Copy in, infer, copy out, wait: recorded at the second run with the same shapes.

        The first is not recorded: TensorRT sets itself up in it, which a recording must not hold.
        """
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._enqueue()
        self._cuda.synchronize(self._stream)
        if self._graph is None and self._uses_graph:
            self._graph = self._recorded()

    def _enqueue(self) -> None:
        for binding in self._bindings:
            if binding.is_input:
                size_bytes = self._size_bytes(binding)
                self._cuda.to_device(binding.device, binding.host, size_bytes, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise DeviceError(f"inference of {self._model} failed: {self._errors()}")
        for binding in self._bindings:
            if not binding.is_input:
                size_bytes = self._size_bytes(binding)
                self._cuda.to_host(binding.host, binding.device, size_bytes, self._stream)

    def _recorded(self) -> int | None:
        """Record one run; without a recording every run is given to the GPU call by call."""
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue()
            except BackendError:
                self._cuda.abort_capture(self._stream)
                raise
            return self._cuda.end_capture(self._stream)
        except BackendError as error:
            self._uses_graph = False
            if self._report is not None:
                self._report(f"no CUDA graph, so each run takes longer to start: {error}")
            return None

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._cuda.destroy_graph(graph)

    def _size_bytes(self, binding: Binding) -> int:
        return binding.size_bytes(self._shapes[binding.name])

    def _errors(self) -> str:
        """Return what TensorRT logged since the last time."""
        errors, self._logger.errors = self._logger.errors, []
        return "; ".join(errors) or "it does not say why"


def open_tensorrt(
    bundle: Bundle, settings: BackendSettings, report: Report | None = None
) -> TensorRtBackend:
    """Open a bundle's model with TensorRT: find its engine or build it.

    The GPU is asked first, so a machine without one is told within a second.

    Args:
        bundle: verified.
        settings: role, cameras and folder of engines.
        report: is told at least every 5 s how a build proceeds.

    Raises:
        BundleError: the bundle has no such role, or TensorRT refuses the file.
        BackendError: no GPU, no driver, no TensorRT, no memory, or the model does not fit the
            bundle.
    """
    role = role_for(bundle, settings.role, "tensorrt")
    model = bundle.path(role)
    cuda = load_cuda()
    target = cuda.device()
    tensorrt = import_tensorrt()
    check_target(tensorrt, target)
    source = Source.read(model, role)
    count = settings.cameras
    cameras = CameraRange() if count is None else CameraRange.exactly(count)
    cache = EngineCache(tensorrt, settings.engine_folder or default_folder(), report)
    backend = _opened(cache, source, target, cameras, cuda, tensorrt, report)
    try:
        check_contract(model, "input", backend.inputs, input_contract(bundle.inputs))
        expected = output_contract(bundle.inputs, bundle.head)
        check_contract(model, "output", backend.outputs, expected)
        backend.warm_up(count or 1)
    except BackendError:
        with suppress(BackendError):  # what keeps it from opening is said
            backend.close()
        raise
    return backend


def _opened(
    cache: EngineCache,
    source: Source,
    target: Target,
    cameras: CameraRange,
    cuda: Cuda,
    tensorrt: Any,
    report: Report | None,
) -> TensorRtBackend:
    """Return a backend; a kept engine that TensorRT does not take back is built again, once."""

    def load(engine: Engine) -> TensorRtBackend:
        with Progress(f"the GPU loads the {source.precision} engine", report):
            held = cache.in_use(engine)
            return TensorRtBackend(engine, source.path, tensorrt, cuda, report, held)

    engine = cache.obtain(source, target, cameras)
    try:
        return load(engine)
    except UnreadableEngineError as error:
        if engine.build_s is not None:
            raise
        if report is not None:
            report(f"{error}; it is built again")
    return load(cache.obtain(source, target, cameras, is_anew=True))
