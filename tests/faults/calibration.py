# SPDX-License-Identifier: Apache-2.0
"""Calibrations that changed or cannot be: how often they are told, and how often without cause.

    python -m benchmarks.calibration_faults

The same benchmark, on drives that are kept with those of the other scenarios.
"""

import argparse

from benchmarks.calibration_faults import CONDITIONS, DRIVES, DURATION_S, SEED, measure
from benchmarks.harness import AT_MOST
from imkd_core.simulation.simulate import SimulationOptions, simulate
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told


def run(context: Context) -> list[Figure]:
    """Measure each error, and hold the worst of each kind against the goals."""
    folder = context.drives / f"calibration-{DRIVES}x{DURATION_S:g}s"
    options = SimulationOptions(
        seed=SEED,
        size_px=(704, 256),
        with_camera_sweeps=True,
        conditions=CONDITIONS,
        duration_s=DURATION_S,
    )
    simulate(folder, DRIVES, options, workers=2)
    report = measure(argparse.Namespace(data=[folder], drives=DRIVES, quick=False))
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
