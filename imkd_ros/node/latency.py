# SPDX-License-Identifier: Apache-2.0
"""Milliseconds of the last frames, as a status of the diagnostics. No ROS in here."""

from collections import deque
from collections.abc import Mapping

import numpy as np

from imkd_ros.node.verdicts import OK, WARN, Status

#: Frames that percentiles look back on.
_FRAMES = 200

_TOTAL = "total"

#: From the frame's stamp until the frame is whole.
_BEFORE = "sync"


class LatencyWindow:
    """Milliseconds of each stage of the last frames."""

    def __init__(self) -> None:
        self._stages: dict[str, deque[float]] = {}

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Take in one frame."""
        for stage, milliseconds in stage_ms.items():
            window = self._stages.get(stage)
            if window is None:
                window = self._stages[stage] = deque(maxlen=_FRAMES)
            window.append(milliseconds)

    @property
    def median_ms(self) -> float:
        """The usual time of a whole frame; 0 before the first. Cheap, unlike `percentiles`."""
        return self._median_ms(_TOTAL)

    @property
    def median_before_ms(self) -> float:
        """The usual time from a frame's stamp until it is whole; 0 before the first."""
        return self._median_ms(_BEFORE)

    def _median_ms(self, stage: str) -> float:
        ordered = sorted(self._stages.get(stage, ()))
        middle = len(ordered) // 2
        if not ordered:
            return 0.0
        return (ordered[middle] + ordered[-1 - middle]) / 2

    def percentiles(self) -> dict[str, tuple[float, float, float]]:
        """Return stage -> (p50, p95, p99) in milliseconds."""
        found = {}
        for stage, window in list(self._stages.items()):
            p50, p95, p99 = np.percentile(tuple(window), (50, 95, 99)).tolist()
            found[stage] = (p50, p95, p99)
        return found


def latency_status(
    latency: LatencyWindow, warn_ms: float, *, with_details: bool, are_stamps_old: bool = False
) -> Status:
    """Return the status "latency".

    Args:
        latency: of the last frames.
        warn_ms: median of the whole that is a warning.
        with_details: have the percentiles of all stages among the values; they cost a millisecond.
        are_stamps_old: the stamps of all sensors are old when they arrive.
    """
    values = {}
    if with_details:
        values = {
            f"{stage} {label} ms": f"{value:.1f}"
            for stage, triple in latency.percentiles().items()
            for label, value in zip(("p50", "p95", "p99"), triple, strict=True)
        }
    median_ms = latency.median_ms
    if median_ms <= warn_ms:
        return Status(name="latency", level=OK, message=f"{median_ms:.0f} ms", values=values)
    kind, advice = _advice(median_ms, latency.median_before_ms, warn_ms, are_stamps_old)
    return Status(
        name="latency",
        level=WARN,
        message=f"median {median_ms:.0f} ms is above diagnostics.latency_warn_ms = {warn_ms:g}; "
        f"{advice}",
        values=values,
        kind=kind,
    )


def _advice(
    median_ms: float, before_ms: float, warn_ms: float, are_stamps_old: bool
) -> tuple[str, str]:
    """Return the kind of a latency that is too long, and what to do.

    Args:
        median_ms: of the whole.
        before_ms: of it, until frames are whole.
        warn_ms: median of the whole that is a warning.
        are_stamps_old: the stamps of all sensors are old when they arrive.
    """
    if are_stamps_old:
        return "clock", (
            "the stamps of all sensors are old when they arrive: synchronise their clocks with the "
            "node's, as their status says"
        )
    if 2 * before_ms >= median_ms and median_ms - before_ms <= warn_ms:
        return "before", (
            f"{before_ms:.0f} ms of it pass before a frame is whole: look at the clocks (PTP, "
            "NTP), the drivers and the network of the sensors, and at their age ms"
        )
    return "work", (
        "give model.threads more if cores are idle, lower the camera rate, or take a smaller model "
        "(the stages below say where the time goes)"
    )
