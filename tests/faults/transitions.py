# SPDX-License-Identifier: Apache-2.0
"""A thousand times configure, activate, deactivate and cleanup of one node: does anything stay?

The node as a process of its own, with the model that ships, asked through its services. In every
tenth cycle sensors send and the first boxes are waited for, so that the threads, the decoders and
the network have worked. Memory is looked at when the node is unconfigured: the median of ten
cycles after a warm-up, against that of the last ten.
"""

import statistics
import time

from benchmarks.process_stats import ProcessStats
from imkd_core.errors import DataError
from tests.faults.middleware_nodes import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    Peer,
    graph,
)
from tests.faults.suite import Context, Figure, at_least, at_most, told

CYCLES, WARM_UP, SPAN = 1000, 50, 10

#: Every so many cycles sensors send.
FED_EVERY = 10

#: A cycle takes about so long, for `--seconds`.
_CYCLE_S = 0.5


def run(context: Context) -> list[Figure]:
    """Cycle, and judge what stayed."""
    cycles, warm_up = CYCLES, WARM_UP
    if context.is_short:
        cycles = max(3 * SPAN, int(context.seconds / _CYCLE_S))
        warm_up = min(WARM_UP, cycles // 3)
    with graph(context) as (nodes, peer):
        nodes.start("node")
        peer.publish_transforms()
        heard = peer.listen_to_boxes()
        looks: list[ProcessStats] = []
        seconds: list[float] = []
        for number in range(cycles):
            seconds.append(_cycle(peer, heard, is_fed=number % FED_EVERY == FED_EVERY - 1))
            looks.append(nodes.stats("node"))
    return _judged(looks, seconds, warm_up)


def _cycle(peer: Peer, heard: list[tuple[float, int]], *, is_fed: bool) -> float:
    """Go round once; return the seconds that the four transitions took.

    Raises:
        DataError: a transition was refused, or no boxes came.
    """
    took_s = 0.0
    for transition in (CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP):
        if is_fed and transition == DEACTIVATE:
            heard.clear()
            if not peer.feed(lambda: heard):
                raise DataError("sensors send, and no boxes come")
        begin_s = time.monotonic()
        if not peer.change(transition):
            raise DataError(f"transition {transition} was refused")
        took_s += time.monotonic() - begin_s
    return took_s


def _judged(looks: list[ProcessStats], seconds: list[float], warm_up: int) -> list[Figure]:
    first, last = looks[warm_up : warm_up + SPAN], looks[-SPAN:]
    before_mb = statistics.median(look.rss_mb for look in first)
    after_mb = statistics.median(look.rss_mb for look in last)
    growth = round(100 * (after_mb / before_mb - 1), 2)
    middle = looks[len(looks) // 2 : len(looks) // 2 + SPAN]
    middle_mb = statistics.median(look.rss_mb for look in middle)
    late = round(100 * (after_mb / middle_mb - 1), 2)
    files = max(look.files for look in last) - max(look.files for look in first)
    threads = max(look.threads for look in last) - max(look.threads for look in first)
    span = f"from cycle {warm_up} to {len(looks)}"
    return [
        at_least(
            "transitions: cycles made",
            len(looks),
            CYCLES,
            note=f"each {FED_EVERY}th answers frames",
        ),
        at_most(
            "transitions: RSS growth", growth, 2.0, "%", f"{before_mb:.1f} to {after_mb:.1f} MB"
        ),
        told(
            "transitions: RSS growth in the second half",
            late,
            "%",
            f"{middle_mb:.1f} to {after_mb:.1f} MB: whether it goes on",
        ),
        at_most("transitions: file descriptors more", files, 0, note=span),
        at_most("transitions: threads more", threads, 0, note=span),
        told("transitions: one cycle, median", round(statistics.median(seconds), 3), "s"),
    ]
