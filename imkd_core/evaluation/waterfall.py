# SPDX-License-Identifier: Apache-2.0
"""Stages of a frame as bars, each beginning where the medians of those before it end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: The stage that is the whole way of a frame; its bar begins at the left.
WHOLE = "total"


class Stage(Protocol):
    """What is drawn: a stage's percentiles in milliseconds."""

    @property
    def stage(self) -> str:
        """Name."""

    @property
    def p50_ms(self) -> float:
        """Median."""

    @property
    def p95_ms(self) -> float:
        """95 % are below."""

    @property
    def p99_ms(self) -> float:
        """99 % are below."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar in per cent of the chart's width.

    Attributes:
        start: left end.
        p50, p95, p99: widths from there; none reaches beyond the chart, where a p99 is cut off.
    """

    start: float
    p50: float
    p95: float
    p99: float


def waterfall(stages: Sequence[Stage]) -> tuple[Bar, ...]:
    """Return a bar for each stage, in their order; `WHOLE` begins at the left.

    The chart is as wide as the latest p95: one slow frame would make all bars too short to read.
    """
    starts_ms, spent_ms = [], 0.0
    for stage in stages:
        is_whole = stage.stage == WHOLE
        starts_ms.append(0.0 if is_whole else spent_ms)
        spent_ms += 0.0 if is_whole else stage.p50_ms
    ends_ms = [start + one.p95_ms for start, one in zip(starts_ms, stages, strict=True)]
    percent = 100 / (max(ends_ms, default=0.0) or 1.0)
    return tuple(
        Bar(
            start=start * percent,
            p50=one.p50_ms * percent,
            p95=one.p95_ms * percent,
            p99=min(one.p99_ms * percent, 100.0 - start * percent),
        )
        for start, one in zip(starts_ms, stages, strict=True)
    )
