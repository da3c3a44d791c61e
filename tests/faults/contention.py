# SPDX-License-Identifier: Apache-2.0
"""Others want the processor too: as many busy processes as cores run beside the node for a while.

The real graph, cameras at 6 Hz. Newer frames may replace older ones, and the status must say so;
/diagnostics must tell that it is late, and all must be well again afterwards.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

from imkd_core.data.nuscenes.reader import CAMERAS
from tests.faults.judge import NO_STATUS, crashes, latencies
from tests.faults.live import Run, play
from tests.faults.plan import Plan
from tests.faults.suite import Context, Figure, at_least, not_there, told

EVERY = 2

#: The load begins and ends so long after the node is asked for; length of the play. Seconds.
BUSY_S, SECONDS = 12.0, 26.0

#: Processes that only count.
BURNERS = 4

TOPICS = frozenset(f"/sensing/{name.lower()}/image/compressed" for name in CAMERAS)


def run(context: Context) -> list[Figure]:
    """Play, with the load in the middle."""
    with load(BURNERS, begin_s=10.0, lasts_s=BUSY_S):
        seen = play(context, "run", Plan(seconds=SECONDS, every=EVERY))
    first = crashes("contention", seen)
    times = latencies(seen, TOPICS)
    if not times.samples_ms:
        return [first]
    late = [t for t in seen.diagnostics if t.level and t.name.endswith(": latency")]
    return [
        first,
        told("contention: latency p99", round(times.p99_ms, 1), "ms", f"{BURNERS} busy processes"),
        told("contention: told to be late", len(late), "", late[0].message if late else "never"),
        _explained(seen),
    ]


def _explained(seen: Run) -> Figure:
    name = "contention: frames answered or with a status"
    if not seen.statuses:
        return not_there(name, 99.0, "%", NO_STATUS)
    due = seen.due_between(2.0, SECONDS - 1.0)
    got = seen.with_one_of(due, [t.stamp_ns for t in seen.statuses if t.outcome])
    return at_least(name, round(100 * len(got) / max(len(due), 1), 2), 99.0, "%")


@contextmanager
def load(processes: int, begin_s: float, lasts_s: float) -> Iterator[None]:
    """Keep cores busy for a while from some time on; nothing is left at the end."""
    context = multiprocessing.get_context("spawn")
    made = [
        context.Process(target=_burn, args=(begin_s, lasts_s), daemon=True)
        for _ in range(processes)
    ]
    for one in made:
        one.start()
    try:
        yield
    finally:
        for one in made:
            one.terminate()
            one.join()


def _burn(begin_s: float, lasts_s: float) -> None:
    time.sleep(begin_s)
    end_s = time.monotonic() + lasts_s
    while time.monotonic() < end_s:
        pass
