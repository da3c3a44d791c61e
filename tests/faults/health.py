# SPDX-License-Identifier: Apache-2.0
"""Faults of sensors that still send: how often they are told, and how often without cause.

    python -m benchmarks.sensor_health

The same benchmark, on drives that are kept with those of the other scenarios. Every fault is put
into every sensor of every drive once; whole drives without a fault give the false alarms.
"""

import argparse

from benchmarks.sensor_health import MADE, measure
from tests.faults.suite import Context, Figure, at_least, at_most, told


def run(context: Context) -> list[Figure]:
    """Measure each fault, and hold each against the goals."""
    root = MADE.made(context.drives, workers=2)
    chosen = argparse.Namespace(data=[root], drives=MADE.count, quick=False, seed=context.seed)
    report = measure(chosen)
    figures = []
    for one in report.figures:
        if one.value is None:
            continue
        if one.name.endswith(", told"):
            figures.append(at_least(one.name, one.value, 95.0, "%", one.note))
        elif one.name.endswith(", false alarms"):
            figures.append(at_most(one.name, one.value, 1.0, "%", "of the measurements"))
        elif "told after" in one.name:
            figures.append(told(one.name, one.value, one.unit, one.note))
    return figures
