# SPDX-License-Identifier: Apache-2.0
"""The R50 student on an NVIDIA GPU without TensorRT: torch.compile and a CUDA graph.

    python -m benchmarks.torch_gpu [--student r50] [--rounds 300] [--mode default]

Batch 1, random weights, inputs in GPU memory; a sample ends when the candidate boxes lie in pinned
host memory. In turns: eager fp32 (torch's defaults), eager half precision with norms folded and
channels last, the same as a CUDA graph, and compiled as a CUDA graph, each in fp16 and bf16. Beside
it two floors of this GPU, measured in the same run: multiply-adds at the rate of a large fp16
product, and every convolution's inputs, outputs and weights at the rate of a large copy. Where the
package tensorrt is installed, its engine stands beside them (copies of its inputs included).

Without CUDA it says so, measures nothing, and the goals keep their rows.
"""

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.goals import judged
from benchmarks.harness import Figure, Goal, Report, Timing, run_benchmark, time_in_turns
from benchmarks.inference import STUDENTS, first_line, say
from benchmarks.students import Subject, r50
from imkd_core.config import HeadSpec
from imkd_core.errors import ImkdError
from imkd_core.export.graph import deploy
from imkd_core.model.center_head import decode
from imkd_core.model.example import batched
from imkd_core.model.student import Student
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.tensorrt.packages import import_tensorrt

EAGER = "eager fp32"
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}
MODES = ("default", "max-autotune-no-cudagraphs")

#: Sides of the matrices, and bytes of the copy, that the floors are measured with.
GEMM_SIZE = 8192
COPY_BYTES = 1 << 30

Work = Callable[[], object]


class HeadOnDevice(HeadSpec):
    """A head whose `task_of_class` is a tensor on a device.

    `decode` makes a tensor of it on each call; from a list that is a copy from the host, which a
    CUDA graph must not record.
    """

    _tasks: Tensor

    @classmethod
    def of(cls, head: HeadSpec, device: torch.device) -> "HeadOnDevice":
        """Return a head on a device."""
        found = cls(**vars(head))
        object.__setattr__(found, "_tasks", torch.tensor(head.task_of_class, device=device))
        return found

    @property
    def task_of_class(self) -> Any:
        """(classes,) task group of each class."""
        return self._tasks


class GpuStudent(nn.Module):
    """A student with decoding behind it, for one frame, with nothing that a CUDA graph forbids.

    Args:
        student: in evaluation mode, on its device and in its precision.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.head = HeadOnDevice.of(student.head_spec, student.image_norm.scale.device)

    def forward(self, frame: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores [M], labels [M] and boxes [M, 10] of a frame without batch axis."""
        float_type = self.student.image_norm.scale.dtype
        inputs = {
            name: value[None] if name == "lut_index" else value[None].to(float_type)
            for name, value in frame.items()
        }
        maps = self.student(**inputs)
        found = decode(maps.heatmap_logits, maps.codes, self.head, self.student.inputs.bev)
        return found.scores[0], found.labels[0], found.boxes[0]


def prepared(
    subject: Subject, dtype: torch.dtype, device: torch.device, is_folded: bool = True
) -> GpuStudent:
    """Return a copy of a student on a device: norms folded, channels last, or as it is trained."""
    if not is_folded:
        return GpuStudent(copy.deepcopy(subject.student).to(device, dtype).eval())
    folded = deploy(subject.student, dict(subject.frame)).student
    folded = folded.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return GpuStudent(folded.eval())


class Answer:
    """Boxes of a frame in pinned host memory, where the CPU can read them."""

    def __init__(self, example: tuple[Tensor, ...]) -> None:
        self._host = [torch.empty(v.shape, dtype=v.dtype, pin_memory=True) for v in example]

    def take(self, found: tuple[Tensor, ...]) -> list[Tensor]:
        """Copy and wait until all is there."""
        for host, value in zip(self._host, found, strict=True):
            host.copy_(value, non_blocking=True)
        torch.cuda.synchronize()
        return self._host


def eager_run(network: nn.Module, frame: dict[str, Tensor]) -> Work:
    """Return one run, call by call."""
    with torch.no_grad():
        answer = Answer(network(frame))

    def work() -> object:
        with torch.no_grad():
            return answer.take(network(frame))

    return work


def graph_run(network: nn.Module, frame: dict[str, Tensor]) -> Work:
    """Return one run that replays what was recorded; the frame's memory is read anew each time."""
    with torch.no_grad():
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # compiles, and lets libraries choose, before the recording
            for _ in range(3):
                network(frame)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = network(frame)
    answer = Answer(found)

    def work() -> object:
        graph.replay()
        return answer.take(found)

    return work


def alternatives(
    subject: Subject, device: torch.device, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Work]]]:
    """Yield each way to run the network: a name, and what makes its work ready."""
    frame = {name: value.to(device) for name, value in subject.frame.items()}
    plain = prepared(subject, torch.float32, device, is_folded=False)
    yield EAGER, lambda: eager_run(plain, frame)
    for label, dtype in PRECISIONS.items():
        network = prepared(subject, dtype, device)
        yield f"eager {label}", lambda net=network: eager_run(net, frame)  # type: ignore[misc]
        yield (
            f"CUDA graph {label}",
            lambda net=network: graph_run(net, frame),  # type: ignore[misc]
        )
        if not options.no_compile:
            mode = None if options.mode == "default" else options.mode
            fast = torch.compile(network, mode=mode, dynamic=False)
            yield (
                f"compiled CUDA graph {label}",
                lambda net=fast: graph_run(net, frame),  # type: ignore[misc]
            )
    yield "TensorRT fp16", lambda: tensorrt_run(subject)


def tensorrt_run(subject: Subject) -> Work:
    """Return one run of the engine of the bundle's fp16 file; its inputs come from the host.

    Raises:
        ImkdError: TensorRT is not installed or does not know this GPU, or there is no such file.
    """
    import_tensorrt()
    bundle = r50(("fp16",)).bundle if subject.name == "R50" else subject.bundle
    settings = BackendSettings(role="fp16", backend="tensorrt", cameras=6)
    backend = open_backend(bundle, settings, say)
    arrays = subject.arrays()
    return lambda: backend.run(arrays)


def ready(
    found: Iterator[tuple[str, Callable[[], Work]]],
) -> tuple[dict[str, Work], dict[str, str], dict[str, float]]:
    """Return what can run, why the rest cannot, and the seconds that each took to make ready."""
    works: dict[str, Work] = {}
    reasons: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name, make in found:
        say(f"{name}: making ready")
        begin_s = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                works[name] = make()
        except (ImkdError, RuntimeError, torch.cuda.OutOfMemoryError, ImportError) as error:
            reasons[name] = first_line(error)
        seconds[name] = round(time.monotonic() - begin_s, 1)
    return works, reasons, seconds


def differences(works: Mapping[str, Work]) -> dict[str, float]:
    """Return the largest difference of any sorted score from those of eager fp32."""
    scores = {}
    for name, work in works.items():
        found = work()
        values = found["scores"] if isinstance(found, dict) else found[0]  # type: ignore[index]
        scores[name] = torch.as_tensor(values).float().clone()
    return {name: float((v - scores[EAGER]).abs().max()) for name, v in scores.items()}


def moved_bytes(subject: Subject, bytes_per_number: int = 2) -> int:
    """Return the bytes that all convolutions and products read and write in one frame."""
    total = 0

    def count(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weights = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        total += arguments[0].numel() + output.numel() + weights

    student = copy.deepcopy(subject.student).to("meta").eval()
    for module in student.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(count)
    frame = {name: value.to("meta") for name, value in batched(dict(subject.frame)).items()}
    with torch.no_grad():
        student(**frame)
    return total * bytes_per_number


def device_rates(rounds: int = 20) -> tuple[float, float]:
    """Return this GPU's TFLOP/s of a large fp16 matrix product, and TB/s of a large copy."""
    left, right = (torch.randn(GEMM_SIZE, GEMM_SIZE, device="cuda").half() for _ in range(2))
    out = torch.empty_like(left)
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def finished(work: Work) -> Work:
        def run() -> None:
            work()
            torch.cuda.synchronize()

        return run

    works = {
        "product": finished(lambda: torch.mm(left, right, out=out)),
        "copy": finished(lambda: target.copy_(source)),
    }
    times = time_in_turns(works, rounds, warm_up=3)
    flops, moved = 2 * GEMM_SIZE**3, 2 * COPY_BYTES
    product, copied = (min(times[name].samples_ms) for name in ("product", "copy"))
    return flops / product * 1e-9, moved / copied * 1e-9


def figures_of(
    times: Mapping[str, Timing], reasons: Mapping[str, str], floors_ms: Mapping[str, float]
) -> Iterator[Figure]:
    """Yield floors, times, and what could not run."""
    for name, value in floors_ms.items():
        yield Figure(name=f"floor: {name}", value=round(value, 4), unit="ms")
    floor_ms = max(floors_ms.values())
    for name, timing in times.items():
        faster = timing.times_faster_than(times[EAGER])
        note = f"{faster:.2f} times {EAGER}, floor is {100 * floor_ms / timing.p50_ms:.0f} % of it"
        yield from timing.figures(name, note)
    for name, reason in reasons.items():
        yield Figure(name=f"{name}, p50", value=None, unit="ms", note=reason)


def goals_of(times: Mapping[str, Timing]) -> tuple[Goal, ...]:
    """Return the goals, answered by the fastest in half precision that torch alone runs."""
    own = [name for name in times if name != EAGER and not name.startswith("TensorRT")]
    if EAGER not in times or not own:
        reason = "nothing in half precision ran on this GPU"
        return judged("gpu_time", None, reason), judged("gpu_ratio", None, reason)
    best = min(own, key=lambda name: times[name].p50_ms)
    ratio = times[best].times_faster_than(times[EAGER])
    return judged("gpu_time", times[best].p50_ms, best), judged("gpu_ratio", ratio, best)


def without_gpu(reason: str) -> Report:
    """Return the report of a machine that has no GPU for torch."""
    return Report(
        name="torch_gpu",
        goals=(judged("gpu_time", None, reason), judged("gpu_ratio", None, reason)),
        facts={"warnings": [f"nothing was measured: {reason}"]},
    )


def measure(options: argparse.Namespace) -> Report:
    """Measure on the first GPU."""
    if not torch.cuda.is_available():
        built = torch.version.cuda or "a build without CUDA"
        return without_gpu(f"torch {torch.__version__} ({built}) sees no CUDA device")
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # see `HeadOnDevice`
    device = torch.device("cuda", 0)
    subject = STUDENTS[options.student]()
    rate_tflops, rate_tbs = device_rates()
    floors_ms = {
        f"multiply-adds at {rate_tflops:.0f} TFLOP/s": subject.flops() / rate_tflops * 1e-9,
        f"bytes at {rate_tbs:.2f} TB/s": moved_bytes(subject) / rate_tbs * 1e-9,
    }
    works, reasons, seconds = ready(alternatives(subject, device, options))
    torch.cuda.reset_peak_memory_stats()
    times = time_in_turns(works, 20 if options.quick else options.rounds, warm_up=5, lead_in=1)
    found = list(figures_of(times, reasons, floors_ms))
    peak_mb = torch.cuda.max_memory_allocated() * 1e-6
    found.append(Figure(name="GPU memory of all together", value=round(peak_mb), unit="MB"))
    facts = {
        "gpu": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "cuda": torch.version.cuda,
        "tf32": {
            "matmul": torch.backends.cuda.matmul.allow_tf32,
            "convolutions": torch.backends.cudnn.allow_tf32,
        },
        "mode": options.mode,
        "made_ready_s": seconds,
        "largest_score_difference": differences(works),
    }
    return Report(name="torch_gpu", figures=tuple(found), goals=goals_of(times), facts=facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--student", choices=sorted(STUDENTS), default="r50")
    parser.add_argument("--rounds", type=int, default=300, help="samples (default: 300)")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="of torch.compile")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")


def main() -> int:
    """Measure and print."""
    return run_benchmark("torch_gpu", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
