# SPDX-License-Identifier: Apache-2.0
"""The machine that figures were measured on: what it is, whether it is idle, how fast it can be.

The peak is that of single-precision matrix products (GEMM), the best of torch, numpy and ONNX
Runtime: no network of convolutions runs faster than its multiply-adds at that rate, unless it does
fewer of them (Winograd) or computes with fewer bits.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import time_in_turns
from imkd_core.runtime.processor import usable_cores

#: Packages whose versions stand beside every figure.
PACKAGES = (
    "numpy",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-ep-openvino",
    "torch",
    "tensorrt",
    "tensorrt-rtx",
    "onnx",
)

#: Flags of x86 and ARM that decide how fast int8, bf16 and fp32 are.
ISA_FLAGS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)

#: A machine on which others use more than this share of a core is busy.
BUSY_CORES = 0.15

_STAT = Path("/proc/stat")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, memory, system and versions, for the JSON."""
    info = _cpu_info(_text(Path("/proc/cpuinfo")))
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "cores": usable_cores(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "is_virtual": "hypervisor" in flags,
        "memory_gib": round(_memory_kib() / 2**20, 1),
        "governor": _text(_GOVERNOR).strip() or "not readable",
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := package_version(name))},
        "gpu": gpu_name(),
    }


def package_version(name: str) -> str:
    """Return the version of an installed package; empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def gpu_name() -> str:
    """Return the name of the first NVIDIA GPU by its driver; empty where there is none."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = (line for path in found for line in _text(path).splitlines())
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("Model")), "")


def busy_cores(seconds: float = 0.5) -> float | None:
    """Return how many cores other processes use just now, on average; None where nobody says.

    Sleeps for that time, so that what it sees is not this process.
    """
    before = _busy_ticks(_text(_STAT))
    begin_s = time.monotonic()
    time.sleep(seconds)
    after = _busy_ticks(_text(_STAT))
    if before is None or after is None:
        return None
    spent_s = (after - before) / os.sysconf("SC_CLK_TCK")
    return max(0.0, spent_s / (time.monotonic() - begin_s))


def idle_warnings(cores: float | None = None) -> list[str]:
    """Return what speaks against the figures of this machine at this moment, in sentences.

    Args:
        cores: that others use; measured when None.
    """
    cores = busy_cores() if cores is None else cores
    warnings = []
    if cores is not None and cores > BUSY_CORES:
        warnings.append(
            f"other processes use {cores:.1f} of {usable_cores()} cores: times are too long; "
            "measure again on an idle machine"
        )
    governor = _text(_GOVERNOR).strip()
    if governor and governor != "performance":
        warnings.append(
            f"the CPU's frequency governor is '{governor}', not 'performance': times may scatter"
        )
    return warnings


def gemm_peak(threads: int, size: int = 2048, rounds: int = 5) -> dict[str, float]:
    """Return GFLOP/s of a square fp32 matrix product by library; the peak is their largest.

    Args:
        threads: of each library.
        size: of the matrices.
        rounds: of which the fastest counts: a peak is what can be reached.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    products: dict[str, Callable[[], object]] = {
        "numpy": _numpy_product(left, right, threads),
        "torch": _torch_product(left, right, threads),
        "onnxruntime": _onnxruntime_product(left, right, threads),
    }
    times = time_in_turns(products, rounds)
    flops = 2 * size**3
    return {name: flops / min(timing.samples_ms) * 1e-6 for name, timing in times.items()}


def memory_peak_mb() -> float:
    """Return the most memory that this process has held (resident), in MB."""
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024e-6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6


def _numpy_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

    out = np.empty_like(left)

    def product() -> object:
        with threadpool_limits(limits=threads, user_api="blas"):
            return np.matmul(left, right, out=out)

    return product


def _torch_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    a, b = torch.from_numpy(left), torch.from_numpy(right)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _onnxruntime_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    square = list(left.shape)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, square) for n in "abc"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        values[:1],
        values[2:],
        [onnx.numpy_helper.from_array(right, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(["c"], {"a": left})


def _cpu_info(text: str) -> Mapping[str, str]:
    """Return the first processor's lines of /proc/cpuinfo."""
    lines = text.split("\n\n", 1)[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _busy_ticks(text: str) -> int | None:
    """Return the ticks that all processors have worked, by the first line of /proc/stat."""
    fields = text.split("\n", 1)[0].split()
    if len(fields) < 5 or fields[0] != "cpu":
        return None
    user, nice, system = (int(field) for field in fields[1:4])
    return user + nice + system


def _memory_kib() -> int:
    lines = _text(Path("/proc/meminfo")).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("MemTotal")), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
