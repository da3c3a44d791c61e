# SPDX-License-Identifier: Apache-2.0
"""Time of our detection metrics against nuscenes-devkit, on the same boxes in the same run.

    python -m benchmarks.metrics [--samples 200] [--boxes 200] [--rounds 3]

Made-up boxes, some 40 true ones and --boxes found ones a sample. Both give all AP, errors and NDS;
reading files is not part of it. The devkit has to be installed.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import DetectionMetrics, evaluate
from tests.core.evaluation.oracle import (
    DEVKIT_ERRORS,
    devkit_judge,
    noisy_copies,
    random_boxes,
)

TRUE_BOXES = 40


def measure(options: argparse.Namespace) -> Report:
    """Measure both."""
    samples, rounds = (20, 1) if options.quick else (options.samples, options.rounds)
    warnings.simplefilter("ignore")  # the devkit's means of nothing
    rng = np.random.default_rng(0)
    truth = random_boxes(rng, TRUE_BOXES * samples, samples, true=True)
    hits = noisy_copies(rng, truth, spread_m=0.5)
    clutter = max(options.boxes * samples - len(hits), 0)
    every = BoxTable.joined([hits, random_boxes(rng, clutter, samples)])
    found = every.select(np.argsort(every.sample, kind="stable"))

    judge = devkit_judge(found, truth, samples)
    ours_s, ours = best_of(rounds, lambda: evaluate(found, truth, samples))
    devkit_s, devkit = best_of(rounds, lambda: judge.evaluate()[0])
    difference = largest_difference(ours, devkit)
    return Report(
        name="metrics",
        figures=(
            Figure(name="ours, best", value=ours_s, unit="s"),
            Figure(name="nuscenes-devkit, best", value=devkit_s, unit="s"),
            Figure(name="ours against the devkit", value=devkit_s / ours_s, unit="times"),
            Figure(name="largest difference of any figure", value=difference, unit=""),
        ),
        facts={
            "samples": samples,
            "true_boxes": len(truth),
            "found_boxes": len(found),
            "nds": ours.nds,
            "warnings": idle_warnings(),
        },
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--boxes", type=int, default=200, help="found boxes a sample")
    parser.add_argument("--rounds", type=int, default=3)


def main() -> int:
    """Measure and print."""
    return run_benchmark("metrics", __doc__, measure, add_options)


def best_of(rounds: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least wall time of some rounds, seconds, and the last result."""
    best_s, result = float("inf"), None
    for _ in range(rounds):
        start_s = time.perf_counter()
        result = work()
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s, result


def largest_difference(ours: DetectionMetrics, devkit: Any) -> float:
    """Return the largest difference of any AP, error, mean or NDS."""
    pairs = [(ours.nds, devkit.nd_score), (ours.mean_ap, devkit.mean_ap)]
    for name, row in ours.classes.items():
        pairs += [(ap, devkit.get_label_ap(name, at)) for at, ap in row.ap_at_m.items()]
        pairs += [(row.errors[k], devkit.get_label_tp(name, v)) for k, v in DEVKIT_ERRORS.items()]
    return float(np.nanmax([abs(a - b) for a, b in pairs]))


if __name__ == "__main__":
    sys.exit(main())
