# SPDX-License-Identifier: Apache-2.0
"""ONNX -> engine, the one way for `tensorrt` 10.3+, 11 and `tensorrt_rtx`.

Networks are strongly typed: the ONNX file's types and its Q/DQ nodes are the precision. No
precision flag is set (TensorRT 11 has none), no plugin is needed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imkd_core.errors import BackendError, BundleError
from imkd_core.runtime.tensorrt.keys import CameraRange, EngineKey, Target
from imkd_core.runtime.tensorrt.packages import is_rtx
from imkd_core.runtime.tensorrt.progress import Progress, progress_monitor


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ONNX file in memory, so that what is hashed is what is built.

    Attributes:
        path: where it came from, for messages.
        content: the file.
        precision: its role in the bundle.
    """

    path: Path
    content: bytes
    precision: str

    @staticmethod
    def read(path: Path, precision: str) -> "Source":
        """Read a file.

        Raises:
            BundleError: it cannot be read.
        """
        try:
            return Source(path=path, content=path.read_bytes(), precision=precision)
        except OSError as error:
            raise BundleError(f"cannot read {path}: {error.strerror}; copy it again") from None

    def key(self, tensorrt: Any, target: Target, cameras: CameraRange) -> EngineKey:
        """Return the key of the engine that `build_engine` makes of the same arguments."""
        return EngineKey(
            onnx_sha256=hashlib.sha256(self.content).hexdigest(),
            package=str(tensorrt.__name__),
            version=str(tensorrt.__version__),
            target=target,
            cameras=cameras,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """What a build gives.

    Attributes:
        plan: the serialised engine.
        timing: the timing cache after it; empty where there is none.
        seconds: that parsing and building took.
    """

    plan: bytes
    timing: bytes
    seconds: float


def build_engine(
    tensorrt: Any,
    source: Source,
    target: Target,
    cameras: CameraRange,
    *,
    timing: bytes = b"",
    report: Callable[[str], None] | None = None,
) -> BuiltEngine:
    """Parse and build.

    Args:
        tensorrt: of `packages.import_tensorrt`.
        source: the ONNX file.
        target: the GPU; `tensorrt` itself builds for the one it runs on.
        cameras: numbers of cameras that the engine takes.
        timing: timing cache of an earlier build.
        report: is told at least every 5 s what is under way.

    Raises:
        BackendError: TensorRT cannot build for this GPU, or not on this machine.
        BundleError: the parser or the builder refuses the file; the message holds its words.
        KeyboardInterrupt: Ctrl-C.
    """
    check_target(tensorrt, target)
    logger = collecting_logger(tensorrt)
    what = f"{tensorrt.__name__} {tensorrt.__version__} builds the {source.precision} engine"
    with Progress(what, report) as progress:
        builder = _builder(tensorrt, logger)
        network, parser = _parsed(tensorrt, builder, logger, source)
        config = _config(tensorrt, builder, target)
        _add_profile(builder, network, config, cameras)
        has_timing = _use_timing(tensorrt, config, timing)
        monitor = _watch(tensorrt, config, progress)
        plan = builder.build_serialized_network(network, config)
        del parser  # the network refers to its weights until here
        if monitor is not None and monitor.is_interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise BundleError(f"TensorRT cannot build {source.path}: {'; '.join(logger.errors)}")
        return BuiltEngine(
            plan=bytes(plan),
            timing=bytes(config.get_timing_cache().serialize()) if has_timing else b"",
            seconds=progress.seconds,
        )


def check_target(tensorrt: Any, target: Target) -> None:
    """Refuse a GPU that a TensorRT cannot build for.

    Raises:
        BackendError: `tensorrt` is asked for another machine's GPU, or TensorRT-RTX does not know
            the compute capability.
    """
    if not is_rtx(tensorrt):
        if target.is_ahead_of_time:
            raise BackendError(
                "'tensorrt' builds for the GPU that it runs on alone; run this on the vehicle, or "
                "build ahead of time with 'pip install tensorrt-rtx'"
            )
        return
    if _capability(tensorrt, target) is None:
        major, minor = target.compute_capability
        known = [name for name in tensorrt.ComputeCapability.__members__ if name.startswith("SM")]
        raise BackendError(
            f"TensorRT-RTX {tensorrt.__version__} does not build for compute capability "
            f"{major}.{minor}, only for {', '.join(known)}; use 'tensorrt' on that GPU"
        )


def collecting_logger(tensorrt: Any) -> Any:
    """Return a logger that keeps errors in `errors` instead of printing them."""

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


def _builder(tensorrt: Any, logger: Any) -> Any:
    try:
        return tensorrt.Builder(logger)
    except (RuntimeError, TypeError) as error:  # what the bindings make of a null pointer
        said = "; ".join(logger.errors) or str(error)
        raise BackendError(
            f"{tensorrt.__name__} {tensorrt.__version__} cannot build on this machine: {said}; it "
            "needs an NVIDIA GPU and its driver"
        ) from None


def _parsed(tensorrt: Any, builder: Any, logger: Any, source: Source) -> tuple[Any, Any]:
    """Return the network and the parser that made it."""
    strongly_typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(source.content):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        said = "; ".join(errors or logger.errors)
        raise BundleError(f"TensorRT's parser refuses {source.path}: {said}")
    return network, parser


def _config(tensorrt: Any, builder: Any, target: Target) -> Any:
    """Return the builder's settings; TensorRT-RTX is told the GPU, `tensorrt` uses its own."""
    config = builder.create_builder_config()
    if is_rtx(tensorrt):
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(tensorrt, target), 0)
    return config


def _capability(tensorrt: Any, target: Target) -> Any:
    major, minor = target.compute_capability
    return getattr(tensorrt.ComputeCapability, f"SM{major}{minor}", None)


def _add_profile(builder: Any, network: Any, config: Any, cameras: CameraRange) -> None:
    """Say how many cameras there may be, wherever a size is open."""
    profile = builder.create_optimization_profile()
    counts = (cameras.least, cameras.likely, cameras.most)
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape:
            sizes = [[count if size == -1 else size for size in shape] for count in counts]
            profile.set_shape(tensor.name, *sizes)
    config.add_optimization_profile(profile)


def _use_timing(tensorrt: Any, config: Any, timing: bytes) -> bool:
    """Give the builder its timing cache; TensorRT-RTX has none since its version 1.2."""
    if is_rtx(tensorrt):
        return False
    return bool(config.set_timing_cache(config.create_timing_cache(timing), False))


def _watch(tensorrt: Any, config: Any, progress: Progress) -> Any:
    """Have TensorRT say its phases, where it can."""
    if not hasattr(tensorrt, "IProgressMonitor"):
        return None
    monitor = progress_monitor(tensorrt, progress)
    config.progress_monitor = monitor
    return monitor
