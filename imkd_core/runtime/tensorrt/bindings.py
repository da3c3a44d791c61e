# SPDX-License-Identifier: Apache-2.0
"""An engine's inputs and outputs: memory on both sides, taken once and bound once."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import BackendError
from imkd_core.runtime.contract import TensorSpec
from imkd_core.runtime.tensorrt.cuda import Cuda, pinned_array

#: numpy's dtypes of TensorRT's, by name; both packages and all versions share the names.
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One input or output.

    Attributes:
        name: as in the ONNX file.
        spec: dtype and shape; open sizes are None.
        is_input: whether it is one.
        least: smallest shape that the engine takes; of an output, the largest.
        most: largest shape.
        device: address of memory on the GPU for the largest shape.
        host: address of pinned memory for the largest shape.
    """

    name: str
    spec: TensorSpec
    is_input: bool
    least: tuple[int, ...]
    most: tuple[int, ...]
    device: int
    host: int

    def padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the smallest shape that the engine takes and that holds `shape`."""
        return tuple(max(pair) for pair in zip(shape, self.least, strict=True))

    def put(self, value: NDArray[np.generic], shape: tuple[int, ...]) -> None:
        """Write an array into pinned memory of a shape that holds it; the rest becomes zero."""
        memory = self.view(shape)
        if value.shape != shape:
            memory[...] = 0
        memory[tuple(slice(size) for size in value.shape)] = value

    def size_bytes(self, shape: tuple[int, ...]) -> int:
        """Return how much a shape takes."""
        return math.prod(shape) * self.spec.dtype.itemsize

    def view(self, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the pinned memory as an array of a shape up to the largest."""
        return pinned_array(self.host, shape, self.spec.dtype)


def bind(
    tensorrt: Any, engine: Any, context: Any, cuda: Cuda, stack: ExitStack
) -> tuple[Binding, ...]:
    """Take memory for all inputs and outputs at their largest, and tell the context where it is.

    Args:
        tensorrt: the package.
        engine: deserialised.
        context: of the engine; its inputs have their largest shapes afterwards.
        cuda: where memory comes from.
        stack: gives it back.

    Raises:
        BackendError: memory is short, or a type is none of ours.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == tensorrt.TensorIOMode.INPUT]
    for name in inputs:
        most = tuple(engine.get_tensor_profile_shape(name, 0)[2])
        if not context.set_input_shape(name, most):
            raise BackendError(f"the engine refuses its own largest shape of '{name}'")
    bindings = []
    for name in names:
        most = tuple(context.get_tensor_shape(name))
        is_input = name in inputs
        least = tuple(engine.get_tensor_profile_shape(name, 0)[0]) if is_input else most
        spec = TensorSpec(
            dtype=_dtype(engine, name),
            shape=tuple(None if size < 0 else size for size in engine.get_tensor_shape(name)),
        )
        size_bytes = max(1, math.prod(most) * spec.dtype.itemsize)
        device = cuda.allocate(size_bytes)
        stack.callback(cuda.free, device)
        host = cuda.allocate_host(size_bytes)
        stack.callback(cuda.free_host, host)
        if not context.set_tensor_address(name, device):
            raise BackendError(f"the engine refuses the memory of '{name}'")
        bindings.append(
            Binding(
                name=name,
                spec=spec,
                is_input=is_input,
                least=least,
                most=most,
                device=device,
                host=host,
            )
        )
    return tuple(bindings)


def _dtype(engine: Any, name: str) -> np.dtype[Any]:
    found = str(engine.get_tensor_dtype(name)).rpartition(".")[2]
    if found not in _DTYPES:
        raise BackendError(f"the engine's '{name}' is {found}, which has no numpy type")
    return _DTYPES[found]
