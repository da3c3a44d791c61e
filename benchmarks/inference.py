# SPDX-License-Identifier: Apache-2.0
"""The network alone: ONNX Runtime against torch, with the floor of its multiply-adds beside it.

    python -m benchmarks.inference [--students shipped,r50] [--threads 2] [--no-compile]

Both students, one frame of six cameras, random numbers as input. All alternatives run in turns in
one process, each once uncounted before every sample so that nobody pays for the caches and threads
of the one before. `eager torch` is the network as it is trained; `folded` has its norms folded as
the exported file has. The floor is two operations for each multiply-add that is not with padding,
at the highest rate of single-precision matrix products and convolutions on these threads
(`benchmarks.machine`); int8 may go below it. Peak memory is that of a process of its own, without
torch. The R50 has random weights and is exported on the first run.
"""

import argparse
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.goals import judged
from benchmarks.harness import Figure, Goal, Report, Timing, run_benchmark, time_in_turns
from benchmarks.machine import (
    CONVOLUTIONS,
    SHAPES,
    convolution_peak,
    gemm_peak,
    idle_warnings,
)
from benchmarks.session_memory import measure_memory_mb
from benchmarks.students import Subject, r50, shipped
from imkd_core.errors import BackendError, ConfigError, ImkdError
from imkd_core.export.graph import DeployedStudent, deploy
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.providers import CPU_PROVIDER, OPENVINO_PROVIDER, openvino_devices
from imkd_core.runtime.roles import AUTO_ROLE, role_for

STUDENTS: dict[str, Callable[[], Subject]] = {"shipped": shipped, "r50": r50}

#: Student -> samples of each alternative.
ROUNDS = {"shipped": 60, "r50": 9}

#: Longest that torch.compile may take for one network, seconds.
COMPILE_LIMIT_S = 240.0

EAGER, FOLDED, COMPILED = "eager torch", "eager torch, folded", "torch.compile"
FP32 = "onnxruntime fp32"
SPINNING = "onnxruntime fp32, threads spin"
GEMM, CONVOLUTION = "GEMM fp32", "convolution fp32, onnxruntime"
INT8_FILES = ("int8_u8", "int8_s8")
OPENVINO = "openvino"

Work = Callable[[], object]


def torch_alternatives(subject: Subject, with_compile: bool) -> Iterator[tuple[str, Work | str]]:
    """Yield each way to run the network in torch, or why there is none."""
    frame = dict(subject.frame)
    plain = DeployedStudent(subject.student).eval()
    folded = deploy(subject.student, frame)

    def eager(network: torch.nn.Module) -> Work:
        def work() -> object:
            with torch.inference_mode():
                return network(**frame)

        return work

    yield EAGER, eager(plain)
    yield FOLDED, eager(folded)
    yield COMPILED, compiled(folded, frame) if with_compile else "left out by choice"


def compiled(network: torch.nn.Module, frame: dict[str, torch.Tensor]) -> Work | str:
    """Return the compiled network after its first call, or why it cannot be compiled here."""
    try:
        with warnings.catch_warnings(), at_most(COMPILE_LIMIT_S):
            warnings.simplefilter("ignore")
            fast = torch.compile(network)
            with torch.no_grad():
                fast(**frame)
    except Exception as error:  # noqa: BLE001 - a missing compiler shows itself in many ways
        return f"torch.compile does not work here: {first_line(error)}"

    def work() -> object:
        with torch.no_grad():
            return fast(**frame)

    return work


@contextmanager
def at_most(limit_s: float) -> Iterator[None]:
    """Give up what takes longer; for the main thread alone.

    Raises:
        TimeoutError: it did.
    """

    def stop(_number: int, _frame: object) -> None:
        raise TimeoutError(f"not done after {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def session_alternatives(subject: Subject, threads: int) -> Iterator[tuple[str, Work | str]]:
    """Yield each way to run the bundle's files, or why there is none."""
    yield FP32, session(subject, "fp32", threads)
    yield SPINNING, session(subject, "fp32", threads, allow_spinning=True)
    for role in INT8_FILES:
        yield f"onnxruntime {role}", session(subject, role, threads)
    try:
        openvino_devices()
    except BackendError as error:
        for role in ("fp32", "int8_s8"):
            yield f"{OPENVINO} {role}", first_line(error)
        return
    for role in ("fp32", "int8_s8"):
        yield f"{OPENVINO} {role}", session(subject, role, threads, provider=OPENVINO_PROVIDER)


def session(
    subject: Subject,
    role: str,
    threads: int,
    allow_spinning: bool = False,
    provider: str = CPU_PROVIDER,
) -> Work | str:
    """Return a run of one of the bundle's files, or why there is none."""
    if role not in subject.bundle.files:
        return f"the bundle '{subject.bundle.name}' has no {role} file"
    arrays = subject.arrays()
    try:
        backend = OnnxRuntimeBackend(
            subject.bundle.path(role), threads, allow_spinning, (provider,)
        )
        backend.run(arrays)
    except ImkdError as error:
        return first_line(error)
    return lambda: backend.run(arrays)


def measure_student(key: str, peak_gflops: float, options: argparse.Namespace) -> dict[str, Any]:
    """Return the times, reasons, floor and memory of one student."""
    say(f"{key}: preparing")
    subject = STUDENTS[key]()
    found = dict(torch_alternatives(subject, not (options.no_compile or options.quick)))
    found |= dict(session_alternatives(subject, options.threads))
    works = {name: work for name, work in found.items() if not isinstance(work, str)}
    rounds = options.rounds or (2 if options.quick else ROUNDS[key])
    say(f"{key}: {rounds} rounds of {len(works)} alternatives")
    begin_s = time.monotonic()
    times = time_in_turns(works, rounds, warm_up=1 if options.quick else 2, lead_in=1)
    roles = [role for role in ("fp32", *INT8_FILES) if role in subject.bundle.files]
    memory = {
        role: measure_memory_mb(subject.bundle.root, role, subject.arrays()) for role in roles
    }
    return {
        "subject": subject,
        "times": times,
        "reasons": {name: work for name, work in found.items() if isinstance(work, str)},
        "floor_ms": subject.flops() / peak_gflops * 1e-6,
        "memory_mb": memory,
        "took_s": time.monotonic() - begin_s,
    }


def figures_of(found: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of one student."""
    name, times, floor_ms = found["subject"].name, found["times"], found["floor_ms"]
    note = f"{found['subject'].flops() * 1e-9:.1f} GFLOP, products with padding left out"
    yield Figure(name=f"{name}: floor", value=round(floor_ms, 3), unit="ms", note=note)
    for alternative, timing in times.items():
        faster = f"{timing.times_faster_than(times[EAGER]):.2f} times eager"
        share = f"{100 * floor_ms / timing.p50_ms:.0f} % of the floor's rate"
        yield from timing.figures(f"{name}: {alternative}", f"{faster}, {share}")
    for alternative, reason in found["reasons"].items():
        yield Figure(name=f"{name}: {alternative}, p50", value=None, unit="ms", note=reason)
    for role, value in found["memory_mb"].items():
        label = f"{name}: peak memory of a process, {role}"
        yield Figure(name=label, value=round(value, 1), unit="MB")


def goals_of(results: dict[str, dict[str, Any]], gemm_gflops: float) -> Iterator[Goal]:
    """Yield the goals; a student that was left out has no value.

    Args:
        results: by student, as `measure_student` gave them.
        gemm_gflops: peak of matrix products.
    """
    yield session_goal("tiny_eager", results.get("shipped"))
    yield openvino_goal("tiny_openvino", results.get("shipped"))
    found = results.get("r50")
    if found is None:
        yield judged("r50_peak", None, "the R50 was left out of this run")
    else:
        yield peak_goal(found, gemm_gflops)
    yield openvino_goal("r50_openvino", found)


def peak_goal(found: dict[str, Any], gemm_gflops: float) -> Goal:
    """Return how fast multiply-adds are done, against matrix products, and against the floor."""
    times_ms = found["times"][FP32].p50_ms
    rate = found["subject"].flops() / times_ms * 1e-6
    share = 100 * found["floor_ms"] / times_ms
    note = (
        f"{share:.0f} % of the floor's rate, which is that of convolutions where these are faster "
        "than matrix products; products with padding left out"
    )
    return judged("r50_peak", 100 * rate / gemm_gflops, note)


def peaks_of(threads: int, is_quick: bool, rounds: int) -> dict[str, float]:
    """Return GFLOP/s at most, by library of matrix products, and of convolutions."""
    shapes, maps = (SHAPES[:1], CONVOLUTIONS[:1]) if is_quick else (SHAPES, CONVOLUTIONS)
    products = gemm_peak(threads, shapes, rounds)
    found = {f"{GEMM}, {library}": rate for library, rate in products.items()}
    return {**found, CONVOLUTION: convolution_peak(threads, maps, rounds)}


def gemm_of(peaks: dict[str, float]) -> float:
    """Return the peak of matrix products, of all libraries."""
    return max(rate for work, rate in peaks.items() if work.startswith(GEMM))


def session_goal(key: str, found: dict[str, Any] | None) -> Goal:
    """Return how much faster than eager torch the file is that a vehicle's CPU takes by itself."""
    if found is None:
        return judged(key, None, "the shipped student was left out of this run")
    times: dict[str, Timing] = found["times"]
    taken = f"onnxruntime {role_for(found['subject'].bundle, AUTO_ROLE, 'cpu')}"
    fp32 = times[FP32].times_faster_than(times[EAGER])
    folded = times[taken].times_faster_than(times[FOLDED])
    note = f"{taken}; fp32 is {fp32:.2f} times; against folded torch {folded:.2f} times"
    return judged(key, times[taken].times_faster_than(times[EAGER]), note)


def openvino_goal(key: str, found: dict[str, Any] | None) -> Goal:
    """Return how much faster than eager torch OpenVINO runs the int8 file."""
    name = f"{OPENVINO} int8_s8"
    if found is None:
        return judged(key, None, "the student was left out of this run")
    if name not in found["times"]:
        return judged(key, None, found["reasons"][name])
    return judged(key, found["times"][name].times_faster_than(found["times"][EAGER]))


def measure(options: argparse.Namespace) -> Report:
    """Measure the students one after the other."""
    keys = options.students or (("shipped",) if options.quick else tuple(STUDENTS))
    warned = idle_warnings()
    torch.set_num_threads(options.threads)
    rounds = 2 if options.quick else 8
    before = peaks_of(options.threads, options.quick, rounds)
    peaks = {1: peaks_of(1, options.quick, rounds), options.threads: before}
    torch.set_num_threads(options.threads)
    results = {key: measure_student(key, max(before.values()), options) for key in keys}
    after = peaks_of(options.threads, options.quick, rounds)
    figures = [
        Figure(name=f"{work}, {threads} threads", value=round(value, 1), unit="GFLOP/s")
        for threads, found in peaks.items()
        for work, value in found.items()
    ]
    best, again = gemm_of(before), gemm_of(after)
    if abs(again / best - 1) > 0.1:
        warned.append(
            f"the GEMM peak was {best:.0f} GFLOP/s before and {again:.0f} after: unsteady"
        )
    for found in results.values():
        figures += figures_of(found)
    return Report(
        name="inference",
        figures=tuple(figures),
        goals=tuple(goals_of(results, best)),
        facts={
            "threads": options.threads,
            "peak_gflops": round(best, 1),
            "convolution_gflops": round(before[CONVOLUTION], 1),
            "peak_after_gflops": round(again, 1),
            "fp32_p50_ms": {
                key: round(found["times"][FP32].p50_ms, 3)
                for key, found in results.items()
                if FP32 in found["times"]
            },
            "flop": {key: found["subject"].flops() for key, found in results.items()},
            "took_s": {key: round(found["took_s"], 1) for key, found in results.items()},
            "samples_ms": {
                key: {n: [round(v, 3) for v in t.samples_ms] for n, t in found["times"].items()}
                for key, found in results.items()
            },
            "warnings": warned,
        },
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, shortened; its type where it has none."""
    return (str(error).strip().split("\n", 1)[0] or type(error).__name__)[:200]


def say(text: str) -> None:
    """Tell how far it is, apart from the figures."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--students", type=_students, help=f"of {', '.join(STUDENTS)}")
    parser.add_argument("--threads", type=int, default=2, help="of each runtime (default: 2)")
    parser.add_argument("--rounds", type=int, help=f"samples (default: {ROUNDS})")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")


def _students(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in STUDENTS]
    if unknown:
        raise ConfigError(f"no student '{unknown[0]}'; there are {', '.join(STUDENTS)}")
    return names


def main() -> int:
    """Measure and print."""
    return run_benchmark("inference", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
