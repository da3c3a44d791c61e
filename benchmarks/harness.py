# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: figures and goals, timing in turns, a report as JSON.

    python -m benchmarks.NAME [--quick] [options] --json FILE

A benchmark is a module with a `main` that calls `run_benchmark(NAME, __doc__, measure)`, where
`measure(options)` returns a `Report`. It runs alone, in a process of its own.

    def measure(options: argparse.Namespace) -> Report:
        times = time_in_turns({"ours": ours, "plain": plain}, rounds=3 if options.quick else 50)
        ratio = times["ours"].times_faster_than(times["plain"])
        return Report(
            name="example",
            figures=(*times["ours"].figures("ours"), *times["plain"].figures("plain")),
            goals=(Goal(name="against plain", value=ratio, goal=3.0, unit="times"),),
        )

A goal that cannot be measured here keeps its place: `value=None` and a `reason`.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imkd_core.errors import ConfigError, DataError, ImkdError

#: Of the checkout.
ROOT = Path(__file__).resolve().parents[1]

#: How a value is compared with its goal.
AT_LEAST, AT_MOST = "at least", "at most"

EXIT_USER_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        name: what it is, unique in its benchmark, such as "onnxruntime fp32, p95".
        value: None where it could not be measured; the note then says why.
        unit: "ms", "times", "%", "MB" and so on; empty for a count.
        note: in a few words.

    Raises:
        ConfigError: the name is empty, the value is not finite, or it is absent without a note.
    """

    name: str
    value: float | None
    unit: str
    note: str = ""

    def __post_init__(self) -> None:
        """Check name, value and note."""
        _check_value(self.name, self.value, self.note)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure that has a goal.

    Attributes:
        name: what it is, unique in all benchmarks.
        value: measured; None where it could not be measured.
        goal: what it is held against.
        unit: of both.
        comparison: `AT_LEAST` or `AT_MOST`: which side of the goal is good.
        reason: why there is no value; or, in a few words, why the goal is missed.

    Raises:
        ConfigError: a number is not finite, the comparison is unknown, or the value is absent
            without a reason.
    """

    name: str
    value: float | None
    goal: float
    unit: str
    comparison: str = AT_LEAST
    reason: str = ""

    def __post_init__(self) -> None:
        """Check numbers and comparison."""
        _check_value(self.name, self.value, self.reason)
        _check_value(self.name, self.goal, "")
        if self.comparison not in (AT_LEAST, AT_MOST):
            raise ConfigError(
                f"goal '{self.name}': comparison must be '{AT_LEAST}' or '{AT_MOST}', got "
                f"'{self.comparison}'"
            )

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.comparison == AT_LEAST else self.value <= self.goal


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found.

    Attributes:
        name: of the benchmark, that of its module.
        figures: in the order in which a table shows them.
        goals: those of issue and README that it answers.
        facts: anything else that JSON can say: sizes, rounds, warnings, whole distributions.
            `facts["warnings"]`, a list of sentences, is shown.

    Raises:
        ConfigError: two figures or two goals bear the same name.
    """

    name: str
    figures: tuple[Figure, ...] = ()
    goals: tuple[Goal, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that names are unique."""
        rows: tuple[tuple[Figure | Goal, ...], ...] = (self.figures, self.goals)
        for values in rows:
            names = [value.name for value in values]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ConfigError(f"benchmark '{self.name}' names twice: {', '.join(twice)}")

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain mappings and lists; each goal says whether it is met."""
        return {
            "name": self.name,
            "figures": [asdict(figure) for figure in self.figures],
            "goals": [{**asdict(goal), "met": goal.met} for goal in self.goals],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Report":
        """Return the report that `to_json` gave.

        Raises:
            DataError: it is no such report.
        """
        try:
            goals = [{k: v for k, v in goal.items() if k != "met"} for goal in raw["goals"]]
            return cls(
                name=raw["name"],
                figures=tuple(Figure(**figure) for figure in raw["figures"]),
                goals=tuple(Goal(**goal) for goal in goals),
                facts=dict(raw["facts"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"not the report of a benchmark ({error!r}); run it again") from None


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of one alternative, in the order in which they were taken."""

    samples_ms: tuple[float, ...]

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile, interpolated between samples."""
        ordered = sorted(self.samples_ms)
        place = (len(ordered) - 1) * percent / 100
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    @property
    def p50_ms(self) -> float:
        """The median."""
        return self.percentile_ms(50)

    @property
    def p95_ms(self) -> float:
        """95 % of samples are below."""
        return self.percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        """99 % of samples are below."""
        return self.percentile_ms(99)

    def times_faster_than(self, baseline: "Timing") -> float:
        """Return how many times faster the median is than that of a baseline of the same run."""
        return baseline.p50_ms / self.p50_ms

    def figures(self, name: str, note: str = "") -> tuple[Figure, ...]:
        """Return p50, p95 and p99 as figures in milliseconds."""
        values = (("p50", self.p50_ms), ("p95", self.p95_ms), ("p99", self.p99_ms))
        return tuple(
            Figure(name=f"{name}, {label}", value=round(value, 4), unit="ms", note=note)
            for label, value in values
        )


def time_in_turns(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 2,
    calls: int = 1,
    lead_in: int = 0,
) -> dict[str, Timing]:
    """Time alternatives in turns, so that whatever slows the machine slows all of them.

    Every round runs each alternative once, starting with another one each time.

    Args:
        alternatives: name -> work, called without arguments.
        rounds: samples of each alternative.
        warm_up: rounds that are not counted.
        calls: of the work in one sample, which is their mean; for work below 0.1 ms.
        lead_in: calls right before each sample that are not counted, so that caches and spinning
            threads of the alternative before do not count.
    """
    names = list(alternatives)
    samples_ms: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            work = alternatives[name]
            for _ in range(lead_in):
                work()
            begin_ns = time.perf_counter_ns()
            for _ in range(calls):
                work()
            spent_ms = (time.perf_counter_ns() - begin_ns) * 1e-6 / calls
            if turn >= 0:
                samples_ms[name].append(spent_ms)
    return {name: Timing(samples_ms=tuple(values)) for name, values in samples_ms.items()}


def mean_figure(name: str, values: Sequence[float], unit: str, note: str = "") -> Figure:
    """Return the mean of values as a figure."""
    return Figure(name=name, value=round(statistics.fmean(values), 4), unit=unit, note=note)


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside and move it into place, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as stream:
        stream.write(text)
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)


def run_benchmark(
    name: str,
    description: str | None,
    measure: Callable[[argparse.Namespace], Report],
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse options, measure, print a table and write the JSON; return the exit code.

    Every benchmark has `--quick` (the smallest run that says anything; its figures are not
    published) and `--json FILE`.

    Args:
        name: of the benchmark.
        description: its docstring.
        measure: takes the options, among them `quick`, and returns the report.
        add_options: declares options of its own.
        arguments: of the command line; those of the process when None.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smallest run: does it work at all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report goes")
    if add_options is not None:
        add_options(parser)
    try:
        options = parser.parse_args(arguments)
        report = measure(options)
    except ImkdError as error:
        sys.stderr.write(f"benchmarks.{name}: {error}\n")
        return EXIT_USER_ERROR
    sys.stdout.write(table(report))
    if options.json is not None:
        write_json(options.json, report.to_json())
    return 0


def table(report: Report) -> str:
    """Return a report as lines of text, each with its end."""
    rows = [(f.name, number(f.value), f.unit, f.note) for f in report.figures]
    width = max((len(row[0]) for row in rows), default=0)
    lines = [f"{name:<{width}}  {value:>10} {unit:<6} {note}" for name, value, unit, note in rows]
    for goal in report.goals:
        verdict = {True: "met", False: "MISSED", None: "not measured"}[goal.met]
        lines.append(
            f"goal: {goal.name}: {number(goal.value)} ({goal.comparison} {goal.goal:g} "
            f"{goal.unit}) {verdict}{': ' if goal.reason else ''}{goal.reason}"
        )
    lines += [f"warning: {text}" for text in report.facts.get("warnings", ())]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def number(value: float | None) -> str:
    """Return a number with three digits that count; a dash where there is none."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def _check_value(name: str, value: float | None, why: str) -> None:
    if not name:
        raise ConfigError("a figure needs a name")
    if value is None and not why:
        raise ConfigError(f"'{name}' has no value: say why")
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"'{name}' must be a finite number, got {value}")
