# SPDX-License-Identifier: Apache-2.0
"""A camera late by 50, 100, 200 and 400 ms, a radar by 400 ms: used, or left out by rule.

The real graph, cameras at 6 Hz; a frame goes out with what is there after 150 ms
(sync.deadline_ms). An image that comes within the deadline is used; one that comes later is named
as missing, and the frame is answered without it. /diagnostics tells a sensor that is left out.
"""

from imkd_core.health.degradation import ANSWERED, REPLACED
from tests.faults.episodes import Episode, episodes, plan_of, told_of, yield_percent
from tests.faults.judge import NO_STATUS, crashes
from tests.faults.live import Run, play
from tests.faults.suite import Context, Figure, at_least, not_there, told

EVERY = 2
LASTS_S = 4.0

_CAMERA, _RADAR = "CAM_FRONT", "RADAR_FRONT"

#: Milliseconds that a reading may be late and still belongs into its frame.
_DEADLINE_MS = 150.0

CASES = {
    **{f"camera {ms} ms late": ("late", (_CAMERA,), float(ms)) for ms in (50, 100, 200, 400)},
    "radar 400 ms late": ("late", (_RADAR,), 400.0),
}


def run(context: Context) -> list[Figure]:
    """Play all, and look which frames have the sensor."""
    found = episodes(CASES, LASTS_S)
    seen = play(context, "run", plan_of(found, EVERY))
    first = crashes("late", seen)
    if not seen.sent:
        return [first]
    return [first, *(figure for one in found for figure in judge(seen, one))]


def judge(seen: Run, episode: Episode) -> list[Figure]:
    """Return the figures of one delay."""
    name, fault = episode.name, episode.fault
    kind, sensor = name.partition(" ")[0], fault.sensors[0]
    share = yield_percent(seen, episode)
    stamps = [t.stamp_ns for t in seen.statuses if t.outcome in (ANSWERED, REPLACED)]
    due = seen.due_between(fault.begin_s, fault.end_s)
    known = 100 * len(seen.with_one_of(due, stamps)) / max(len(due), 1)
    name_known = f"{name}: frames answered, or named as replaced"
    answered = at_least(name_known, round(known, 2), 99.0, "%", f"{share:g} % answered")
    is_used = fault.amount <= _DEADLINE_MS
    begin_ns, end_ns = seen.stamp_ns(fault.begin_s + 1.0), seen.stamp_ns(fault.end_s)
    inside = [t for t in seen.statuses if begin_ns <= t.stamp_ns < end_ns]
    frames = [t for t in inside if t.outcome in (ANSWERED, REPLACED)]
    if not frames:
        what = f"{kind} used" if is_used else f"{kind} named as missing"
        return [answered, not_there(f"{name}: {what}", 95.0, "%", NO_STATUS)]
    missing = sum(sensor in one.missing for one in frames)
    without = round(100 * missing / len(frames), 1)
    spans = f"of {len(frames)} frames, the fault's first second left out"
    if is_used:
        return [answered, at_least(f"{name}: {kind} used", 100 - without, 95.0, "%", spans)]
    reasons = {one.values.get("missing", "") for one in frames}
    return [
        answered,
        told(f"{name}: {kind} named as missing", without, "%", "; ".join(sorted(reasons)[:2])),
        told_on_diagnostics(seen, episode),
    ]


def told_on_diagnostics(seen: Run, episode: Episode) -> Figure:
    """Return how often /diagnostics told a sensor as not well while it was late.

    Its first second is left out: a sensor that becomes late is silent at first.
    """
    fault = episode.fault
    begin_ns, end_ns = seen.steady_ns(fault.begin_s + 1.0), seen.steady_ns(fault.end_s)
    words = told_of(seen, episode, fault.sensors[0])
    inside = [one for one in words if begin_ns <= one.arrived_ns <= end_ns]
    note = inside[0].message if inside else "it is left out of the frames, and nobody is told"
    return at_least(f"{episode.name}: told on /diagnostics", len(inside), 1, "", note)
