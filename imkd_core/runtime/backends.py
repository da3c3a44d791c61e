# SPDX-License-Identifier: Apache-2.0
"""Inference backends: named arrays in, named arrays out, everything checked at the border."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.errors import BackendError, ConfigError, DeviceError
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.checked import CheckedBackend
from imkd_core.runtime.contract import (
    TensorSpec,
    check_arrays,
    check_contract,
    input_contract,
    output_contract,
)
from imkd_core.runtime.providers import (
    AUTO,
    CPU_PROVIDER,
    LOG_SEVERITY_ERROR,
    OPENVINO_PRECISIONS,
    OPENVINO_PROVIDER,
    ProviderSettings,
    first_provider,
    import_onnxruntime,
    open_session,
    session_failures,
)
from imkd_core.runtime.roles import AUTO_ROLE, choose_role
from imkd_core.runtime.standby import StandbyBackend

#: What can run a bundle; the first is the default.
BACKENDS = ("onnxruntime", "tensorrt")

#: numpy dtypes of ONNX Runtime's type names, as far as the contract uses them.
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(float)": np.dtype(np.float32),
}

#: Providers that a bundle may recommend a file for.
_RUNNERS: Mapping[str, str] = {OPENVINO_PROVIDER: "openvino", CPU_PROVIDER: "cpu"}

_OTHER: np.dtype[Any] = np.dtype(np.object_)


class Backend(Protocol):
    """Runs one network."""

    @property
    def name(self) -> str:
        """What runs it, for reports."""

    @property
    def substitution(self) -> str:
        """Why another backend runs the model than was asked for; empty = none does.

        It may change with any run.
        """

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name.

        Raises:
            DeviceError: what runs the model failed.
            BackendError: an input does not fit, or an output is not finite.
        """

    def close(self) -> None:
        """Give back memory and threads; a closed backend refuses to run."""


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """How a bundle is run.

    Attributes:
        role: which of the bundle's files; "auto" = what the bundle recommends for what runs it,
            fp32 where it recommends nothing.
        threads: of one inference.
        allow_spinning: let idle threads spin: 1-2 ms faster on an idle machine, several times
            slower where another process wants the cores.
        providers: ONNX Runtime's execution providers, first choice first; "auto" alone takes
            OpenVINO's plugin where it is installed and can run the model, else the CPU provider,
            which also takes over should OpenVINO fail later.
        openvino_precision: "f32", or "device" for what OpenVINO takes by itself (bf16 with AMX).
        log_severity: least severity that ONNX Runtime logs.
        backend: "onnxruntime" or "tensorrt"; the fields below are for the latter.
        cpu_fallback: whether ONNX Runtime takes over where TensorRT cannot run, or from the frame
            on at which it fails; then with the role that the bundle recommends for it.
        cameras: that the rig has; None = an engine for 1 to 8.
        engine_folder: where built engines are kept; None = the user's cache folder.

    Raises:
        ConfigError: a number is out of range, or a name is unknown.
    """

    role: str = "fp32"
    threads: int = 2
    allow_spinning: bool = False
    providers: tuple[str, ...] = (AUTO,)
    openvino_precision: str = OPENVINO_PRECISIONS[0]
    log_severity: int = LOG_SEVERITY_ERROR
    backend: str = BACKENDS[0]
    cpu_fallback: bool = False
    cameras: int | None = None
    engine_folder: Path | None = None

    def __post_init__(self) -> None:
        """Check numbers and names."""
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend must be {' or '.join(BACKENDS)}, got '{self.backend}'")
        if self.cameras is not None and not 1 <= self.cameras <= 64:
            raise ConfigError(f"backend cameras must be 1..64, got {self.cameras}")
        self.provider_settings()

    def provider_settings(self) -> ProviderSettings:
        """Return how ONNX Runtime runs a graph."""
        return ProviderSettings(
            threads=self.threads,
            allow_spinning=self.allow_spinning,
            providers=self.providers,
            openvino_precision=self.openvino_precision,
            log_severity=self.log_severity,
        )


class OnnxRuntimeBackend(CheckedBackend):
    """Runs an ONNX file with ONNX Runtime.

    Raises:
        BackendError: ONNX Runtime or a provider is not installed, the file cannot be read, or
            its inputs and outputs are not those that the specs ask for.
    """

    def __init__(
        self,
        model: Path,
        threads: int = 2,
        allow_spinning: bool = False,
        providers: Sequence[str] = (CPU_PROVIDER,),
        log_severity: int = LOG_SEVERITY_ERROR,
        *,
        openvino_precision: str = OPENVINO_PRECISIONS[0],
        report: Callable[[str], None] | None = None,
        inputs: InputSpec | None = None,
        head: HeadSpec | None = None,
    ) -> None:
        settings = ProviderSettings(
            threads=threads,
            allow_spinning=allow_spinning,
            providers=tuple(providers),
            openvino_precision=openvino_precision,
            log_severity=log_severity,
        )
        self._session = open_session(model, settings, report)
        self._failures = session_failures()
        self._model = model
        self.inputs = {item.name: _tensor_spec(item) for item in self._session.get_inputs()}
        self._outputs = {item.name: _tensor_spec(item) for item in self._session.get_outputs()}
        if inputs is not None:
            check_contract(model, "input", self.inputs, input_contract(inputs))
        if inputs is not None and head is not None:
            check_contract(model, "output", self._outputs, output_contract(inputs, head))
        self.provider: str = self._session.get_providers()[0]
        self.name = f"onnxruntime {import_onnxruntime().__version__} {self.provider}"

    def infer(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name, whatever they are.

        Raises:
            DeviceError: the run failed.
            BackendError: the backend is closed, or an input does not fit.
        """
        if self._session is None:
            raise BackendError(f"the backend of {self._model} is closed")
        check_arrays(self._model, self.inputs, inputs)
        names = list(self._outputs)
        try:
            values = self._session.run(names, {name: inputs[name] for name in self.inputs})
        except self._failures as error:
            raise DeviceError(
                f"inference of {self._model} failed on {self.name}: {error}"
            ) from None
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Give back memory and threads; a closed backend refuses to run."""
        self._session = None


def open_backend(
    bundle: Bundle,
    settings: BackendSettings | None = None,
    report: Callable[[str], None] | None = None,
) -> Backend:
    """Open a bundle's model; its inputs and outputs are checked against the bundle's specs.

    Args:
        bundle: verified.
        settings: how it is run.
        report: is told, at least every 5 s, how the building of an engine proceeds, when another
            backend takes over, also while the model runs, and why OpenVINO is not used where it
            is installed; from whatever thread that happens in.

    Raises:
        BundleError: the bundle has no such role, or TensorRT refuses the file.
        BackendError: the backend cannot be had, or the model does not fit the bundle.
    """
    settings = settings or BackendSettings()
    open_cpu = partial(_open_onnxruntime, bundle, settings, report)
    if settings.backend != "tensorrt":
        return open_cpu()
    from imkd_core.runtime.tensorrt.backend import open_tensorrt

    open_gpu = partial(open_tensorrt, bundle, settings, report)
    if not settings.cpu_fallback:
        return open_gpu()
    open_cpu = partial(_open_onnxruntime, bundle, replace(settings, role=AUTO_ROLE), report)
    words = "TensorRT cannot run, ONNX Runtime takes over"
    return StandbyBackend(open_gpu, open_cpu, words, report)


def _open_onnxruntime(
    bundle: Bundle, settings: BackendSettings, report: Callable[[str], None] | None
) -> Backend:
    """Open a file with the provider that is asked for, or with the first that can run it."""
    providers = settings.provider_settings()
    open_with = partial(_opened, bundle, settings, report)
    if settings.providers != (AUTO,):
        return open_with(providers)
    backend = first_provider(providers, open_with, report)
    if backend.provider != OPENVINO_PROVIDER:
        return backend
    open_cpu = partial(open_with, replace(providers, providers=(CPU_PROVIDER,)))
    words = f"OpenVINO failed, {CPU_PROVIDER} takes over"
    return StandbyBackend(lambda: backend, open_cpu, words, report)


def _opened(
    bundle: Bundle,
    settings: BackendSettings,
    report: Callable[[str], None] | None,
    providers: ProviderSettings,
) -> OnnxRuntimeBackend:
    """Open a file with a provider and run it once: some fail at their first run and not before."""
    runner = _RUNNERS.get(providers.providers[0], "")
    choice = choose_role(bundle, settings.role, runner)
    backend = OnnxRuntimeBackend(
        bundle.path(choice.role),
        providers.threads,
        providers.allow_spinning,
        providers.providers,
        providers.log_severity,
        openvino_precision=providers.openvino_precision,
        inputs=bundle.inputs,
        head=bundle.head,
    )
    try:
        backend.warm_up(settings.cameras or 1)
    except BackendError:
        backend.close()
        raise
    if settings.role == AUTO_ROLE and report is not None:
        report(f"{backend.provider} runs the {choice.role} file: {choice.reason}")
    return backend


def describe_providers() -> dict[str, str]:
    """Return what inference could run on here: provider -> ONNX Runtime's version.

    Raises:
        BackendError: ONNX Runtime is not installed.
    """
    onnxruntime = import_onnxruntime()
    version = f"onnxruntime {onnxruntime.__version__}"
    return dict.fromkeys(onnxruntime.get_available_providers(), version)


def _tensor_spec(item: Any) -> TensorSpec:
    """Return the spec of ONNX Runtime's description; symbolic sizes are open."""
    shape = tuple(size if isinstance(size, int) else None for size in item.shape)
    return TensorSpec(dtype=_DTYPES.get(item.type, _OTHER), shape=shape)
