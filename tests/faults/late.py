# SPDX-License-Identifier: Apache-2.0
"""A camera whose images come late by 50, 100, 200 and 400 ms: used, or left out by rule.

The real graph, cameras at 6 Hz; a frame goes out with what is there after 150 ms
(sync.deadline_ms). An image that comes within the deadline is used; one that comes later is named
as missing, and the frame is answered without it.
"""

from imkd_core.health.degradation import ANSWERED, REPLACED
from tests.faults.episodes import Episode, episodes, plan_of, yield_percent
from tests.faults.judge import NO_STATUS, crashes
from tests.faults.live import Run, play
from tests.faults.suite import Context, Figure, at_least, not_there, told

EVERY = 2
LASTS_S = 4.0

_CAMERA = "CAM_FRONT"

#: Milliseconds, and whether the image still belongs into its frame.
_DELAYS = {50: True, 100: True, 200: False, 400: False}

CASES = {f"camera {delay} ms late": ("late", (_CAMERA,), float(delay)) for delay in _DELAYS}


def run(context: Context) -> list[Figure]:
    """Play all, and look which frames have the camera."""
    found = episodes(CASES, LASTS_S)
    seen = play(context, "run", plan_of(found, EVERY))
    first = crashes("late", seen)
    if not seen.sent:
        return [first]
    return [first, *(figure for one in found for figure in judge(seen, one))]


def judge(seen: Run, episode: Episode) -> list[Figure]:
    """Return the figures of one delay."""
    name, fault = episode.name, episode.fault
    share = yield_percent(seen, episode)
    told_of = [t.stamp_ns for t in seen.statuses if t.outcome in (ANSWERED, REPLACED)]
    due = seen.due_between(fault.begin_s, fault.end_s)
    known = 100 * len(seen.with_one_of(due, told_of)) / max(len(due), 1)
    name_known = f"{name}: frames answered, or named as replaced"
    answered = at_least(name_known, round(known, 2), 99.0, "%", f"{share:g} % answered")
    is_used = _DELAYS[round(fault.amount)]
    begin_ns, end_ns = seen.stamp_ns(fault.begin_s + 1.0), seen.stamp_ns(fault.end_s)
    inside = [t for t in seen.statuses if begin_ns <= t.stamp_ns < end_ns]
    frames = [t for t in inside if t.outcome in (ANSWERED, REPLACED)]
    if not frames:
        what = "camera used" if is_used else "camera named as missing"
        return [answered, not_there(f"{name}: {what}", 95.0, "%", NO_STATUS)]
    missing = sum(_CAMERA in one.missing for one in frames)
    without = round(100 * missing / len(frames), 1)
    spans = f"of {len(frames)} frames, the fault's first second left out"
    if is_used:
        return [answered, at_least(f"{name}: camera used", 100 - without, 95.0, "%", spans)]
    reasons = {one.values.get("missing", "") for one in frames}
    return [
        answered,
        told(f"{name}: camera named as missing", without, "%", "; ".join(sorted(reasons)[:2])),
    ]
