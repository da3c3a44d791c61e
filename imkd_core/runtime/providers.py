# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's execution providers: what there is, and sessions on them.

OpenVINO comes as a plugin (`pip install onnxruntime-ep-openvino`) that ONNX Runtime 1.23 or newer
loads; it is optional, and used by itself where it can be: see `AUTO`.
"""

import importlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from imkd_core.errors import BackendError, ConfigError

CPU_PROVIDER = "CPUExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"

#: OpenVINO's plugin where it is installed and can run the model, else ONNX Runtime's own CPU code.
AUTO = "auto"

#: "f32" computes in fp32 as the other backends do; "device" leaves it to OpenVINO, which takes
#: bf16 where the CPU is fast at it (AMX). It is never forced: without AMX bf16 is 4 times slower.
OPENVINO_PRECISIONS = ("f32", "device")

#: ONNX Runtime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.
LOG_SEVERITY_ERROR = 3

Opened = TypeVar("Opened")

_PLUGIN_MODULE = "onnxruntime_ep_openvino"
_PLUGIN_NAME = "imkd_openvino"


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """How ONNX Runtime runs a graph.

    Attributes:
        threads: of one inference.
        allow_spinning: let idle threads spin.
        providers: first choice first; `AUTO` alone chooses.
        openvino_precision: one of `OPENVINO_PRECISIONS`.
        log_severity: least severity that ONNX Runtime logs.

    Raises:
        ConfigError: a number is out of range, or a name cannot be.
    """

    threads: int = 2
    allow_spinning: bool = False
    providers: tuple[str, ...] = (AUTO,)
    openvino_precision: str = OPENVINO_PRECISIONS[0]
    log_severity: int = LOG_SEVERITY_ERROR

    def __post_init__(self) -> None:
        """Check numbers and names."""
        if not 1 <= self.threads <= 256:
            raise ConfigError(f"backend threads must be 1..256, got {self.threads}")
        if not 0 <= self.log_severity <= 4:
            raise ConfigError(f"backend log_severity must be 0..4, got {self.log_severity}")
        if not self.providers or not all(self.providers):
            raise ConfigError(
                f"backend providers must name at least one, such as {CPU_PROVIDER}, or be '{AUTO}'"
            )
        if AUTO in self.providers and len(self.providers) > 1:
            raise ConfigError(
                f"backend providers: '{AUTO}' chooses by itself; leave it out or the other names"
            )
        if self.openvino_precision not in OPENVINO_PRECISIONS:
            raise ConfigError(
                f"openvino_precision must be {' or '.join(OPENVINO_PRECISIONS)}, got "
                f"'{self.openvino_precision}'"
            )


def import_onnxruntime() -> Any:
    """Return the module.

    Raises:
        BackendError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime cannot be imported ({error}); install it with 'pip install onnxruntime'"
        ) from None
    return onnxruntime


def session_failures() -> tuple[type[Exception], ...]:
    """Return the errors that ONNX Runtime and files raise; they have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    raised = [value for value in vars(state).values() if isinstance(value, type)]
    own = [value for value in raised if issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError, OSError)


def open_session(
    model: Path, settings: ProviderSettings, report: Callable[[str], None] | None = None
) -> Any:
    """Return a session that runs a file.

    Args:
        model: the ONNX file.
        settings: how.
        report: is told why, where `AUTO` found OpenVINO and could not use it.

    Raises:
        BackendError: ONNX Runtime or a provider that was asked for is not there, or the file
            cannot be loaded.
    """
    if settings.providers == (AUTO,):
        return first_provider(settings, partial(open_session, model), report)
    onnxruntime = import_onnxruntime()
    available = onnxruntime.get_available_providers()
    if settings.providers[0] == OPENVINO_PROVIDER and OPENVINO_PROVIDER not in available:
        return _openvino_session(onnxruntime, model, settings)
    _check_providers(settings.providers, available)
    options = _options(onnxruntime, settings)
    return _session(onnxruntime, model, options, list(settings.providers))


def first_provider(
    settings: ProviderSettings,
    open_with: Callable[[ProviderSettings], Opened],
    report: Callable[[str], None] | None = None,
) -> Opened:
    """Return what is opened with the first provider that can run the model, as `AUTO` has it.

    Args:
        settings: their `providers` are replaced by one.
        open_with: opens the model, and may try it out; a BackendError means that it cannot.
        report: is told why, where OpenVINO was found and cannot be used.

    Raises:
        BackendError: ONNX Runtime's own CPU code cannot run it either.
    """
    import_onnxruntime()
    if has_openvino():
        try:
            return open_with(replace(settings, providers=(OPENVINO_PROVIDER,)))
        except BackendError as error:
            if report is not None:
                report(f"OpenVINO is installed and not used, {CPU_PROVIDER} runs: {error}")
    return open_with(replace(settings, providers=(CPU_PROVIDER,)))


def has_openvino() -> bool:
    """Whether OpenVINO's plugin is installed; whether it can run here is another matter."""
    return importlib.util.find_spec(_PLUGIN_MODULE) is not None


def openvino_devices() -> list[Any]:
    """Return ONNX Runtime's handles of the CPUs that OpenVINO's plugin can run on; one or more.

    Raises:
        BackendError: the plugin is not installed, cannot be loaded, or does not know this CPU.
    """
    onnxruntime = import_onnxruntime()
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise BackendError(
            f"ONNX Runtime {onnxruntime.__version__} takes no plugins; OpenVINO needs 1.23 or newer"
        )
    _load_plugin(onnxruntime)
    cpu = onnxruntime.OrtHardwareDeviceType.CPU
    devices = [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == OPENVINO_PROVIDER and device.device.type == cpu
    ]
    if not devices:
        raise BackendError(
            "OpenVINO's plugin offers no CPU device on this machine (it takes Intel processors "
            f"alone); use {CPU_PROVIDER}"
        )
    return devices


def _load_plugin(onnxruntime: Any) -> None:
    """Register the plugin, unless that was done; it stays until the process ends."""
    try:
        plugin = importlib.import_module(_PLUGIN_MODULE)
    except ImportError as error:
        raise BackendError(
            f"OpenVINO was asked for and its plugin cannot be imported ({error}); install it with "
            f"'pip install onnxruntime-ep-openvino', or set the provider to '{AUTO}'"
        ) from None
    if any(device.ep_name == OPENVINO_PROVIDER for device in onnxruntime.get_ep_devices()):
        return
    try:
        onnxruntime.register_execution_provider_library(_PLUGIN_NAME, plugin.get_library_path())
    except session_failures() as error:
        if "already registered" not in str(error):
            raise BackendError(
                f"OpenVINO's plugin cannot be loaded: {error}; install an onnxruntime-ep-openvino "
                f"that fits ONNX Runtime {onnxruntime.__version__}"
            ) from None


def _openvino_session(onnxruntime: Any, model: Path, settings: ProviderSettings) -> Any:
    devices = openvino_devices()
    config = {"INFERENCE_NUM_THREADS": str(settings.threads)}
    if settings.openvino_precision == "f32":
        config["INFERENCE_PRECISION_HINT"] = "f32"
    options = _options(onnxruntime, settings)
    try:
        options.add_provider_for_devices(devices[:1], {"load_config": json.dumps({"CPU": config})})
    except session_failures() as error:
        raise BackendError(f"OpenVINO refuses its settings: {error}") from None
    return _session(onnxruntime, model, options, None)


def _session(onnxruntime: Any, model: Path, options: Any, providers: list[str] | None) -> Any:
    try:
        return onnxruntime.InferenceSession(str(model), options, providers)
    except session_failures() as error:
        raise BackendError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {model}: {error}; copy or "
            "export the model again"
        ) from None


def _check_providers(wanted: Sequence[str], available: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in available]
    if missing:
        raise BackendError(
            f"execution provider {', '.join(missing)} is not available; this ONNX Runtime has "
            f"{', '.join(available)}"
        )


def _options(onnxruntime: Any, settings: ProviderSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = settings.log_severity
    spinning = "1" if settings.allow_spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    return options
