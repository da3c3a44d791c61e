# SPDX-License-Identifier: Apache-2.0
"""Would TensorRT take the file? Its parser and builder are asked; no GPU is needed.

TensorRT-RTX builds ahead of time on any machine. The full TensorRT is asked where only it is
installed; its builder wants a GPU.
"""

import importlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imkd_core.errors import BackendError, BundleError

#: Packages with the same interface, first choice first.
PACKAGES = ("tensorrt_rtx", "tensorrt")

#: Cameras that the engine is built for: least, most likely, most.
CAMERA_COUNTS = (1, 6, 8)


@dataclass(frozen=True, kw_only=True)
class TensorRtReport:
    """A successful build.

    Attributes:
        package: name and version of what built it.
        plan_bytes: size of the serialised engine.
        seconds: that parsing and building took.
    """

    package: str
    plan_bytes: int
    seconds: float


def is_tensorrt_installed() -> bool:
    """Whether any of the packages can be imported."""
    return any(importlib.util.find_spec(name) is not None for name in PACKAGES)


def check_tensorrt(model: Path, cameras: Sequence[int] = CAMERA_COUNTS) -> TensorRtReport:
    """Parse and build a file; the engine is thrown away.

    Args:
        model: ONNX file; its types decide the precision.
        cameras: least, most likely and largest number of cameras.

    Raises:
        BackendError: no TensorRT is installed.
        BundleError: the parser or the builder refuses the file; the message holds its words.
    """
    tensorrt = _import_tensorrt()
    start_s = time.perf_counter()
    logger = _collecting_logger(tensorrt)
    builder = tensorrt.Builder(logger)
    strongly_typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BundleError(f"TensorRT's parser refuses {model}: {errors}")
    plan = builder.build_serialized_network(
        network, _build_config(tensorrt, builder, network, cameras)
    )
    if plan is None:
        raise BundleError(f"TensorRT cannot build {model}: {'; '.join(logger.errors)}")
    return TensorRtReport(
        package=f"{tensorrt.__name__} {tensorrt.__version__}",
        plan_bytes=int(plan.nbytes),
        seconds=time.perf_counter() - start_s,
    )


def _import_tensorrt() -> Any:
    for name in PACKAGES:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    raise BackendError(
        "no TensorRT can be imported; install it with 'pip install tensorrt-rtx' to check exports"
    )


def _collecting_logger(tensorrt: Any) -> Any:
    """Return a logger that keeps the errors instead of printing them."""

    class Logger(tensorrt.ILogger):  # type: ignore[misc]
        """Keeps what is an error."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Keep one message."""
            if severity in (self.INTERNAL_ERROR, self.ERROR):
                self.errors.append(message)

    return Logger()


def _build_config(tensorrt: Any, builder: Any, network: Any, cameras: Sequence[int]) -> Any:
    """Return the builder's settings; the only open axis is the number of cameras."""
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape:
            profile.set_shape(
                tensor.name,
                *([count if size == -1 else size for size in shape] for count in cameras),
            )
    config.add_optimization_profile(profile)
    if hasattr(tensorrt, "ComputeCapability"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(tensorrt.ComputeCapability.SM89, 0)
    return config
