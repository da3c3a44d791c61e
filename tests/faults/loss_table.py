# SPDX-License-Identifier: Apache-2.0
"""NDS of the shipped student for each case of lost sensors, on made-up drives, offline.

By the machinery of `imkd evaluate`, with drives of a seed that no model was trained on. Each case
is held against what its surviving sensors of one kind give alone, on the same frames: without one
camera, the other five with all radars must not be worse than these five cameras without radars,
nor than the radars without cameras. The note has the difference's interval over the drives
(paired bootstrap), for two points more or less are chance.
"""

from pathlib import Path

from imkd_core.cli.evaluation.run import EvaluationOptions, evaluate_bundle
from imkd_core.evaluation.comparison import Row, compare_runs
from imkd_core.evaluation.drive_figures import DriveFigures, figures_path, read_drive_figures
from imkd_core.evaluation.losses import ALL_CAMERAS, ALL_RADARS, STANDARD_LOSSES, Loss
from imkd_core.simulation.simulate import SimulationOptions, simulate
from tests.faults.suite import Context, Figure, at_least, told

#: No model was trained on drives of this seed.
SEED = 9800

DRIVES, DURATION_S, CONDITIONS = 8, 8.0, ("clear", "rain", "night", "fog")

WORKERS = 2

#: Draws of drives for the intervals.
DRAWS = 200


def alone(loss: Loss) -> tuple[Loss, ...]:
    """Return what leaves the surviving cameras alone, and the surviving radars alone.

    Nothing where all sensors of a kind are lost: the survivors are alone already.
    """
    if {ALL_CAMERAS, ALL_RADARS} & set(loss.sensors):
        return ()
    cameras = tuple(name for name in loss.sensors if name.startswith("CAM"))
    radars = tuple(name for name in loss.sensors if name.startswith("RADAR"))
    return Loss(sensors=(*cameras, ALL_RADARS)), Loss(sensors=(ALL_CAMERAS, *radars))


def drives(context: Context) -> Path:
    """Return the folder of the drives; made where they are not there."""
    data = context.drives / f"loss_table-{DRIVES}x{DURATION_S:g}s"
    options = SimulationOptions(
        seed=SEED, size_px=(704, 256), conditions=CONDITIONS, duration_s=DURATION_S
    )
    simulate(data, DRIVES, options, workers=WORKERS)
    return data


def run(context: Context) -> list[Figure]:
    """Simulate, evaluate every case, and compare."""
    data = drives(context)
    others = [survivors for loss in STANDARD_LOSSES for survivors in alone(loss)]
    losses = tuple(dict.fromkeys((*STANDARD_LOSSES, *others)))
    evaluate_bundle(
        context.bundle,
        data,
        context.folder,
        EvaluationOptions(losses=losses, workers=WORKERS, report=False),
    )
    found = {
        loss: read_drive_figures(figures_path(context.folder, loss.name))
        for loss in (Loss(), *losses)
    }
    return [
        told(f"NDS, {loss.name}", _nds(figures), "", f"of {DRIVES} drives of {DURATION_S:g} s")
        for loss, figures in found.items()
    ] + [figure for loss in STANDARD_LOSSES for figure in _judged(loss, found)]


def _judged(loss: Loss, found: dict[Loss, DriveFigures]) -> list[Figure]:
    """Return a case against its survivors alone."""
    figures = []
    for other in alone(loss):
        row: Row = compare_runs(found[other], found[loss], DRAWS).rows["nds"]
        bounds = row.difference
        figures.append(
            at_least(
                f"NDS {loss.name}, above {other.name}",
                round(bounds.value, 4),
                0.0,
                "",
                f"95 % interval {bounds.low:.4f} to {bounds.high:.4f}",
            )
        )
    return figures


def _nds(figures: DriveFigures) -> float:
    return round(figures.figures()["nds"], 4)
