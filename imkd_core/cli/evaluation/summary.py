# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation as lines of text for a terminal."""

import math
from collections.abc import Iterable

from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.steadiness import FIGURES
from imkd_core.evaluation.tables import Evaluation, SliceFigures

_HEADS = ("transl. m", "scale", "orient. rad", "velocity m/s", "attribute")


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Return the figures: the whole, class by class, part by part, with sensors lost."""
    first = evaluation.conditions[0]
    metrics = first.metrics
    lines = [
        f"NDS {metrics.nds:.4f}  mAP {metrics.mean_ap:.4f}  ({metrics.samples} key frames, "
        f"{metrics.truth} true boxes, score {evaluation.score_threshold:g} or more, "
        f"{evaluation.max_boxes} boxes at most)",
        "",
        _row("class", "true", ("AP", *_HEADS)),
    ]
    for name, row in metrics.classes.items():
        figures = (row.ap, *(row.errors[error] for error in ERRORS))
        lines.append(_row(name, str(row.truth), _texts(figures)))
    for title, parts in (
        ("range", first.by_range),
        ("weather", first.by_weather),
        ("light", first.by_light),
    ):
        lines += ["", _row(title, "true", ("NDS", "mAP", "key frames"))]
        lines += [_row(part.name, str(part.truth), _slice_texts(part)) for part in parts]
    lines += ["", _row("speed", "true", ("recall", "velocity m/s", "orient. rad"))]
    for speed in first.by_speed:
        figures = (speed.recall, speed.velocity_mps, speed.orientation_rad)
        lines.append(_row(speed.name, str(speed.truth), _texts(figures)))
    lines += ["", "steadiness, without the truth (steady boxes may be wrong)"]
    lines += [
        f"{name:<26}{_texts([value])[0]:>9}  {FIGURES[name]}"
        for name, value in first.steadiness.items()
    ]
    width = max(26, *(len(run.name) + 1 for run in evaluation.conditions))
    lines += ["", _row("sensors", "lost", ("NDS", "mAP"), width)]
    for run in evaluation.conditions:
        figures = (run.metrics.nds, run.metrics.mean_ap)
        lines.append(_row(run.name, str(run.lost), _texts(figures), width))
    if evaluation.skipped:
        lines += ["", f"{len(evaluation.skipped)} samples were skipped:"]
        lines += [f"  {token}: {why}" for token, why in list(evaluation.skipped.items())[:5]]
    return lines


def _slice_texts(part: SliceFigures) -> tuple[str, ...]:
    return (*_texts((part.nds, part.mean_ap)), str(part.samples))


def _texts(values: Iterable[float]) -> tuple[str, ...]:
    return tuple("-" if math.isnan(value) else f"{value:.3f}" for value in values)


def _row(name: str, count: str, cells: Iterable[str], width: int = 26) -> str:
    return f"{name:<{width}}{count:>7}  " + "".join(f"{cell:>13}" for cell in cells).rstrip()
