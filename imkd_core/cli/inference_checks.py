# SPDX-License-Identifier: Apache-2.0
"""The doctor on inference: providers, OpenVINO, TensorRT, its engines, and what a model runs on."""

import time
from pathlib import Path

from imkd_core.cli.checks import distribution_version
from imkd_core.errors import BackendError, ConfigError, ImkdError
from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.runtime.bundle import Bundle

#: Cameras of the sensor file that comes with the package.
CAMERAS = 6


def check_providers(remedy: str) -> Check:
    """Check which inference providers ONNX Runtime offers."""
    try:
        import onnxruntime
    except ImportError:
        return Check(name="providers", level=RED, found="no ONNX Runtime", remedy=remedy)
    providers = onnxruntime.get_available_providers()
    return Check(name="providers", level=GREEN, found=", ".join(providers))


def check_openvino() -> Check:
    """Check whether OpenVINO's plugin is there and knows this processor; it is optional."""
    from imkd_core.runtime.providers import has_openvino, openvino_devices

    name = "OpenVINO"
    if not has_openvino():
        return Check(
            name=name,
            level=AMBER,
            found="no plugin; ONNX Runtime's own CPU provider runs the model",
            remedy="optional; 'pip install onnxruntime-ep-openvino' pays on Intel processors, for "
            "int8 models most of all",
        )
    try:
        openvino_devices()
    except BackendError as error:
        return Check(
            name=name,
            level=AMBER,
            found=str(error),
            remedy="nothing to do: the CPU provider runs the model, unless model.provider asks for "
            "OpenVINO",
        )
    version = distribution_version("onnxruntime_ep_openvino")
    return Check(name=name, level=GREEN, found=f"plugin {version}, used by itself")


def check_tensorrt() -> Check:
    """Check whether TensorRT is there and can run on a GPU of this machine; it is optional."""
    from imkd_core.runtime.tensorrt.builder import check_target
    from imkd_core.runtime.tensorrt.cuda import load_cuda
    from imkd_core.runtime.tensorrt.packages import import_tensorrt, is_tensorrt_installed

    name = "TensorRT"
    if not is_tensorrt_installed():
        return Check(
            name=name,
            level=AMBER,
            found="not installed; model.backend: tensorrt cannot be used",
            remedy="optional; 'pip install tensorrt' on a machine with an NVIDIA GPU, or "
            "'pip install tensorrt-rtx' for a GeForce or RTX GPU",
        )
    found = "installed"
    try:
        tensorrt = import_tensorrt()
        found = f"{tensorrt.__name__} {tensorrt.__version__}"
        target = load_cuda().device()
        check_target(tensorrt, target)
    except BackendError as error:
        return Check(
            name=name,
            level=AMBER,
            found=f"{found}, and cannot run here: {error}",
            remedy="nothing to do where the CPU runs the model, as by default; with model.backend: "
            "tensorrt the node refuses configure, or runs on the CPU with model.cpu_fallback: true",
        )
    major, minor = target.compute_capability
    return Check(
        name=name,
        level=GREEN,
        found=f"{found} on {target.gpu_name} (compute capability {major}.{minor}, CUDA "
        f"{target.cuda_version}); set model.backend: tensorrt to use it",
    )


def check_engines(folder: Path | None = None) -> Check:
    """Check TensorRT's engines that are kept: how many, how large, and whether they may be loaded.

    Args:
        folder: of engines; the user's cache folder when None.
    """
    from imkd_core.runtime.tensorrt.engine_cache import default_folder
    from imkd_core.runtime.tensorrt.private_files import UntrustedError
    from imkd_core.runtime.tensorrt.private_store import PrivateStore

    name = "engines"
    try:
        store = PrivateStore(folder or default_folder())
        entries = [entry for entry in store.entries() if store.path(entry.name).exists()]
        refusals = [store.read(entry.name, entry.facts).refusal for entry in entries]
    except (OSError, UntrustedError, ConfigError) as error:
        return Check(
            name=name,
            level=AMBER,
            found=f"the folder of engines cannot be used: {error}",
            remedy="engines are built anew at each configure until that is mended, or until "
            "model.engine_folder names a folder that is yours alone",
        )
    size_mib = sum(entry.size_bytes for entry in entries) / (1 << 20)
    found = f"{len(entries)} files of TensorRT, {size_mib:.1f} MiB in {store.folder}"
    faults = [text for text in refusals if text]
    if not faults:
        return Check(name=name, level=GREEN, found=found)
    return Check(
        name=name,
        level=AMBER,
        found=f"{found}; {len(faults)} are never loaded, one because {faults[0]}",
        remedy="nothing to do: they are built again when they are wanted",
    )


def check_choice(bundle: Bundle) -> Check:
    """Check what runs a bundle with the node's own defaults: it is opened, and run once.

    Args:
        bundle: verified.
    """
    from imkd_core.runtime.backends import BackendSettings, open_backend
    from imkd_core.runtime.roles import AUTO_ROLE, recommendations

    name, reasons = f"runs {bundle.name}", list[str]()
    settings = BackendSettings(role=AUTO_ROLE, cameras=CAMERAS)
    start_s = time.monotonic()
    try:
        backend = open_backend(bundle, settings, reasons.append)
    except ImkdError as error:
        return Check(
            name=name,
            level=RED,
            found=str(error),
            remedy="export the bundle again; the lines above say what this machine can run",
        )
    seconds, runs_on = time.monotonic() - start_s, backend.name
    backend.close()
    said = recommendations(bundle)
    advice = ", ".join(f"{role} on {runner}" for runner, role in said.items()) or "nothing else"
    return Check(
        name=name,
        level=GREEN,
        found=f"{runs_on}: {'; '.join(reasons)}; the bundle recommends {advice}; opened and run "
        f"once in {seconds:.1f} s",
    )
