# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the table, wrong in every way, at run time and at the start of the real node.

At run time a wrong value must be refused with the parameter's name and what is allowed; a value
that configure has read must be refused with what to do. At the start, a node that is given wrong
values and unknown names must stay up, refuse to configure, and name each of them in its log.
"""

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from imkd_ros.bridge.parameter_table import SPECS, ParameterSpec
from tests.faults.middleware_nodes import CONFIGURE, NODE, Nodes, Peer, graph
from tests.faults.suite import Context, Figure, at_least, told

#: A word that no choice has, and a number that no range has.
WORD, FAR = "no_such_thing", 1e9

#: Of the kinds below, the one that is tried at the start as well.
_AT_START = "range"


def wrong_values(spec: ParameterSpec) -> dict[str, Any]:
    """Return wrong values of a parameter: what is wrong -> value."""
    found: dict[str, Any] = {"type": 3.5 if isinstance(spec.default, str | bool) else WORD}
    if spec.choices:
        found["range"] = WORD
    elif spec.low is not None:
        number = type(spec.default)
        found |= {"range": number(FAR), "below": number(-FAR)}
        if number is float:
            found["not a number"] = float("nan")
    return found


def right_value(spec: ParameterSpec) -> Any:
    """Return a value that is allowed and another than the default, where there is one."""
    if isinstance(spec.default, bool):
        return not spec.default
    if spec.choices:
        return spec.choices[-1]
    return spec.default if spec.low is None else type(spec.default)(spec.high)


def run(context: Context) -> list[Figure]:
    """Try all of them on a node that is configured, then start nodes with wrong ones."""
    with graph(context) as (nodes, peer):
        nodes.start("node")
        peer.bring_up()
        refused, tried, poor = _at_run_time(peer)
        fixed = _fixed(peer)
        unknown = _is_refused(peer, "model.thread", 2, ("model.thread", "model.threads"))
        nodes.stop("node")
        named, given = _at_start(nodes, peer)
    covered = len({name for name, _ in tried})
    not_fixed = sum(not spec.is_live for spec in SPECS.values())
    return [
        at_least(
            "parameters: wrong values refused with name and range",
            round(100 * refused / len(tried), 2),
            100.0,
            "%",
            f"{len(tried)} values; not: {', '.join(poor)}" if poor else f"{len(tried)} values",
        ),
        at_least("parameters: of the table that were tried", covered, len(SPECS)),
        at_least("parameters: read-only ones refused with the reason", fixed, not_fixed),
        at_least("parameters: an unknown name refused with a guess", int(unknown), 1),
        at_least("parameters: wrong at the start, named when configure is refused", named, given),
        told("parameters: in the table", len(SPECS)),
    ]


def _at_run_time(peer: Peer) -> tuple[int, list[tuple[str, str]], list[str]]:
    """Return how many were refused well, what was tried, and what was not refused well."""
    tried, poor = [], []
    for spec in SPECS.values():
        for kind, value in wrong_values(spec).items():
            tried.append((spec.name, kind))
            if not _is_refused(peer, spec.name, value, (spec.name, *_allowed(spec))):
                poor.append(f"{spec.name} ({kind})")
    return len(tried) - len(poor), tried, poor


def _allowed(spec: ParameterSpec) -> tuple[str, ...]:
    """Return words that a refusal must have: the whole range, or the choices."""
    return () if spec.low is None and not spec.choices else (spec.allowed,)


def _fixed(peer: Peer) -> int:
    """Return how many parameters that configure reads are refused with what to do."""
    return sum(
        _is_refused(peer, spec.name, right_value(spec), (spec.name, "clean up"))
        for spec in SPECS.values()
        if not spec.is_live
    )


def _is_refused(peer: Peer, name: str, value: Any, words: tuple[str, ...]) -> bool:
    """Whether a value is refused with words in the reason."""
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    result = peer.call(SetParameters, f"/{NODE}/set_parameters", request).results[0]
    return not result.successful and all(word in result.reason for word in words)


def _at_start(nodes: Nodes, peer: Peer) -> tuple[int, int]:
    """Start a node with everything wrong; return how many it named, and how many were given."""
    wrong: Mapping[str, Any] = {
        spec.name: values[_AT_START]
        for spec in SPECS.values()
        if _AT_START in (values := wrong_values(spec))
    }
    given = {**wrong, "model.thread": 2, "no.such.parameter": 1}
    nodes.start("wrong", "-r", "__ns:=/wrong", **given)
    if peer.change(CONFIGURE, f"/wrong/{NODE}"):
        return 0, len(given)
    log = nodes.log("wrong")
    return sum(f"'{name}'" in log for name in given), len(given)
