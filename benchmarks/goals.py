# SPDX-License-Identifier: Apache-2.0
"""The goals of real time, in one table: who answers each, and what it is held against.

A benchmark gives `judged(KEY, value)`; a goal whose benchmark failed or was not run keeps its row
all the same, without a value. All are medians on two cores unless the name says otherwise, and
ratios are to a baseline of the same run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness import AT_LEAST, AT_MOST, Goal
from imkd_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Aim:
    """One row: what is measured by whom, and which side of which number is good."""

    benchmark: str
    name: str
    goal: float
    unit: str
    comparison: str = AT_LEAST


AIMS: Mapping[str, Aim] = {
    "live_rate": Aim(
        benchmark="live_graph", name="live graph: detections per second", goal=11.5, unit="1/s"
    ),
    "live_latency": Aim(
        benchmark="live_graph",
        name="live graph: last sensor to publish, p95",
        goal=90.0,
        unit="ms",
        comparison=AT_MOST,
    ),
    "live_delivery": Aim(
        benchmark="live_graph", name="live graph: images delivered", goal=99.0, unit="%"
    ),
    "overhead": Aim(
        benchmark="live_graph",
        name="everything but inference (arrival to publish minus session run), p95",
        goal=25.0,
        unit="ms",
        comparison=AT_MOST,
    ),
    "overhead_share": Aim(
        benchmark="live_graph",
        name="everything but inference, p95, against ONNX Runtime fp32 inference",
        goal=0.5,
        unit="times",
        comparison=AT_MOST,
    ),
    "tiny_eager": Aim(
        benchmark="inference",
        name="shipped student: session run against eager torch",
        goal=3.0,
        unit="times",
    ),
    "tiny_openvino": Aim(
        benchmark="inference",
        name="shipped student: OpenVINO int8 against eager torch",
        goal=5.0,
        unit="times",
    ),
    "r50_peak": Aim(
        benchmark="inference",
        name="R50: ONNX Runtime fp32 against the measured GEMM peak",
        goal=85.0,
        unit="%",
    ),
    "r50_openvino": Aim(
        benchmark="inference",
        name="R50: OpenVINO int8 against eager torch",
        goal=12.0,
        unit="times",
    ),
    "memory_step": Aim(
        benchmark="memory",
        name="step with memory (T = 4) against a single frame",
        goal=1.25,  # 1.15, and the reduce convolution's share of the multiply-adds
        unit="times",
        comparison=AT_MOST,
    ),
    "sync_frames": Aim(
        benchmark="synchronizer", name="synchroniser: possible frames given", goal=99.0, unit="%"
    ),
    "sync_dead": Aim(
        benchmark="synchronizer",
        name="synchroniser: possible frames given with a dead sensor",
        goal=99.0,
        unit="%",
    ),
    "sync_time": Aim(
        benchmark="synchronizer",
        name="synchroniser: time per message, mean",
        goal=50.0,
        unit="us",
        comparison=AT_MOST,
    ),
    "preprocess_time": Aim(
        benchmark="preprocessing",
        name="preprocessing of a camera after decoding",
        goal=1.0,
        unit="ms",
        comparison=AT_MOST,
    ),
    "preprocess_ratio": Aim(
        benchmark="preprocessing",
        name="preprocessing against the numpy chain",
        goal=8.0,
        unit="times",
    ),
    "view_ratio": Aim(
        benchmark="view_transform",
        name="view transform against exact LSS, both in ONNX Runtime",
        goal=10.0,
        unit="times",
    ),
    "view_nds": Aim(
        benchmark="view_transform",
        name="view transform: NDS points that the table loses to exact LSS, same weights",
        goal=0.2,
        unit="NDS",
        comparison=AT_MOST,
    ),
    "gpu_time": Aim(
        benchmark="torch_gpu",
        name="GPU: R50, batch 1, images in GPU memory to boxes",
        goal=2.5,
        unit="ms",
        comparison=AT_MOST,
    ),
    "gpu_ratio": Aim(
        benchmark="torch_gpu", name="GPU: R50 against eager fp32", goal=6.0, unit="times"
    ),
    "memory": Aim(
        benchmark="live_graph",
        name="memory of the node with the shipped student (RSS)",
        goal=450.0,
        unit="MB",
        comparison=AT_MOST,
    ),
    "memory_growth": Aim(
        benchmark="soak",
        name="memory: growth over 30 minutes of replay",
        goal=1.0,
        unit="%",
        comparison=AT_MOST,
    ),
    "start": Aim(
        benchmark="live_graph",
        name="start: configure to active, warm cache",
        goal=5.0,
        unit="s",
        comparison=AT_MOST,
    ),
}


def judged(key: str, value: float | None, reason: str = "") -> Goal:
    """Return the goal of a key with what was measured.

    Args:
        key: of `AIMS`.
        value: measured, in the unit of the aim; None where it cannot be measured here.
        reason: why there is no value, why the goal is missed, or what the value is made of.

    Raises:
        ConfigError: there is no such key, or neither value nor reason.
    """
    if key not in AIMS:
        raise ConfigError(f"no goal '{key}'; benchmarks/goals.py has {', '.join(AIMS)}")
    aim = AIMS[key]
    return Goal(
        name=aim.name,
        value=None if value is None else float(value),
        goal=aim.goal,
        unit=aim.unit,
        comparison=aim.comparison,
        reason=reason,
    )
