# SPDX-License-Identifier: Apache-2.0
"""A thousand times configure, activate, deactivate and cleanup of one node: does anything stay?

The node as a process of its own, with the model that ships, asked through its services. In every
tenth cycle sensors send and the first boxes are waited for, so that the threads, the decoders and
the network have worked. Every twentieth cycle begins with a configure that is refused, of a model
that is not there: what a refusal opened must be closed as well. Memory is looked at when the node
is unconfigured: the median of ten cycles after a warm-up, against that of the last ten.
"""

import statistics
import time

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from benchmarks.process_stats import ProcessStats
from imkd_core.errors import DataError
from tests.faults.middleware_nodes import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    NODE,
    Peer,
    graph,
)
from tests.faults.suite import Context, Figure, at_least, at_most, told

CYCLES, WARM_UP, SPAN = 1000, 50, 10

#: Every so many cycles sensors send.
FED_EVERY = 10

#: Every so many cycles begin with a configure that is refused.
REFUSED_EVERY = 20

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
        refused = 0
        for number in range(cycles):
            if number % REFUSED_EVERY == REFUSED_EVERY - 1:
                refused += _is_refused(peer, context)
            seconds.append(_cycle(peer, heard, is_fed=number % FED_EVERY == FED_EVERY - 1))
            looks.append(nodes.stats("node"))
    tried = cycles // REFUSED_EVERY
    return [
        *_judged(looks, seconds, warm_up),
        at_least("transitions: configures of a missing model that were refused", refused, tried),
    ]


def _is_refused(peer: Peer, context: Context) -> bool:
    """Ask to configure with a bundle that is not there; return whether that was refused.

    Afterwards the parameter is right again, and the node unconfigured.

    Raises:
        DataError: the node does not take the parameter.
    """
    _set_bundle(peer, str(context.folder / "no_such_bundle"))
    was_made = peer.change(CONFIGURE)
    if was_made:
        peer.change(CLEANUP)
    _set_bundle(peer, str(context.bundle))
    return not was_made


def _set_bundle(peer: Peer, path: str) -> None:
    request = SetParameters.Request()
    request.parameters = [Parameter("model.bundle", value=path).to_parameter_msg()]
    (answer,) = peer.call(SetParameters, f"/{NODE}/set_parameters", request).results
    if not answer.successful:
        raise DataError(f"model.bundle cannot be set between two cycles: {answer.reason}")


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
