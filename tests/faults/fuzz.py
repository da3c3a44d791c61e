# SPDX-License-Identifier: Apache-2.0
"""A million broken inputs over all decoders: nothing crashes, hangs, or lets a NaN through.

Each decoder (`fuzz_targets`) is fuzzed by a process of its own, two at a time. Seeds are broken by
chance, the same for the same seed. With the package atheris installed (pip install imkd_ros[fuzz])
half of the cases are chosen by libFuzzer, by the lines of our code that they reach. A process that
dies is a crash: its input is kept in the output folder, and another goes on with the cases that
are left.

Memory is that of the processes without atheris: atheris 3.0.0 never gives back what comparing two
arrays gave.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.fuzz_child import FINDS, import_atheris, read_state
from tests.faults.fuzz_target import Target
from tests.faults.fuzz_targets import TARGETS, cases_of, is_here
from tests.faults.suite import SCENARIOS, Context, Figure, at_least, at_most, told

#: Cases of a published run.
CASES = 1_000_000

#: Growth of memory that is allowed, from a tenth of the cases to the peak behind it.
MAX_GROWTH_MB = 50.0

#: A process that tries no case for so long hangs, and is ended.
SILENT_S = 120.0

#: Who chooses the inputs: chance, or coverage.
OWN, GUIDED = "own", "atheris"

#: Processes at a time, and crashes after which a decoder is given up.
WORKERS, MOST_CRASHES = 2, 25

_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """What came of one decoder.

    Attributes:
        target: it.
        counts: sums of the counters of its processes; memory is the largest.
        crashes: processes that died or hung.
        finds: files that say what was found, in its folder.
    """

    target: Target
    counts: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    finds: list[str] = field(default_factory=list)

    @property
    def growth_mb(self) -> float:
        """How far memory rose above what a tenth of the cases took."""
        return self.counts.get("growth_kb", 0) / 1024

    def add(self, counts: dict[str, int], engine: str) -> None:
        """Take in the counters of one process; its memory where it is that of our code."""
        for name in ("cases", "taken", "refused", "foreign", "unsound", "slow"):
            self.counts[name] = self.counts.get(name, 0) + counts[name]
        if engine != OWN:
            return
        peak_kb = max(counts["rss_peak_kb"], counts["rss_end_kb"])
        growth_kb = peak_kb - counts["rss_begin_kb"] if counts["rss_begin_kb"] else 0
        self.counts["growth_kb"] = max(self.counts.get("growth_kb", 0), growth_kb)


def run(context: Context) -> list[Figure]:
    """Fuzz every decoder; a shorter run tries fewer cases."""
    engines = (OWN,) if import_atheris() is None else (OWN, GUIDED)
    own_s = next(one.seconds for one in SCENARIOS if one.name == "fuzz")
    total = round(CASES * context.seconds / own_s) if context.is_short else CASES
    begin_s = time.monotonic()
    cases = cases_of(total)
    targets = sorted((t for t in TARGETS if is_here(t)), key=lambda t: -cases[t.name])

    def fuzzed(target: Target) -> Outcome:
        folder = context.folder / re.sub(r"\W+", "_", target.name)
        outcome = fuzz(target, cases[target.name], folder, engines, context.seed)
        print(line(outcome), flush=True)  # noqa: T201 - into the scenario's log
        return outcome

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(fuzzed, targets))
    return figures(outcomes, engines, total, time.monotonic() - begin_s)


def fuzz(target: Target, cases: int, folder: Path, engines: Sequence[str], seed: int) -> Outcome:
    """Fuzz one decoder, with another process for each that dies.

    Args:
        target: the decoder.
        cases: how many inputs.
        folder: keeps what is found; made anew.
        engines: of `OWN` and `GUIDED`; they share the cases.
        seed: of all chance.
    """
    outcome = Outcome(target)
    shutil.rmtree(folder, ignore_errors=True)
    for turn, engine in enumerate(engines, start=1):
        _fuzz_until(outcome, cases * turn // len(engines), folder, engine, seed)
    return outcome


def _fuzz_until(outcome: Outcome, cases: int, folder: Path, engine: str, seed: int) -> None:
    """Fuzz one decoder with one engine until so many cases of it are tried, or it is given up."""
    for number in range(MOST_CRASHES):
        part = folder / f"{engine}-{number}"
        part.mkdir(parents=True)
        left = cases - outcome.counts.get("cases", 0)
        is_whole = _child(outcome.target, left, part, engine, seed + 1000 * number)
        counts, in_hand = read_state(part)
        outcome.add(counts, engine)
        outcome.finds += _kept(part, folder)
        if is_whole:
            break
        outcome.crashes += 1
        (folder / f"crash-{engine}-{number}.bin").write_bytes(in_hand)
        outcome.finds.append(f"crash-{engine}-{number}.bin")
        if outcome.counts["cases"] >= cases or not counts["cases"]:
            break


def _child(target: Target, cases: int, part: Path, engine: str, seed: int) -> bool:
    """Run one process; whether it tried all its cases."""
    command = [sys.executable, "-m", "tests.faults.fuzz_child", target.name]
    command += ["--cases", str(cases), "--seed", str(seed)]
    command += ["--folder", str(part.absolute()), "--engine", engine]
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
    with (part / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=_ROOT, stdout=log, stderr=log, env={**os.environ, **one}
        )
        try:
            _wait(process, part)
        finally:
            process.kill()
            process.wait()
    return bool(read_state(part)[0]["is_done"])


def _wait(process: "subprocess.Popen[bytes]", part: Path) -> None:
    """Wait for a process, as long as it goes on."""
    cases, last_s = -1, time.monotonic()
    while process.poll() is None:
        now, counted = time.monotonic(), read_state(part)[0]["cases"]
        if counted != cases:
            cases, last_s = counted, now
        if now - last_s > SILENT_S:
            return
        time.sleep(0.2)


def _kept(part: Path, folder: Path) -> Iterator[str]:
    """Move the finds of a process up, and remove what it needed."""
    for path in sorted((part / FINDS).glob("*")):
        path.replace(folder / path.name)
        yield path.name
    for name in ("files", "corpus", FINDS):
        shutil.rmtree(part / name, ignore_errors=True)


def line(outcome: Outcome) -> str:
    """Return what came of one decoder as a line."""
    counts = outcome.counts
    facts = ", ".join(f"{counts.get(n, 0)} {n}" for n in ("taken", "refused", "foreign", "unsound"))
    return (
        f"{outcome.target.name}: {counts.get('cases', 0)} cases, {facts}, {counts.get('slow', 0)} "
        f"slow, {outcome.crashes} crashes, +{outcome.growth_mb:.1f} MB {' '.join(outcome.finds)}"
    )


def figures(
    outcomes: list[Outcome], engines: Sequence[str], total: int, seconds: float
) -> list[Figure]:
    """Return the figures of a run.

    Args:
        outcomes: of all decoders.
        engines: that chose the inputs.
        total: cases that were to be tried.
        seconds: that the run took.
    """
    own = [one for one in outcomes if not one.target.is_foreign]
    foreign = [one for one in outcomes if one.target.is_foreign]
    largest = max(outcomes, key=lambda one: one.growth_mb)
    left_out = [target.name for target in TARGETS if not is_here(target)]
    is_guided = GUIDED in engines
    how = "half guided by coverage (atheris)" if is_guided else "own mutations, no atheris"
    note = f"{len(outcomes)} decoders; {how}"
    note += f"; left out for want of packages: {', '.join(left_out)}" if left_out else ""
    return [
        at_least("fuzz cases", sum(_sum(outcomes, "cases")), total, note=note),
        at_most("fuzz crashes", sum(one.crashes for one in own), 0, note=_names(own, "crashes")),
        at_most("fuzz exceptions", sum(_sum(own, "foreign")), 0, note=_names(own, "foreign")),
        at_most("fuzz NaN", sum(_sum(outcomes, "unsound")), 0, note=_names(outcomes, "unsound")),
        at_most("fuzz hangs", sum(_sum(own, "slow")), 0, note=_names(own, "slow")),
        at_most(
            "fuzz RSS growth",
            round(largest.growth_mb, 1),
            MAX_GROWTH_MB,
            "MB",
            f"peak, {largest.target.name}" + ("; without atheris" if is_guided else ""),
        ),
        told(
            "fuzz crashes of the middleware's deserialiser",
            sum(one.crashes for one in foreign),
            note="before a byte reaches this project: rclpy.serialization"
            if foreign
            else "rclpy is not installed",
        ),
        told("fuzz duration", round(seconds, 1), "s", f"{WORKERS} processes"),
    ]


def _sum(outcomes: list[Outcome], name: str) -> Iterator[int]:
    return (one.counts.get(name, 0) for one in outcomes)


def _names(outcomes: list[Outcome], name: str) -> str:
    """Return which decoders it concerns."""
    found = [
        one.target.name
        for one in outcomes
        if (one.crashes if name == "crashes" else one.counts.get(name, 0))
    ]
    return "in " + ", ".join(found) if found else ""
