# SPDX-License-Identifier: Apache-2.0
"""Calibrations that changed or cannot be: how often they are told, and how often without cause.

    python -m benchmarks.calibration_faults

The same benchmark, on drives that are kept with those of the other scenarios.
"""

import argparse

from benchmarks.calibration_faults import MADE, measure
from benchmarks.harness import AT_MOST
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told


def run(context: Context) -> list[Figure]:
    """Measure each error, and hold the worst of each kind against the goals."""
    root = MADE.made(context.drives, workers=2)
    report = measure(argparse.Namespace(data=[root], drives=MADE.count, quick=False))
    figures = []
    for goal in report.goals:
        if goal.value is None:
            figures.append(not_there(goal.name, goal.goal, goal.unit, goal.reason))
        elif goal.comparison == AT_MOST:
            figures.append(at_most(goal.name, goal.value, goal.goal, goal.unit))
        else:
            figures.append(at_least(goal.name, goal.value, goal.goal, goal.unit))
    return figures + [
        told(one.name, one.value, one.unit, one.note)
        for one in report.figures
        if one.value is not None
    ]
