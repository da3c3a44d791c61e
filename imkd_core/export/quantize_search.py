# SPDX-License-Identifier: Apache-2.0
"""Which layers stay in float32, and how ranges are chosen: found by trying, in bounded time.

Every range method is tried on the whole graph, then every layer by itself in 8 bits with the best
of them. The layers that hurt most are kept in float32, as few as do, and no more than a given share
of the work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from imkd_core.export.quantize_graph import Style, count_macs, find_layers, quantize_graph
from imkd_core.export.quantize_measure import Judge
from imkd_core.export.quantize_ranges import METHODS, Histogram, ValueRange

#: Numbers of kept layers that are tried.
KEPT_COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16)

#: Share of the error of "minmax" that another method must stay below.
CLEARLY_BETTER = 0.75

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SearchLimits:
    """When a search is content.

    Attributes:
        moved_share: error (`quantize_measure.moved_share`) that is small enough; 0.057 cost the
            small student 0.0 NDS and 0.2 mAP (points of 100) on made-up drives.
        kept_work: most of the multiplications that may stay in float32, as a share.
    """

    moved_share: float = 0.06
    kept_work: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a graph is quantised.

    Attributes:
        method: of `METHODS`.
        ranges: tensor -> range.
        kept: layers that stay in float32 though they could be quantised, worst first.
        kept_work: their share of the multiplications of all that could.
        moved_share: the error that is left.
    """

    method: str
    ranges: Mapping[str, ValueRange]
    kept: tuple[str, ...]
    kept_work: float
    moved_share: float


def find_plan(
    model: ModelProto,
    histograms: Mapping[str, Histogram],
    judge: Judge,
    style: Style,
    limits: SearchLimits,
    report: Report,
) -> Plan:
    """Return the plan that keeps the fewest layers with a small enough error, or the best found.

    Args:
        model: in float32.
        histograms: of every tensor that may become 8-bit.
        judge: knows what the float32 graph finds.
        style: of the runtime.
        limits: when to be content.
        report: is told what is tried.
    """
    layers = list(find_layers(model))
    choices = {m: {n: choose(h) for n, h in histograms.items()} for m, choose in METHODS.items()}
    errors = {
        m: judge.error(quantize_graph(model, ranges, layers, style))
        for m, ranges in choices.items()
    }
    method = best_method(errors)
    ranges = choices[method]
    tried = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
    report(f"share of scores moved with everything in 8 bits: {tried}")
    work = count_macs(model, judge.cameras)
    if errors[method] <= limits.moved_share:
        order: list[str] = []
    else:
        report(f"tries each of {len(layers)} layers by itself")
        alone = {name: judge.error(quantize_graph(model, ranges, [name], style)) for name in layers}
        order = affordable(sorted(layers, key=lambda n: -alone[n]), work, limits.kept_work)
    plans = []
    for count in sorted({min(count, len(order)) for count in KEPT_COUNTS}):
        kept = order[:count]
        rest = [name for name in layers if name not in kept]
        error = judge.error(quantize_graph(model, ranges, rest, style)) if rest else 0.0
        plans.append(
            Plan(
                method=method,
                ranges=ranges,
                kept=tuple(kept),
                kept_work=sum(work[name] for name in kept) / sum(work.values()),
                moved_share=error,
            )
        )
        report(f"{count} layers kept in float32: {error:.3f}")
        if error <= limits.moved_share:
            return plans[-1]
    return min(plans, key=lambda plan: plan.moved_share)


def best_method(errors: Mapping[str, float]) -> str:
    """Return the method to use: "minmax" unless another is clearly better.

    A range that clips gives up what is rare; the few frames of a trial hardly show that, though a
    test on many drives does.
    """
    best = min(errors, key=lambda name: errors[name])
    return best if errors[best] < CLEARLY_BETTER * errors["minmax"] else "minmax"


def affordable(order: Sequence[str], work: Mapping[str, int], share: float) -> list[str]:
    """Return the layers, in their order, that fit into a share of all work together."""
    room = share * sum(work.values())
    chosen = []
    for name in order:
        if work[name] <= room:
            chosen.append(name)
            room -= work[name]
    return chosen
