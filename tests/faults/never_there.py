# SPDX-License-Identifier: Apache-2.0
"""A camera, then a radar, that never sends anything: the node runs without it and says so.

Two plays of the real graph from its start, cameras at 6 Hz. Of the sensor nothing is sent, not even
a CameraInfo. The first boxes must come within a second of the other sensors' first messages; from
then on every frame is answered, names the sensor as missing, and /diagnostics tells it.
"""

from collections import Counter

from imkd_core.health.degradation import ANSWERED
from tests.faults.episodes import Episode, told_of
from tests.faults.injection import Fault
from tests.faults.judge import NO_STATUS, crashes
from tests.faults.live import Run, play
from tests.faults.plan import Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there

EVERY = 2
SECONDS = 10.0

#: Goal of the first boxes; frames count from then on.
FIRST_S = 1.0

CASES = {"camera never there": "CAM_FRONT", "radar never there": "RADAR_FRONT"}


def run(context: Context) -> list[Figure]:
    """Play each from the start."""
    figures: list[Figure] = []
    for name, sensor in CASES.items():
        fault = Fault(kind="lost", sensors=(sensor,), begin_s=0.0, end_s=SECONDS + 1.0)
        plan = Plan(seconds=SECONDS, every=EVERY, faults=(fault,))
        figures += judge(play(context, sensor.lower(), plan), Episode(name=name, fault=fault))
    return figures


def judge(seen: Run, episode: Episode) -> list[Figure]:
    """Return the figures of one sensor."""
    name = episode.name
    first = crashes(name, seen)
    if not seen.sent:
        return [first]
    due = seen.due_between(FIRST_S, SECONDS - 0.5)
    got = seen.with_one_of(due, [stamp for stamp, _ in seen.answers])
    share = round(100 * len(got) / max(len(due), 1), 2)
    return [
        first,
        _first_boxes(seen, name),
        at_least(f"{name}: frames answered", share, 99.0, "%", f"from {FIRST_S:g} s on"),
        _named(seen, episode),
        _told(seen, episode),
    ]


def _first_boxes(seen: Run, name: str) -> Figure:
    what = f"{name}: first boxes after the others' first images"
    if not seen.answers:
        return not_there(what, FIRST_S, "s", "no boxes at all")
    begin_ns = min(one.sent_ns for one in seen.sent)
    spent_s = (min(arrived for _, arrived in seen.answers) - begin_ns) * 1e-9
    return at_most(what, round(spent_s, 3), FIRST_S, "s")


def _named(seen: Run, episode: Episode) -> Figure:
    """Return the share of frames whose status names the sensor as missing."""
    what = f"{episode.name}: frames that name it as missing"
    frames = [told for told in seen.statuses if told.outcome == ANSWERED]
    if not frames:
        return not_there(what, 100.0, "%", NO_STATUS)
    (sensor,) = episode.fault.sensors
    named = sum(sensor in told.missing for told in frames)
    share = round(100 * named / len(frames), 2)
    usual, _ = Counter(told.values.get("missing", "") for told in frames).most_common(1)[0]
    return at_least(what, share, 100.0, "%", usual)


def _told(seen: Run, episode: Episode) -> Figure:
    words = told_of(seen, episode, episode.fault.sensors[0])
    what = f"{episode.name}: told on /diagnostics"
    return at_least(what, len(words), 1, "", words[0].message if words else "")
