# SPDX-License-Identifier: Apache-2.0
"""Stamps that lie: of the future, the past, 0, year 2106, broken; out of order; twice.

The real graph, cameras at 6 Hz; a camera and a radar lie together. The node must answer every frame
with the other sensors, count what it drops, and answer no frame that never was.
"""

from tests.faults.episodes import (
    Episode,
    dropped,
    episodes,
    plan_of,
    sent_in,
    stray_answers,
    told_of,
    yield_percent,
)
from tests.faults.judge import crashes
from tests.faults.live import Run, play
from tests.faults.suite import Context, Figure, at_least, at_most, told

EVERY = 2
LASTS_S = 4.0

LIARS = ("CAM_FRONT", "RADAR_FRONT")
_TOPIC = "/sensing/cam_front/image/compressed"

#: The last second that 32 bits without sign can tell: in 2106.
_YEAR_2106_S = 4294967295.0

CASES = {
    "stamps 1 s ahead": ("stamp_shift", LIARS, 1.0),
    "stamps 1 s behind": ("stamp_shift", LIARS, -1.0),
    "stamps of 0": ("stamp_set", LIARS, 0.0),
    "stamps of the year 2106": ("stamp_set", LIARS, _YEAR_2106_S),
    "nanoseconds beyond a second": ("stamp_broken", LIARS, 0.0),
    "every second image late by 250 ms": ("out_of_order", LIARS[:1], 250.0),
    "every image twice": ("duplicate", LIARS[:1], 0.0),
}

#: Cases whose images are all bad.
_ALL_BAD = tuple(name for name in CASES if name.startswith(("stamps", "nanoseconds")))


def run(context: Context) -> list[Figure]:
    """Play all, and count."""
    found = episodes(CASES, LASTS_S)
    seen = play(context, "run", plan_of(found, EVERY))
    first = crashes("stamps", seen)
    if not seen.sent:
        return [first]
    return [
        first,
        at_most("stamps: answers to frames that never were", stray_answers(seen), 0),
        *(figure for one in found for figure in judge(seen, one)),
    ]


def judge(seen: Run, episode: Episode) -> list[Figure]:
    """Return the figures of one case."""
    name, camera = episode.name, LIARS[0]
    counts = dropped(seen, episode, camera)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    answered = at_least(
        f"{name}: frames answered", yield_percent(seen, episode), 99.0, "%", f"dropped: {reasons}"
    )
    share = round(100 * sum(counts.values()) / max(sent_in(seen, episode, _TOPIC), 1), 1)
    if name not in _ALL_BAD:
        return [answered, told(f"{name}: counted as dropped", share, "%", reasons)]
    counted = at_least(f"{name}: counted as dropped", share, 90.0, "%", reasons)
    words = told_of(seen, episode, camera)
    warned = at_least(
        f"{name}: told on /diagnostics", len(words), 1, "", words[-1].message if words else ""
    )
    return [answered, counted, warned]
