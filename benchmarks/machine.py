# SPDX-License-Identifier: Apache-2.0
"""The machine that figures were measured on: what it is, whether it is idle, how fast it can be.

Two peaks in single precision: of matrix products (GEMM), the best of torch, numpy and ONNX Runtime,
and of convolutions in ONNX Runtime. The second is higher, on two cores by a fifth: maps lie in
memory in blocks of channels as the kernel reads them, and nothing is copied for it. No network of
convolutions runs faster than its multiply-adds at that rate, unless it does fewer of them
(Winograd, which ONNX Runtime does not do here; padding) or computes with fewer bits.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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


class Product(NamedTuple):
    """Sides of a matrix product: (rows, inner) times (inner, columns)."""

    rows: int
    inner: int
    columns: int


class Convolution(NamedTuple):
    """A map of (images, channels, rows, columns) that goes through 3 x 3 layers as wide."""

    images: int
    channels: int
    rows: int
    columns: int


#: Products that a peak is looked for in; tall ones are slower in every library.
SHAPES = (
    Product(1024, 1024, 1024),
    Product(2048, 2048, 2048),
    Product(4096, 4096, 4096),
    Product(512, 512, 16384),
)

#: Convolutions that a peak is looked for in: many channels on small maps, and the other way round.
CONVOLUTIONS = (Convolution(6, 256, 24, 52), Convolution(6, 64, 72, 184))

#: Layers of such a network; without padding each takes two rows and columns from its map.
_LAYERS = 4

_STAT = Path("/proc/stat")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, memory, system and versions, for the JSON."""
    info = _cpu_info(_text(Path("/proc/cpuinfo")))
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "cpu_stepping": info.get("stepping", "?"),
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


def gemm_peak(
    threads: int, shapes: Sequence[Product] = SHAPES, rounds: int = 5
) -> dict[str, float]:
    """Return GFLOP/s of fp32 matrix products by library; the peak is their largest.

    Args:
        threads: of each library.
        shapes: of which the fastest counts for each library.
        rounds: of which the fastest counts: a peak is what can be reached.
    """
    found: dict[str, float] = {}
    for shape in shapes:
        for name, rate in _gemm_rates(threads, shape, rounds).items():
            found[name] = max(rate, found.get(name, 0.0))
    return found


def _gemm_rates(threads: int, shape: Product, rounds: int) -> dict[str, float]:
    """Return GFLOP/s of one product by library."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((shape.rows, shape.inner), np.float32)
    right = rng.standard_normal((shape.inner, shape.columns), np.float32)
    products: dict[str, Callable[[], object]] = {
        "numpy": _numpy_product(left, right, threads),
        "torch": _torch_product(left, right, threads),
        "onnxruntime": _onnxruntime_product(left, right, threads),
    }
    times = time_in_turns(products, rounds)
    flops = 2 * shape.rows * shape.inner * shape.columns
    return {name: flops / min(timing.samples_ms) * 1e-6 for name, timing in times.items()}


def convolution_peak(
    threads: int, shapes: Sequence[Convolution] = CONVOLUTIONS, rounds: int = 5
) -> float:
    """Return the most GFLOP/s that ONNX Runtime reaches in fp32 convolutions without padding.

    Args:
        threads: of ONNX Runtime.
        shapes: of which the fastest counts.
        rounds: of which the fastest counts.
    """
    works: dict[str, Callable[[], object]] = {
        str(tuple(shape)): _convolutions(shape, threads) for shape in shapes
    }
    times = time_in_turns(works, rounds, lead_in=1)
    return max(
        convolution_flops(shape) / min(times[name].samples_ms) * 1e-6
        for name, shape in zip(works, shapes, strict=True)
    )


def convolution_flops(shape: Convolution) -> int:
    """Return the operations of one run."""
    sizes = [(shape.rows - 2 * i, shape.columns - 2 * i) for i in range(1, _LAYERS + 1)]
    cells = sum(rows * columns for rows, columns in sizes)
    return 2 * 9 * shape.images * shape.channels**2 * cells


def memory_peak_mb() -> float:
    """Return the most memory that this process has held (resident), in MB."""
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024e-6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6


def _numpy_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

    out = np.empty((len(left), right.shape[1]), np.float32)

    def product() -> object:
        with threadpool_limits(limits=threads, user_api="blas"):
            return np.matmul(left, right, out=out)

    return product


def _torch_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    a, b = torch.from_numpy(left), torch.from_numpy(right)
    out = torch.empty(len(a), b.shape[1])
    return lambda: torch.mm(a, b, out=out)


def _onnxruntime_product(left: Any, right: Any, threads: int) -> Callable[[], object]:
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["in", "weight"], ["out"])]
    return _session(nodes, left, (len(left), right.shape[1]), right, threads)


def _convolutions(shape: Convolution, threads: int) -> Callable[[], object]:
    """Return a run of some 3 x 3 layers without padding, all with the same weights."""
    from onnx import helper

    rng = np.random.default_rng(0)
    images = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal((shape.channels, shape.channels, 3, 3), np.float32)
    weight /= 3 * np.sqrt(shape.channels)  # maps stay of the same size
    names = ["in", *(f"map {i}" for i in range(1, _LAYERS)), "out"]
    nodes = [
        helper.make_node("Conv", [before, "weight"], [after]) for before, after in pairwise(names)
    ]
    lost = 2 * _LAYERS
    out = (shape.images, shape.channels, shape.rows - lost, shape.columns - lost)
    return _session(nodes, images, out, weight, threads)


def _session(
    nodes: Sequence[Any], given: Any, out: tuple[int, ...], weight: Any, threads: int
) -> Callable[[], object]:
    """Return a run of a graph in ONNX Runtime from "in" to "out", with one "weight"."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    shapes = {"in": given.shape, "out": out}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    stored = [onnx.numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "peak", values[:1], values[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(["out"], {"in": given})


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
