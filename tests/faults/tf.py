# SPDX-License-Identifier: Apache-2.0
"""Transforms that are missing at the start and come late, and ego motion that is gone.

Two plays of the real graph, cameras at 6 Hz. The sensors' places (/tf_static) come after some
seconds: until then the node waits and says why, and then it runs. Ego motion (/tf) stops for some
seconds in mid-drive: the node says so, and goes on.
"""

from tests.faults.injection import Fault
from tests.faults.judge import NO_STATUS, crashes
from tests.faults.live import Run, play
from tests.faults.plan import Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

EVERY = 2

#: /tf_static comes after so long; the play's length.
LATE_S, LATE_PLAY_S = 6.0, 12.0

#: Ego motion is gone between these; the play's length.
GONE_S, BACK_S, GONE_PLAY_S = 4.0, 10.0, 14.0


def run(context: Context) -> list[Figure]:
    """Play both, and judge."""
    late = Fault(
        kind="late", sensors=("TF_STATIC",), begin_s=0.0, end_s=1.0, amount=1000.0 * LATE_S
    )
    gone = Fault(kind="lost", sensors=("TF",), begin_s=GONE_S, end_s=BACK_S)
    seen_late = play(context, "late", Plan(seconds=LATE_PLAY_S, every=EVERY, faults=(late,)))
    seen_gone = play(context, "gone", Plan(seconds=GONE_PLAY_S, every=EVERY, faults=(gone,)))
    return [*judge_late(seen_late), *judge_gone(seen_gone)]


def judge_late(seen: Run) -> list[Figure]:
    """Return the figures of /tf_static that comes late."""
    first = crashes("TF missing at the start", seen)
    if not seen.sent:
        return [first]
    came_ns = seen.steady_ns(LATE_S)
    name = "TF missing at the start: boxes after it came"
    answers = [arrived for _, arrived in seen.answers]
    after = (
        at_most(name, round((min(answers) - came_ns) * 1e-9, 3), 1.0, "s", f"after {LATE_S:g} s")
        if answers
        else not_there(name, 1.0, "s", "no boxes at all")
    )
    words = [t for t in seen.diagnostics if t.level and t.arrived_ns < came_ns]
    named = [t for t in words if "transform" in t.message or "calibr" in t.name.lower()]
    why = named[-1].message if named else ""
    told_why = at_least("TF missing at the start: told why", len(named), 1, "messages", why)
    return [first, after, told_why, _status(seen, 0.5, LATE_S)]


def judge_gone(seen: Run) -> list[Figure]:
    """Return the figures of ego motion that is gone for a while."""
    first = crashes("ego motion gone", seen)
    if not seen.sent:
        return [first]
    due = seen.due_between(GONE_S, BACK_S)
    got = seen.with_one_of(due, [stamp for stamp, _ in seen.answers])
    begin_ns, end_ns = seen.steady_ns(GONE_S), seen.steady_ns(BACK_S)
    inside = [t for t in seen.diagnostics if begin_ns < t.arrived_ns < end_ns]
    words = [t for t in inside if t.level and t.name.endswith(": ego_motion")]
    name = "ego motion gone: told on /diagnostics after"
    if words:
        spent_s = round((words[0].arrived_ns - begin_ns) * 1e-9, 3)
        note = f"{words[0].name.partition(': ')[2]}: {words[0].message}"
        warned = at_most(name, spent_s, 1.0, "s", note)
    else:
        warned = not_there(name, 1.0, "s", "nothing was told")
    share = round(100 * len(got) / max(len(due), 1), 2)
    return [first, at_least("ego motion gone: frames answered", share, 99.0, "%"), warned]


def _status(seen: Run, begin_s: float, end_s: float) -> Figure:
    """Return how often the status said, a second, why there was no frame."""
    name = "TF missing at the start: status says why"
    begin_ns, end_ns = seen.steady_ns(begin_s), seen.steady_ns(end_s)
    words = [t for t in seen.statuses if begin_ns < t.arrived_ns < end_ns]
    if not words:
        return not_there(name, 2.0, "1/s", NO_STATUS)
    rate = round(len(words) / (end_s - begin_s), 2)
    return told(name, rate, "1/s", words[-1].outcome)
