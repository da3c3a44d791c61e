# SPDX-License-Identifier: Apache-2.0
"""Twice the rate of the cameras: 24 frames a second, more than twice what two cores can answer.

The real graph. The newest frame wins: what is answered is new, what is not is named as replaced.
The latency is from sending a frame's newest image to having its boxes in another process, in
periods of the cameras' own rate (12 Hz).
"""

from imkd_core.data.nuscenes.reader import CAMERAS
from imkd_core.health.degradation import ANSWERED, REPLACED
from tests.faults.judge import NO_STATUS, crashes, latencies
from tests.faults.live import Run, play
from tests.faults.plan import CAMERA_HZ, Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

RATE = 2.0

#: Of the drive; half of it on the clock on the wall.
SECONDS = 50.0

#: Left out at the begin, when everything starts.
WARM_UP_S = 6.0

TOPICS = frozenset(f"/sensing/{name.lower()}/image/compressed" for name in CAMERAS)


def run(context: Context) -> list[Figure]:
    """Play, and judge."""
    seen = play(context, "run", Plan(seconds=SECONDS), rate=RATE)
    first = crashes("overload", seen)
    times = latencies(seen, TOPICS, WARM_UP_S)
    if not times.samples_ms:
        return [first]
    periods = round(times.p99_ms * CAMERA_HZ / 1000, 2)
    third = len(times.samples_ms) // 3
    early, late = sorted(times.samples_ms[:third]), sorted(times.samples_ms[-third:])
    growth = round(late[third // 2] / max(early[third // 2], 1e-3), 2)
    wall_s = (SECONDS - WARM_UP_S) / RATE
    rate_hz = round(len(times.samples_ms) / wall_s, 2)
    note = f"{times.p99_ms:.0f} ms; p50 {times.p50_ms:.0f} ms"
    return [
        first,
        at_most("overload: latency p99", periods, 2.0, "frame periods", note),
        at_most("overload: median latency, last third against first", growth, 1.2, "times"),
        told("overload: frames answered", rate_hz, "1/s", f"of {CAMERA_HZ * RATE:g} offered"),
        _explained(seen),
    ]


def _explained(seen: Run) -> Figure:
    """Return the share of frames that were answered, or named as replaced."""
    name = "overload: frames answered or named as replaced"
    if not seen.statuses:
        return not_there(name, 99.0, "%", NO_STATUS)
    due = seen.due_between(WARM_UP_S, SECONDS - 1.0)
    known = [t.stamp_ns for t in seen.statuses if t.outcome in (ANSWERED, REPLACED)]
    got = seen.with_one_of(due, [*known, *(stamp for stamp, _ in seen.answers)])
    return at_least(name, round(100 * len(got) / max(len(due), 1), 2), 99.0, "%")
