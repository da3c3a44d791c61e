# SPDX-License-Identifier: Apache-2.0
"""An hour at full rate with a random fault every 10 s: nothing breaks, grows or vanishes.

    python -m tests.faults --output DIR --only soak [--seconds 3600]

The real graph, six cameras at 12 Hz, which is more than two cores can answer: newer frames replace
older ones, and the status must say so. Faults are drawn from `DRAWN` by seed: their kind, sensors
and length. A frame that was due (one turn of the cameras) is explained when it was answered, when a
status of its stamp says what became of it, or when the node said at the time that there is none.
"""

import bisect
from collections.abc import Sequence

import numpy as np

from benchmarks.soak import growth
from imkd_core.data.nuscenes.reader import CAMERAS, RADARS
from tests.faults.injection import Fault
from tests.faults.judge import NO_STATUS, crashes, latencies, paired
from tests.faults.live import Run, play
from tests.faults.overload import TOPICS
from tests.faults.plan import Due, Plan
from tests.faults.suite import Context, Figure, at_most, not_there, told

#: Every second image; 1 is all of them.
EVERY = 1

#: From the begin of one fault to the next; how long one lasts, at least and at most. Seconds.
PERIOD_S, SHORTEST_S, LONGEST_S = 10.0, 1.0, 6.0

#: Before the first fault.
WARM_UP_S = 10.0

#: A word that there is no frame counts for frames so near to it: it comes at least twice a second.
_NEAR_NS = 600_000_000

#: Latency that 99 % must keep: the deadline of a frame and three periods.
P99_MS = 400.0

#: Growth of memory is judged from this length on: its first tenth is the node's warm-up.
JUDGED_S = 1800.0

#: What may happen: kind, which sensors ("camera", "radar", "any" one; or a group), amount.
DRAWN: tuple[tuple[str, str, float], ...] = (
    ("lost", "camera", 0.0),
    ("lost", "three cameras", 0.0),
    ("lost", "all cameras", 0.0),
    ("lost", "radar", 0.0),
    ("lost", "all radars", 0.0),
    ("lost", "all sensors", 0.0),
    ("lost", "TF", 0.0),
    ("loss", "any", 0.5),
    ("loss", "any", 0.9),
    ("late", "any", 50.0),
    ("late", "any", 100.0),
    ("late", "any", 200.0),
    ("late", "any", 400.0),
    ("stamp_shift", "any", 1.0),
    ("stamp_shift", "any", -1.0),
    ("stamp_set", "any", 0.0),
    ("stamp_set", "any", 4294967295.0),
    ("stamp_broken", "any", 0.0),
    ("out_of_order", "any", 120.0),
    ("duplicate", "any", 0.0),
    ("frozen", "any", 0.0),
    ("black", "camera", 0.0),
    ("covered", "camera", 0.0),
    ("corrupt", "camera", 0.0),
    ("radar_nan", "radar", 0.5),
    ("radar_inf", "radar", 0.5),
    ("radar_empty", "radar", 0.0),
    ("camera_info", "camera", 0.9),
)


def drawn_faults(seconds: float, seed: int) -> tuple[Fault, ...]:
    """Return a fault every `PERIOD_S`; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    found = []
    for begin_s in np.arange(WARM_UP_S, seconds - LONGEST_S, PERIOD_S):
        kind, group, amount = DRAWN[int(rng.integers(len(DRAWN)))]
        found.append(
            Fault(
                kind=kind,
                sensors=_sensors(group, rng),
                amount=amount,
                begin_s=float(begin_s),
                end_s=float(begin_s + rng.uniform(SHORTEST_S, LONGEST_S)),
            )
        )
    return tuple(found)


def run(context: Context) -> list[Figure]:
    """Play, and look at everything."""
    faults = drawn_faults(context.seconds, context.seed)
    seen = play(context, "run", Plan(seconds=context.seconds, every=EVERY, faults=faults))
    first = crashes("soak", seen)
    if not seen.sent:
        return [first]
    times = latencies(seen, TOPICS, WARM_UP_S)
    kinds = ", ".join(sorted({fault.kind for fault in faults}))
    minutes = context.seconds / 60
    due = seen.due_between(WARM_UP_S, context.seconds - 1.0)
    answered = paired(due, (stamp for stamp, _ in seen.answers))
    return [
        first,
        told("soak: minutes", round(minutes, 1), "min", f"{len(faults)} faults: {kinds}"),
        told("soak: frames due", len(due), "frames"),
        told("soak: frames answered", round(100 * len(answered) / max(len(due), 1), 1), "%"),
        *_unexplained(seen, due),
        at_most(
            "soak: latency p99",
            round(times.p99_ms, 1),
            P99_MS,
            "ms",
            f"p50 {times.p50_ms:.0f} ms, p95 {times.p95_ms:.0f} ms",
        ),
        *_grown(seen, context.seconds),
    ]


def unexplained(seen: Run, due: Sequence[Due]) -> list[Due]:
    """Return the frames that were due of which nothing was heard."""
    about = {told.stamp_ns for told in seen.statuses if told.outcome}
    known = paired(due, [*about, *(stamp for stamp, _ in seen.answers)])
    none = sorted(t.stamp_ns for t in seen.statuses if t.outcome.startswith("no frame"))
    left = set(due) - set(known)
    return [one for one in due if one in left and not _is_near(one.middle_ns, none)]


def _unexplained(seen: Run, due: Sequence[Due]) -> list[Figure]:
    name = "soak: unexplained missing frames"
    if not seen.statuses:
        return [not_there(name, 0, "frames", NO_STATUS)]
    lost = unexplained(seen, due)
    where = ", ".join(_at(seen, one) for one in lost[:5])
    outcomes = sorted({told.outcome.partition(":")[0] for told in seen.statuses})
    note = f"at {where}" if lost else f"outcomes: {', '.join(outcomes)}"
    return [at_most(name, len(lost), 0, "frames", note)]


def _at(seen: Run, due: Due) -> str:
    """Return when a frame was due, and which fault was on."""
    seconds = (due.middle_ns - seen.start_ns) * 1e-9
    kinds = [f.kind for f in seen.plan.faults if f.begin_s <= seconds < f.end_s + 1.0]
    return f"{seconds:.1f} s ({', '.join(kinds) or 'no fault'})"


def _grown(seen: Run, seconds: float) -> list[Figure]:
    """Return the growth of memory and open files of the node."""
    memory = growth([stats.rss_mb for _, stats in seen.looks])
    if memory is None:
        return [not_there("soak: growth of memory", 1.0, "%", "too few looks at the process")]
    series = [seen.looks[len(seen.looks) * tenth // 10][1].rss_mb for tenth in (1, 3, 5, 7, 9)]
    words = ", ".join(f"{rss_mb:.0f}" for rss_mb in (*series, seen.looks[-1][1].rss_mb))
    growth_percent, note = round(memory, 2), f"{words} MB after 1, 3, 5, 7, 9 and 10 tenths"
    files = seen.looks[-1][1].files - seen.looks[len(seen.looks) // 10][1].files
    return [
        at_most("soak: growth of memory", growth_percent, 1.0, "%", note)
        if seconds >= JUDGED_S
        else told("soak: growth of memory", growth_percent, "%", f"{note}; too short to judge"),
        at_most("soak: growth of open files", files, 0, "files"),
    ]


def _sensors(group: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Return the sensors of a group, or one that is drawn."""
    groups: dict[str, tuple[str, ...]] = {
        "all cameras": CAMERAS,
        "all radars": RADARS,
        "all sensors": (*CAMERAS, *RADARS),
    }
    if group in groups:
        return groups[group]
    if group == "three cameras":
        return tuple(str(name) for name in rng.choice(CAMERAS, 3, replace=False))
    if group == "TF":
        return ("TF",)
    drawn_of = {"camera": CAMERAS, "radar": RADARS, "any": (*CAMERAS, *RADARS)}[group]
    return (str(rng.choice(drawn_of)),)


def _is_near(stamp_ns: int, ordered: Sequence[int]) -> bool:
    place = bisect.bisect_left(ordered, stamp_ns - _NEAR_NS)
    return place < len(ordered) and ordered[place] <= stamp_ns + _NEAR_NS
