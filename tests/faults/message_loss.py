# SPDX-License-Identifier: Apache-2.0
"""One camera whose messages are lost in part: 50 %, then 90 %, at random. Nothing may stall.

The real graph, cameras at 6 Hz. The yield is the share of reference frames (one turn of the
cameras) that were answered.
"""

from tests.faults.episodes import episodes, plan_of, yield_percent
from tests.faults.judge import crashes
from tests.faults.live import play
from tests.faults.suite import Context, Figure, at_least

EVERY = 2
LASTS_S = 10.0

CASES = {
    "50 % of a camera's images lost": ("loss", ("CAM_FRONT",), 0.5),
    "90 % of a camera's images lost": ("loss", ("CAM_FRONT",), 0.9),
}


def run(context: Context) -> list[Figure]:
    """Play both, and count."""
    found = episodes(CASES, LASTS_S)
    seen = play(context, "run", plan_of(found, EVERY))
    first = crashes("message loss", seen)
    if not seen.sent:
        return [first]
    note = f"cameras at {12 / EVERY:g} Hz, {LASTS_S:g} s"
    return [
        first,
        *(
            at_least(f"{one.name}: frames answered", yield_percent(seen, one), 99.0, "%", note)
            for one in found
        ),
    ]
