# SPDX-License-Identifier: Apache-2.0
"""A node that is killed, and one that hangs, under the keeper: how long until boxes flow again?

`python -m imkd_ros.keeper` with the model that ships, over the real DDS; sensors send at 10 Hz all
the time. SIGKILL ends the node at once; SIGSTOP leaves a process that says nothing, which only the
bond finds. Afterwards the keeper is ended as Ctrl-C would, and nothing may be left of either.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from imkd_core.errors import DataError
from tests.faults.middleware_nodes import (
    PATIENCE_S,
    Nodes,
    Peer,
    graph,
    parameter_arguments,
)
from tests.faults.suite import Context, Figure, at_least, at_most

#: Silence that the keeper takes for a hang; the goal is that and five seconds.
BOND_S, START_S = 4.0, 5.0

KILLS = 3

#: A node is well for so long before it is killed, seconds: one that dies at once waits longer.
WELL_S = 4.0


def run(context: Context) -> list[Figure]:
    """Kill it some times, let it hang once, end it."""
    with graph(context) as (nodes, peer):
        (_, parameters) = parameter_arguments(context, "kept", {})
        arguments = ("--params", parameters, "--bond", str(BOND_S))
        keeper = nodes.start_module("keeper", "imkd_ros.keeper", *arguments)
        peer.publish_transforms()
        heard = peer.listen_to_boxes()
        if not peer.feed(lambda: heard, 2 * PATIENCE_S):
            raise DataError(f"no boxes come from a node under the keeper:\n{nodes.log('keeper')}")
        killed = [_seconds_until_boxes(peer, keeper, signal.SIGKILL) for _ in range(KILLS)]
        hung_s = _seconds_until_boxes(peer, keeper, signal.SIGSTOP)
        left = _left_after_end(nodes, keeper)
    note = ", ".join(f"{seconds:.1f}" for seconds in killed)
    return [
        at_most("killed: until boxes flow, longest", round(max(killed), 2), START_S, "s", note),
        at_most("hung: until boxes flow", round(hung_s, 2), BOND_S + START_S, "s"),
        at_least("killed and hung: came back", KILLS + 1, KILLS + 1),
        at_most("keeper ended: processes left", left, 0),
    ]


def child_of(process_id: int) -> int | None:
    """Return the first child of a process; None without one."""
    path = Path(f"/proc/{process_id}/task/{process_id}/children")
    with contextlib.suppress(OSError):
        children = path.read_text(encoding="ascii").split()
        return int(children[0]) if children else None
    return None


def _seconds_until_boxes(peer: Peer, keeper: int, number: signal.Signals) -> float:
    """Signal the node; return how long it took until boxes came from another process.

    Raises:
        DataError: there is no node, or none comes back.
    """
    peer.feed(lambda: False, WELL_S)
    node = child_of(keeper)
    if node is None:
        raise DataError("the keeper has no node")
    heard = peer.listen_to_boxes()
    os.kill(node, number)
    begin_s = time.monotonic()
    if not peer.feed(lambda: child_of(keeper) not in (node, None), 2 * PATIENCE_S):
        raise DataError("the keeper starts no other node")
    heard.clear()
    if not peer.feed(lambda: heard, 2 * PATIENCE_S):
        raise DataError("no boxes come from the node that was started again")
    return time.monotonic() - begin_s


def _left_after_end(nodes: Nodes, keeper: int) -> int:
    """End the keeper as Ctrl-C would; return how many processes are left."""
    node = child_of(keeper)
    nodes.stop("keeper")
    return sum(Path(f"/proc/{one}").exists() for one in (keeper, node) if one is not None)
