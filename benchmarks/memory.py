# SPDX-License-Identifier: Apache-2.0
"""A step with memory of earlier frames against one without, in ONNX Runtime fp32.

    python -m benchmarks.memory [--rounds 100] [--threads 2]

The shipped student's configuration with random weights, exported three times: without memory, with
the maps of three earlier frames (T = 4), and with one recurrent map. A step is the network, and
where there is a memory also recalling its maps and keeping the new one, with all their copies on
the host. Frames are as far apart as the maps, so that every step keeps one; at 12 Hz every sixth
does. The three take turns, each once uncounted before every sample.

The goal: T = 4 takes at most 1.15 times the single frame, and beside it the time of the convolution
that reduces the maps, by its share of the single frame's multiply-adds.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.goals import judged
from benchmarks.harness import ROOT, Figure, Report, Timing, run_benchmark, time_in_turns
from benchmarks.machine import idle_warnings
from benchmarks.students import model_of
from imkd_core.config import MemorySpec
from imkd_core.export.onnx_export import export_onnx
from imkd_core.model.budget import count_cost, total_cost
from imkd_core.model.example import MEMORY_NAMES, batched, example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import Config, load_config
from imkd_core.resources import bundle_folder
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.memory import FusedMemory
from imkd_core.runtime.providers import CPU_PROVIDER

SINGLE, WINDOW, RECURRENT = "single frame", "window memory, T = 4", "recurrent memory"

#: What of a step with T = 4 is not the network.
COPIES = "of T = 4, recalling and keeping"

#: Of a step with T = 4 over a single frame's, the reduce convolution apart.
ALLOWED = 1.15

#: Of the vehicle, between two frames.
SPEED_MPS, TURN_RADPS = 10.0, 0.1

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


def configurations() -> dict[str, Config]:
    """Return the shipped student's configuration without memory and with each kind of it."""
    bundle = load_bundle(bundle_folder(""))
    plain = replace(
        load_config(ROOT / "config" / "imkd_tiny.yaml"),
        inputs=replace(bundle.inputs, memory=MemorySpec()),
        head=bundle.head,
        model=model_of(bundle),
    )
    channels = plain.model.fused_channels
    memories = {
        SINGLE: MemorySpec(),
        WINDOW: MemorySpec(kind="window", frames=3, channels=channels),
        RECURRENT: MemorySpec(kind="recurrent", frames=1, channels=channels),
    }
    return {
        name: replace(plain, inputs=replace(plain.inputs, memory=memory))
        for name, memory in memories.items()
    }


def student_of(config: Config) -> Student:
    """Return a student with random weights whose memory counts."""
    torch.manual_seed(0)
    student = Student.from_config(config).eval()
    if student.temporal is not None:
        torch.nn.init.ones_(student.temporal.norm.weight)  # 0 is how it starts to learn
    return student


def multiply_adds(config: Config) -> dict[str, int]:
    """Return multiply-adds of one frame: "all", and "reduce" where there is a memory."""
    student = student_of(config).to("meta")
    frame = batched(example_inputs(config.inputs))
    inputs = {name: value.to("meta") for name, value in frame.items()}
    found = {"all": total_cost(count_cost(student, inputs)).macs}
    if student.temporal is not None:
        found["reduce"] = student.temporal.reduce.weight.numel() * config.inputs.bev.cells
    return found


def allowed_ratio(configs: Mapping[str, Config]) -> float:
    """Return how many times the single frame's step one with T = 4 may take."""
    single, window = (multiply_adds(configs[name]) for name in (SINGLE, WINDOW))
    return ALLOWED + window["reduce"] / single["all"]


def pose_at(seconds: float) -> NDArray[np.float64]:
    """Return the (4, 4) pose of a vehicle that drives and turns, odometry from ego."""
    yaw_rad = TURN_RADPS * seconds
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw_rad), -np.sin(yaw_rad)], [np.sin(yaw_rad), np.cos(yaw_rad)]]
    pose[0, 3] = SPEED_MPS * seconds
    return pose


class Stepper:
    """Runs frames one after the other, as the detector does between preparing and decoding.

    Args:
        run: gives the network's outputs, by name, of its inputs.
        config: of the network.
    """

    def __init__(self, run: Run, config: Config) -> None:
        self._run = run
        self._spec = config.inputs.memory
        self.memory = FusedMemory(self._spec, config.inputs.bev)
        frame = example_inputs(config.inputs)
        self._inputs = {n: v.numpy() for n, v in frame.items() if n not in MEMORY_NAMES}
        self._step_s = MemorySpec().interval_s
        self._steps = 0

    def step(self) -> None:
        """Run one frame, with what is remembered, and keep what is to be remembered."""
        self._steps += 1
        seconds = self._steps * self._step_s
        stamp_ns, pose = round(seconds * 1e9), pose_at(seconds)
        recalled = self.memory.recall(stamp_ns, pose)
        outputs = self._run({**self._inputs, **recalled})
        if self._spec.frames:
            self.memory.keep(stamp_ns, pose, outputs["memory"])


def steppers(configs: Mapping[str, Config], folder: Path, threads: int) -> dict[str, Stepper]:
    """Export each student into a folder and return what runs it."""
    found = {}
    for number, (name, config) in enumerate(configs.items()):
        provenance = {"trained_on": "nothing: random weights, to measure times"}
        place = folder / str(number)
        bundle = export_onnx(
            student_of(config), config, place, "imkd_memory_random", provenance, roles=("fp32",)
        )
        backend = OnnxRuntimeBackend(bundle.path("fp32"), threads, False, (CPU_PROVIDER,))
        found[name] = Stepper(backend.run, config)
    return found


def without_network(config: Config) -> Stepper:
    """Return what recalls and keeps maps, and runs nothing."""
    shape = (config.inputs.memory.channels, *config.inputs.bev.shape)
    outputs = {"memory": np.ones(shape, np.float32)}
    return Stepper(lambda _: outputs, config)


def figures_of(times: Mapping[str, Timing], configs: Mapping[str, Config]) -> Iterator[Figure]:
    """Yield times, ratios and multiply-adds."""
    for name, timing in times.items():
        ratio = timing.p50_ms / times[SINGLE].p50_ms
        yield from timing.figures(name, f"{ratio:.3f} times the single frame")
    for name in (WINDOW, RECURRENT):
        for label, percent in (("p50", 50.0), ("p95", 95.0)):
            ratio = times[name].percentile_ms(percent) / times[SINGLE].percentile_ms(percent)
            yield Figure(name=f"{name}: {label} against {SINGLE}'s", value=ratio, unit="times")
    for name, config in configs.items():
        macs = multiply_adds(config)
        note = f"{1e-9 * macs['reduce']:.2f} of them to reduce the maps" if "reduce" in macs else ""
        yield Figure(name=f"{name}: network", value=1e-9 * macs["all"], unit="GMAC", note=note)


def measure(options: argparse.Namespace) -> Report:
    """Export, and time all three in turns."""
    warned = idle_warnings()
    configs = configurations()
    with tempfile.TemporaryDirectory() as folder:
        found = steppers(configs, Path(folder), options.threads)
        found[COPIES] = without_network(configs[WINDOW])
        works: dict[str, Callable[[], object]] = {name: one.step for name, one in found.items()}
        rounds = 3 if options.quick else options.rounds
        times = time_in_turns(works, rounds, warm_up=5, lead_in=1)
    ratio = times[WINDOW].p50_ms / times[SINGLE].p50_ms
    share = allowed_ratio(configs) - ALLOWED
    recurrent = times[RECURRENT].p50_ms / times[SINGLE].p50_ms
    remark = (
        f"p50; the bound is {ALLOWED:g} and the reduce convolution's share of the multiply-adds, "
        f"{share:.3f}; one recurrent map {recurrent:.2f} times"
    )
    return Report(
        name="memory",
        figures=tuple(figures_of(times, configs)),
        goals=(judged("memory_step", ratio, remark),),
        facts={"threads": options.threads, "allowed_ratio": ALLOWED + share, "warnings": warned},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=100, help="samples (default: 100)")
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime (default: 2)")


def main() -> int:
    """Measure and print."""
    return run_benchmark("memory", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
