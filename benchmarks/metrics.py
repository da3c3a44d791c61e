# SPDX-License-Identifier: Apache-2.0
"""Time of our detection metrics against nuscenes-devkit, on the same boxes in the same run.

    python -m benchmarks.metrics [--samples 200] [--boxes 200] [--rounds 3]

Made-up boxes, some 40 true ones and --boxes found ones a sample. Both give all AP, errors and NDS;
reading files is not part of it. Prints one JSON object with the best time of each, their ratio,
and the largest difference of any figure.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import DetectionMetrics, evaluate
from tests.core.evaluation.oracle import (
    DEVKIT_ERRORS,
    devkit_judge,
    noisy_copies,
    random_boxes,
)

TRUE_BOXES = 40


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--boxes", type=int, default=200, help="found boxes a sample")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the devkit's means of nothing
    rng = np.random.default_rng(0)
    truth = random_boxes(rng, TRUE_BOXES * arguments.samples, arguments.samples, true=True)
    hits = noisy_copies(rng, truth, spread_m=0.5)
    clutter = max(arguments.boxes * arguments.samples - len(hits), 0)
    every = BoxTable.joined([hits, random_boxes(rng, clutter, arguments.samples)])
    found = every.select(np.argsort(every.sample, kind="stable"))

    judge = devkit_judge(found, truth, arguments.samples)
    ours_s, ours = best_of(arguments.rounds, lambda: evaluate(found, truth, arguments.samples))
    devkit_s, devkit = best_of(arguments.rounds, lambda: judge.evaluate()[0])
    result = {
        "samples": arguments.samples,
        "true_boxes": len(truth),
        "found_boxes": len(found),
        "ours_s": round(ours_s, 4),
        "devkit_s": round(devkit_s, 4),
        "ratio": round(devkit_s / ours_s, 1),
        "largest_difference": largest_difference(ours, devkit),
        "nds": ours.nds,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    print(json.dumps(result, indent=2))


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
    main()
