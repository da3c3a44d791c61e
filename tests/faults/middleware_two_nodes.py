# SPDX-License-Identifier: Apache-2.0
"""Two nodes in two namespaces with one sensor file: does either hear the other's sensors?

Its topics are relative, so that the namespaces part them; the transforms are common. Each side's
frames have stamps of their own (an even, and an odd number of nanoseconds), and each is fed alone,
then both at once. A parameter that is set on one must not change the other, and each of the names
that a node has in the graph and on /diagnostics must begin with its own namespace.
"""

import time

from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter

from tests.faults.middleware_nodes import NODE, Peer, graph
from tests.faults.suite import Context, Figure, at_least, at_most

SIDES = ("/left", "/right")

#: Each of the three parts is fed for so long, seconds.
SPAN_S = 4.0

#: Topics that nodes have in common, by ROS's rules.
COMMON = ("/diagnostics", "/parameter_events", "/rosout", "/tf", "/tf_static", "/clock")


def run(context: Context) -> list[Figure]:
    """Feed one, the other, both; look at what came from where."""
    with graph(context) as (nodes, peer):
        for side in SIDES:
            nodes.start(side.strip("/"), "-r", f"__ns:={side}")
        for side in SIDES:
            peer.bring_up(f"{side}/{NODE}")
        peer.publish_transforms()
        heard = {side: peer.listen_to_boxes(f"{side}/{NODE}") for side in SIDES}
        for fed in (SIDES[:1], SIDES[1:], SIDES):
            _feed(peer, fed)
        crossed = _crossed_parameter(peer) + len(_crossed_names(peer))
        strangers = _strange_statuses(peer)
    wrong = sum(
        stamp % 2 != number for number, side in enumerate(SIDES) for _, stamp in heard[side]
    )
    answered = min(len(answers) for answers in heard.values())
    note = ", ".join(f"{side} {len(answers)}" for side, answers in heard.items())
    return [
        at_most("two nodes: frames of the other answered", wrong, 0, note=f"answers: {note}"),
        at_least("two nodes: frames of its own that each answered", answered, 10),
        at_most("two nodes: topics, services and parameters in common", crossed, 0),
        at_most("two nodes: statuses without its namespace", strangers, 0),
    ]


def _feed(peer: Peer, sides: tuple[str, ...]) -> None:
    """Publish frames of some sides for a while; the stamp's last bit says of which side."""
    end_s = time.monotonic() + SPAN_S
    while time.monotonic() < end_s:
        begin_s = time.monotonic()
        for side in sides:
            stamp_ns = time.time_ns() // 2 * 2 + SIDES.index(side)
            peer.publish_frame(side, stamp_ns)
        peer.pause(max(0.1 - (time.monotonic() - begin_s), 0.01))
    peer.pause(1.0)


def _crossed_parameter(peer: Peer) -> int:
    """Set a parameter on the left; return whether the right has it too, as a number."""
    name, changed = "post.max_boxes", Parameter("post.max_boxes", value=7)
    request = SetParameters.Request(parameters=[changed.to_parameter_msg()])
    peer.call(SetParameters, f"{SIDES[0]}/{NODE}/set_parameters", request)
    values = [
        peer.call(
            GetParameters, f"{side}/{NODE}/get_parameters", GetParameters.Request(names=[name])
        )
        .values[0]
        .integer_value
        for side in SIDES
    ]
    return int(values[0] != 7 or values[1] == 7)


def _crossed_names(peer: Peer) -> list[str]:
    """Return names that a node publishes, hears or serves outside of its namespace."""
    found = []
    for side in SIDES:
        asked = (
            peer.node.get_publisher_names_and_types_by_node,
            peer.node.get_subscriber_names_and_types_by_node,
            peer.node.get_service_names_and_types_by_node,
        )
        names = {name for ask in asked for name, _ in ask(NODE, side)}
        found += [name for name in names if not name.startswith(f"{side}/") and name not in COMMON]
    return found


def _strange_statuses(peer: Peer) -> int:
    """Return how many statuses on /diagnostics are of neither node by its whole name."""
    owners = {f"{side}/{NODE}".lstrip("/") for side in SIDES}
    return sum(
        status.name.partition(": ")[0] not in owners
        for _, array in peer.diagnostics
        for status in array.status
    )
