# SPDX-License-Identifier: Apache-2.0
"""From what was seen of a run to figures; pure."""

import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from benchmarks.harness import Timing
from imkd_core.health.degradation import ANSWERED
from tests.faults.live import Run, Told
from tests.faults.plan import Due
from tests.faults.suite import Figure, at_most, not_there

#: What a figure says whose status the node did not send.
NO_STATUS = "not there: nothing came on ~/output/status"


def gap_periods(run: Run, begin_s: float, end_s: float) -> float:
    """Return by how many frame periods the output paused longer than a period, at worst.

    0 when every frame came a period after the one before; 1 when one frame did not come at all.

    Args:
        run: what was seen.
        begin_s, end_s: of the play: the pauses that end or begin in between count.
    """
    begin_ns, end_ns = run.steady_ns(begin_s), run.steady_ns(end_s)
    times = sorted(arrived for _, arrived in run.answers)
    before = [one for one in times if one <= begin_ns][-1:] or [begin_ns]
    inside = [one for one in times if begin_ns < one <= end_ns]
    after = [one for one in times if one > end_ns][:1] or [end_ns]
    longest_ns = max(late - early for early, late in pairwise([*before, *inside, *after]))
    return max(0.0, longest_ns * 1e-9 / run.plan.period_s * run.rate - 1.0)


def right_after_s(
    run: Run, level: str, missing: Collection[str], begin_s: float, end_s: float
) -> float | None:
    """Return how long after a fault's begin the status was right, and stayed so to its end.

    Args:
        run: what was seen.
        level: that it must tell.
        missing: sensors that it must name.
        begin_s, end_s: of the fault.

    Where there is no frame for the moment, the status tells the level alone.

    Returns:
        Seconds of play; None where it was wrong to the end, or nothing was told.
    """
    begin_ns, end_ns = run.steady_ns(begin_s), run.steady_ns(end_s)
    right_ns: int | None = None
    for told in run.statuses:
        if not begin_ns < told.arrived_ns <= end_ns:
            continue
        names = told.missing if not told.outcome.startswith("no frame") else set(missing)
        is_right = told.values.get("level") == level and set(missing) <= names
        right_ns = None if not is_right else right_ns or told.arrived_ns
    return None if right_ns is None else (right_ns - begin_ns) * 1e-9 * run.rate


def frames_to_full(run: Run, from_ns: int, end_ns: int) -> int | None:
    """Return the how-manieth frame from a stamp on has all sensors; None where none has.

    Args:
        run: what was seen.
        from_ns: stamp of the first measurement of a sensor that is back.
        end_ns: frames behind it do not count.
    """
    frames = {t.stamp_ns: t for t in run.statuses if t.outcome == ANSWERED}
    ordered = [frames[stamp] for stamp in sorted(frames) if from_ns <= stamp < end_ns]
    for number, told in enumerate(ordered, 1):
        if told.values.get("level") == "full":
            return number
    return None


def paired(due: Sequence[Due], stamps: Iterable[int]) -> list[Due]:
    """Return the due frames that have a stamp of their own.

    A frame has the stamp of its newest image: one of its turn, or, where it waited for a camera
    whose image was unusable, that of this camera's next image. A turn with two stamps has one to
    spare for the turn before, which may hand its own on in turn.

    Args:
        due: frames by time.
        stamps: of the frames that there were, in any order.
    """
    ends = [one.last_ns for one in due]
    inside = {stamp for stamp in stamps if due and due[0].first_ns <= stamp <= ends[-1]}
    counts = Counter(bisect.bisect_left(ends, stamp) for stamp in inside)
    found, spare = [], 0
    for n, one in reversed(list(enumerate(due))):
        if counts[n] + spare:
            found.append(one)
        spare = int(counts[n] > 0 and counts[n] + spare > 1)
    return found[::-1]


def latencies(run: Run, topics: Collection[str], begin_s: float = 0.0) -> Timing:
    """Return the times from sending a frame's newest image to having its boxes.

    Args:
        run: what was seen.
        topics: of the images.
        begin_s: of the play; answers before do not count.
    """
    sent = {one.stamp_ns: one.sent_ns for one in run.sent if one.topic in topics}
    begin_ns = run.stamp_ns(begin_s)
    return Timing(
        samples_ms=tuple(
            (arrived - sent[stamp]) * 1e-6
            for stamp, arrived in run.answers
            if stamp in sent and stamp >= begin_ns
        )
    )


def explained(run: Run) -> set[int]:
    """Return the stamps of which the node said what became of them, answered or not."""
    return {told.stamp_ns for told in run.statuses if told.outcome}


def crashes(name: str, run: Run) -> Figure:
    """Return the figure for the processes that died, and exceptions that the log shows."""
    found = run.log.count("Traceback") + bool(run.failure)
    return at_most(f"{name}: crashes and exceptions", found, 0, "", run.failure)


def worst(
    name: str, values: Iterable[float | None], goal: float, unit: str, note: str, absent: str
) -> Figure:
    """Return the largest of values as a figure; one that is missing misses the goal."""
    known = list(values)
    if not known or any(value is None for value in known):
        lacking = sum(value is None for value in known)
        return not_there(name, goal, unit, f"{absent} ({lacking} of {len(known)} times)")
    return at_most(name, round(max(v for v in known if v is not None), 3), goal, unit, note)


def last_counters(told: Sequence[Told]) -> dict[str, dict[str, str]]:
    """Return part -> values of the node's last word on /diagnostics."""
    return {one.name.partition(": ")[2]: dict(one.values) for one in told}
