# SPDX-License-Identifier: Apache-2.0
"""A bag that loops: clock and stamps jump back in mid-run; the node must start afresh.

The real graph, cameras at 6 Hz, one play twice: /clock goes back by its whole length. Of the second
pass the first frame must be answered, or the second.
"""

from tests.faults.judge import crashes
from tests.faults.live import Run, play
from tests.faults.plan import Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there

EVERY = 2
SECONDS = 8.0

#: Of a pass that count for the share of frames answered: behind the start of the first.
_BEGIN_S = 3.0


def run(context: Context) -> list[Figure]:
    """Play twice in one run, and look at the second pass."""
    seen = play(context, "run", Plan(seconds=SECONDS, every=EVERY), passes=2)
    first = crashes("clock jumps back", seen)
    if not seen.sent:
        return [first]
    second = second_pass(seen)
    name = "clock jumps back: frames until the first answer"
    if not second:
        return [first, not_there(name, 1, "frames", "no answer in the second pass")]
    half_ns = round(seen.plan.period_s * 5e8)
    missed = sum(one.last_ns + half_ns < second[0] for one in seen.due)
    due = seen.due_between(_BEGIN_S, SECONDS - 0.5)
    share = round(100 * len(seen.with_one_of(due, second)) / max(len(due), 1), 2)
    return [
        first,
        at_most(name, missed, 1, "frames", "that were due before it"),
        at_least("clock jumps back: frames answered after it", share, 99.0, "%"),
    ]


def second_pass(seen: Run) -> list[int]:
    """Return the stamps of the answers behind the jump."""
    stamps = [stamp for stamp, _ in sorted(seen.answers, key=lambda answer: answer[1])]
    half_ns = round(SECONDS * 5e8)
    jumps = [n for n in range(1, len(stamps)) if stamps[n] < stamps[n - 1] - half_ns]
    return stamps[jumps[0] :] if jumps else []
