# SPDX-License-Identifier: Apache-2.0
"""Twice the rate of the cameras, 24 frames a second, and four times: more than two cores answer.

The real graph. The newest frame wins: what is answered is new, what is not is named as replaced.
The latency is from sending a frame's newest image to having its boxes in another process, in
periods of the cameras' own rate (12 Hz). A queue would let it grow by many periods; whether it
grows is told by the medians of the first and the last third.
"""

from statistics import median

from imkd_core.data.nuscenes.reader import CAMERAS
from imkd_core.health.degradation import ANSWERED, REPLACED
from tests.faults.judge import NO_STATUS, crashes, latencies
from tests.faults.live import Run, play
from tests.faults.plan import CAMERA_HZ, Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

#: What a run's figures begin with -> its rate. Some machines keep up with twice the rate.
RATES = {"overload": 2.0, "overload, four times the rate": 4.0}

#: The goal is for twice the rate.
GOAL_RATE, GOAL_PERIODS = 2.0, 2.0

#: Of play; on the clock on the wall, and what is left out at the begin, when everything starts.
SECONDS, WARM_UP_S = 25.0, 3.0

TOPICS = frozenset(f"/sensing/{name.lower()}/image/compressed" for name in CAMERAS)


def run(context: Context) -> list[Figure]:
    """Play, and judge."""
    figures = []
    for name, rate in RATES.items():
        seen = play(context, f"times-{rate:g}", Plan(seconds=SECONDS * rate), rate=rate)
        figures += [crashes(name, seen), *_judged(name, rate, seen)]
    return figures


def _judged(name: str, rate: float, seen: Run) -> list[Figure]:
    times = latencies(seen, TOPICS, WARM_UP_S * rate)
    if not times.samples_ms:
        return [
            not_there(
                f"{name}: latency p99", GOAL_PERIODS, "frame periods", "no frame was answered"
            )
        ]
    periods = round(times.p99_ms * CAMERA_HZ / 1000, 2)
    third = len(times.samples_ms) // 3
    early, late = median(times.samples_ms[: third + 1]), median(times.samples_ms[-third - 1 :])
    growth = round((late - early) * CAMERA_HZ / 1000, 2)
    rate_hz = round(len(times.samples_ms) / (SECONDS - WARM_UP_S), 2)
    note = f"{times.p99_ms:.0f} ms; p50 {times.p50_ms:.0f} ms"
    thirds = f"from {early:.0f} to {late:.0f} ms"
    return [
        at_most(f"{name}: latency p99", periods, GOAL_PERIODS, "frame periods", note)
        if rate == GOAL_RATE
        else told(f"{name}: latency p99", periods, "frame periods", note),
        at_most(
            f"{name}: growth of the median latency, last third against first",
            growth,
            0.5,
            "frame periods",
            thirds,
        ),
        told(f"{name}: frames answered", rate_hz, "1/s", f"of {CAMERA_HZ * rate:g} offered"),
        _explained(name, rate, seen),
    ]


def _explained(name: str, rate: float, seen: Run) -> Figure:
    """Return the share of frames that were answered, or named as replaced."""
    name = f"{name}: frames answered or named as replaced"
    if not seen.statuses:
        return not_there(name, 99.0, "%", NO_STATUS)
    due = seen.due_between(WARM_UP_S * rate, SECONDS * rate - 1.0)
    known = [t.stamp_ns for t in seen.statuses if t.outcome in (ANSWERED, REPLACED)]
    got = seen.with_one_of(due, [*known, *(stamp for stamp, _ in seen.answers)])
    return at_least(name, round(100 * len(got) / max(len(due), 1), 2), 99.0, "%")
