# SPDX-License-Identifier: Apache-2.0
"""The figures of a replay as lines of text."""

import math
from collections.abc import Iterable, Sequence

from imkd_core.evaluation.average_precision import ERRORS
from imkd_core.evaluation.replay_figures import ReplayFigures
from imkd_core.evaluation.replay_judgement import Judgement
from imkd_core.evaluation.steadiness import FIGURES
from imkd_core.evaluation.tables import SliceFigures

_HEADS = ("transl. m", "scale", "orient. rad", "velocity m/s", "attribute")

#: So many sets of missing sensors are listed, those of most true moments first.
_LISTED = 12

#: What is said where nothing is known of what was there.
WITHOUT_TRUTH = (
    "No truth: how right the boxes are is not known. Record true boxes "
    "(vision_msgs/Detection3DArray), or name them with --truth."
)


def figure_lines(figures: ReplayFigures, drives: int, score: str) -> list[str]:
    """Return the figures of all recordings.

    Args:
        figures: of all.
        drives: number of recordings.
        score: which boxes count, in words.
    """
    lines = []
    if figures.judgement is None:
        lines += [WITHOUT_TRUTH, ""]
    else:
        lines += _truth_lines(figures.judgement, f"{figures.judged} of {drives}", score)
    lines.append("steadiness, without the truth (steady boxes may be wrong)")
    lines += [
        f"{name:<26}{_texts([value])[0]:>9}  {FIGURES[name]}"
        for name, value in figures.steadiness.items()
    ]
    return lines


def _truth_lines(judgement: Judgement, recordings: str, score: str) -> list[str]:
    metrics = judgement.metrics
    lines = [
        f"NDS {metrics.nds:.4f}  mAP {metrics.mean_ap:.4f} over ten classes; of those with true "
        f"boxes NDS {_texts([metrics.present_nds])[0]}  mAP {_texts([metrics.present_mean_ap])[0]}",
        f"({recordings} recordings with truth, {metrics.samples} true moments, "
        f"{judgement.unanswered} of them without an answer, {metrics.truth} true boxes, {score})",
        "",
        _row("class", "true", ("AP", *_HEADS)),
    ]
    for name, row in metrics.classes.items():
        values = (row.ap, *(row.errors[error] for error in ERRORS))
        lines.append(_row(name, str(row.truth), _texts(values)))
    for title, parts in (
        ("range", judgement.by_range),
        ("weather", judgement.by_weather),
        ("light", judgement.by_light),
        ("degradation", judgement.by_level),
        ("missing sensors", judgement.by_lost),
    ):
        lines += ["", *_part_lines(title, parts)]
    lines += ["", _row("speed", "true", ("recall", "velocity m/s", "orient. rad"))]
    for speed in judgement.by_speed:
        values = (speed.recall, speed.velocity_mps, speed.orientation_rad)
        lines.append(_row(speed.name, str(speed.truth), _texts(values)))
    return [*lines, ""]


def _part_lines(title: str, parts: Sequence[SliceFigures]) -> list[str]:
    shown = parts[:_LISTED]
    width = max(26, *(len(part.name) + 1 for part in shown))
    lines = [_row(title, "true", ("NDS", "mAP", "moments"), width)]
    for part in shown:
        cells = (*_texts((part.nds, part.mean_ap)), str(part.samples))
        lines.append(_row(part.name, str(part.truth), cells, width))
    if len(parts) > len(shown):
        lines.append(f"and {len(parts) - len(shown)} more, in figures.json")
    return lines


def _texts(values: Iterable[float]) -> tuple[str, ...]:
    return tuple("-" if math.isnan(value) else f"{value:.3f}" for value in values)


def _row(name: str, count: str, cells: Iterable[str], width: int = 26) -> str:
    return f"{name:<{width}}{count:>7}  " + "".join(f"{cell:>13}" for cell in cells).rstrip()
