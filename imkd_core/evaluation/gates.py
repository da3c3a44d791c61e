# SPDX-License-Identifier: Apache-2.0
"""Limits that a comparison must keep, for CI: "nds<-0.005" fails where NDS fell by more.

    gate = parse_gate("nds<-0.005")
    judge_gate(gate, comparison)          # Judgement(failed=..., text=...)

A gate looks at B - A: of a figure, or of the lower or upper end of its interval ("nds.high<0": it
is surely lower). What is not known does not pass.
"""

import difflib
import math
import re
from dataclasses import dataclass

from imkd_core.errors import ConfigError
from imkd_core.evaluation.comparison import Comparison

_PATTERN = re.compile(
    r"\s*(?P<figure>[a-z0-9_.]+?)(\.(?P<end>low|high))?\s*(?P<side>[<>])\s*"
    r"(?P<limit>[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One limit.

    Attributes:
        text: as it was given.
        figure: name of a row of a comparison.
        end: "value", "low" or "high": what of B - A is looked at.
        fails_below: whether it fails below the limit, or above.
        limit: in the unit of the figure.
    """

    text: str
    figure: str
    end: str
    fails_below: bool
    limit: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether a gate failed, and why, in one line."""

    gate: Gate
    failed: bool
    text: str


def parse_gate(text: str) -> Gate:
    """Read a limit such as "nds<-0.005", "ap.car.high<0" or "flicker>0.02".

    Raises:
        ConfigError: it is no limit.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"'{text}' is no limit; give FIGURE<LIMIT or FIGURE>LIMIT of B - A, in quotes for the "
            "shell: 'nds<-0.005', 'ap.car.high<0', 'flicker>0.02'"
        )
    return Gate(
        text=text.strip(),
        figure=match["figure"].lower(),
        end=(match["end"] or "value").lower(),
        fails_below=match["side"] == "<",
        limit=float(match["limit"]),
    )


def judge_gate(gate: Gate, comparison: Comparison) -> Judgement:
    """Return whether a comparison breaks a limit; what is not known breaks it.

    Raises:
        ConfigError: the comparison has no such figure.
    """
    row = comparison.rows.get(gate.figure)
    if row is None:
        raise ConfigError(_no_such(gate, comparison))
    value = float(getattr(row.difference, gate.end))
    if math.isnan(value):
        return Judgement(gate=gate, failed=True, text=f"{gate.text}: the figure is not known")
    failed = value < gate.limit if gate.fails_below else value > gate.limit
    what = {"value": "B - A", "low": "the lower end of B - A", "high": "the upper end of B - A"}
    told = f"{what[gate.end]} is {value:+.4f} (A {row.a:.4f}, B {row.b:.4f})"
    if math.isinf(value):
        told = f"too few drives for an interval (A {row.a:.4f}, B {row.b:.4f})"
    return Judgement(gate=gate, failed=failed or math.isinf(value), text=f"{gate.text}: {told}")


def _no_such(gate: Gate, comparison: Comparison) -> str:
    near = difflib.get_close_matches(gate.figure, comparison.rows, n=3, cutoff=0.5)
    guess = f"; did you mean {' or '.join(near)}?" if near else "."
    reason = "" if comparison.has_truth else " (without the truth there is no NDS and no AP)"
    some = ", ".join([name for name in comparison.rows if "." not in name])
    return f"'{gate.text}': no figure is called '{gate.figure}'{reason}{guess} There are: {some}"
