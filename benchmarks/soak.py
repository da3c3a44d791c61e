# SPDX-License-Identifier: Apache-2.0
"""Does the node grow? A looping bag at full rate through the real graph, for half an hour.

    python -m benchmarks.soak [--minutes 30] [--bag BAG] [--model DIR]

Looks at the node's memory, threads and open files every second. Growth is from the median of the
5 % of the run that follow its first tenth to the median of its last 5 %. Ctrl-C ends it early with
what was seen so far. Each pass of the bag takes the clock back, as a bag that loops does.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.goals import judged
from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.live_drive import live_bag, quick_bag
from benchmarks.live_graph import CORES, parameter
from benchmarks.machine import idle_warnings
from benchmarks.process_stats import ProcessStats, keep_to_cores, read_stats
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError
from imkd_core.resources import bundle_folder
from imkd_ros.graph.observer import GraphObserver
from imkd_ros.graph.options import GraphOptions
from imkd_ros.supervisor import run_graph

#: The run that the goal speaks of, minutes.
WHOLE_MINUTES = 30.0

#: Parts of the run: warm-up, and the windows whose medians are compared.
WARM_UP, WINDOW = 0.1, 0.05

#: Fewer looks than this say nothing.
MIN_LOOKS = 20

#: The player keeps /clock running for so long between two passes, seconds.
PAUSE_S = 1.0


class Looks(GraphObserver):
    """Looks at the detector's process at equal distances.

    Attributes:
        times_s: of the looks, from the first.
        stats: what was seen.
        answers: frames answered.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.times_s: list[float] = []
        self.stats: list[ProcessStats] = []
        self.answers = 0
        self._period_s = period_s
        self._clock = clock
        self._begin_s = math.nan

    def on_answer(self, stamp_ns: int, arrived_ns: int) -> None:
        """Count it."""
        del stamp_ns, arrived_ns
        self.answers += 1

    def on_poll(self, process_ids: Mapping[str, int]) -> None:
        """Look, when it is time and there has been an answer."""
        if "detector" not in process_ids or not self.answers:
            return
        if math.isnan(self._begin_s):
            self._begin_s = self._clock()
        now_s = self._clock() - self._begin_s
        if self.times_s and now_s - self.times_s[-1] < self._period_s:
            return
        stats = read_stats(process_ids["detector"])
        if stats is not None:
            self.times_s.append(now_s)
            self.stats.append(stats)


def growth(values: Sequence[float]) -> float | None:
    """Return the growth in per cent from behind the first tenth to the end; None for too few.

    Args:
        values: at equal distances in time.
    """
    count = len(values)
    if count < MIN_LOOKS:
        return None
    width = max(1, round(WINDOW * count))
    begin = round(WARM_UP * count)
    early = statistics.median(values[begin : begin + width])
    late = statistics.median(values[-width:])
    return 100 * (late - early) / early if early else None


def measure(options: argparse.Namespace) -> Report:
    """Play the bag for so long, or until Ctrl-C; return what was seen.

    Raises:
        DataError: the graph failed, or was ended before anything could be seen.
    """
    keep_to_cores(CORES)
    busy = idle_warnings()
    minutes = 0.25 if options.quick else options.minutes
    bag = options.bag or (quick_bag() if options.quick else live_bag(options.seconds))
    looks = Looks(0.25 if options.quick else 1.0)
    is_whole = play(bag, minutes, looks, options)
    if not looks.times_s:
        raise DataError("the run was ended before the first frame was answered")
    return report(looks, minutes, is_whole, [*busy])


def play(bag: Path, minutes: float, looks: Looks, options: argparse.Namespace) -> bool:
    """Play the bag again and again; return whether it came to its end.

    Raises:
        DataError: the graph failed.
    """
    passes = math.ceil(60 * minutes / (bag_length_s(bag) + PAUSE_S))
    with tempfile.TemporaryDirectory(prefix="imkd_soak_") as folder:
        graph = GraphOptions(
            bag=bag,
            recording=Path(folder) / "recording",
            bundle=bundle_folder(options.model),
            overrides=dict(options.overrides),
            passes=passes,
            log_folder=Path(folder) / "logs",
        )
        try:
            result = run_graph(graph, looks)
        except KeyboardInterrupt:
            return False
        if not result.is_ok:
            tails = "\n".join(f"--- {name}\n{tail}" for name, tail in result.log_tails.items())
            raise DataError(f"{result.failure}\n{tails}")
    return True


def bag_length_s(bag: Path) -> float:
    """Return the time from the first to the last message of a bag."""
    with open_bag(bag) as opened:
        return (opened.end_ns - opened.start_ns) * 1e-9


def report(looks: Looks, minutes: float, is_whole: bool, warnings: Sequence[str]) -> Report:
    """Return figures and goal of what was seen."""
    columns = {
        name: [float(getattr(stats, name)) for stats in looks.stats]
        for name in ("rss_mb", "threads", "files")
    }
    lasted_min = looks.times_s[-1] / 60
    grown = {name: growth(values) for name, values in columns.items()}
    few = f"only {len(looks.times_s)} looks at the process"
    is_long = lasted_min >= 0.95 * WHOLE_MINUTES
    figures = [
        Figure(name="minutes", value=lasted_min, unit="min"),
        Figure(name="frames answered", value=float(looks.answers), unit=""),
        Figure(name="memory at the end", value=columns["rss_mb"][-1], unit="MB"),
        Figure(name="memory at its peak", value=max(columns["rss_mb"]), unit="MB"),
    ]
    words = {"rss_mb": "memory", "threads": "threads", "files": "open files"}
    figures += [
        Figure(name=f"growth of {words[name]}", value=value, unit="%", note=_note(value, few))
        for name, value in grown.items()
    ]
    reason = "" if is_long else f"the goal asks for {WHOLE_MINUTES:g} minutes of replay"
    return Report(
        name="soak",
        figures=tuple(figures),
        goals=(judged("memory_growth", grown["rss_mb"] if is_long else None, reason),),
        facts={
            "was_interrupted": not is_whole,
            "minutes_asked_for": minutes,
            "looks": _thinned(looks),
            "warnings": list(warnings),
        },
    )


def _note(value: float | None, few: str) -> str:
    return few if value is None else ""


def _thinned(looks: Looks, most: int = 200) -> list[dict[str, float]]:
    """Return at most so many of the looks, evenly, for the JSON."""
    step = max(1, math.ceil(len(looks.times_s) / most))
    rows = zip(looks.times_s[::step], looks.stats[::step], strict=True)
    return [{"time_s": round(time_s, 2), **asdict(stats)} for time_s, stats in rows]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark has beside --quick and --json."""
    add = parser.add_argument
    add("--minutes", type=float, default=WHOLE_MINUTES, help="how long (default: 30)")
    add("--seconds", type=float, default=10.0, help="of the drive that loops (default: 10)")
    add("--bag", type=Path, help="loop this bag instead")
    add("--model", default="", help="bundle (default: the one that ships)")
    add(
        "--set",
        dest="overrides",
        type=parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the node",
    )


def main() -> int:
    """Measure and report."""
    return run_benchmark("soak", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
