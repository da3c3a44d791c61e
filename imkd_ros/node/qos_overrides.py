# SPDX-License-Identifier: Apache-2.0
"""Quality of service of single topics, set by the parameters that ROS 2 has for it.

    qos_overrides.<topic>.<subscription | publisher>.<policy>

The topic is its resolved name; policies are those of `POLICIES`. Only what is set becomes a
parameter. A wrong value is refused; one for a topic that the node does not have is told of, since
ROS itself reads some of that prefix.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from enum import Enum
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from imkd_core.errors import ConfigError

SUBSCRIPTION, PUBLISHER = "subscription", "publisher"

_PREFIX = "qos_overrides"

#: Topics that every node has, whose overrides are ROS's own business.
_OF_ROS = ("/clock", "/parameter_events", "/rosout")


def qos_of(node: Node, end: str, topic: str, default: QoSProfile) -> QoSProfile:
    """Return the quality of service of one end of a topic; `default` is not changed.

    Args:
        node: whose parameters are asked.
        end: `SUBSCRIPTION` or `PUBLISHER`.
        topic: as it is given to ROS, not yet resolved.
        default: what holds where nothing is set.

    Raises:
        ConfigError: a policy that is not known, or a value that it cannot have.
    """
    prefix = f"{_PREFIX}.{node.resolve_topic_name(topic)}.{end}"
    qos = copy(default)
    for policy, parameter in sorted(node.get_parameters_by_prefix(prefix).items()):
        name = f"{prefix}.{policy}"
        if policy not in POLICIES:
            known = ", ".join(POLICIES)
            raise ConfigError(f"parameter '{name}': there is no such policy; known: {known}")
        try:
            value = POLICIES[policy](parameter.value)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ConfigError(
                f"parameter '{name}' must be {_ALLOWED[policy]}, got {parameter.value!r}"
            ) from None
        setattr(qos, policy, value)
    return qos


def without_effect(node: Node, end: str, topics: Iterable[str]) -> list[str]:
    """Return a sentence for each override of a topic that does not have this end.

    Args:
        node: whose parameters are asked.
        end: `SUBSCRIPTION` or `PUBLISHER`.
        topics: that have it, not yet resolved.
    """
    known = [node.resolve_topic_name(topic) for topic in topics]
    found = []
    for name in sorted(node.get_parameters_by_prefix(_PREFIX)):
        topic, _, policy = name.rpartition(".")
        topic, _, of = topic.rpartition(".")
        if policy and of == end and topic not in (*known, *_OF_ROS):
            near = difflib.get_close_matches(topic, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"topics: {', '.join(sorted(known))}"
            found.append(
                f"parameter '{_PREFIX}.{name}' has no effect: the node has no {end} of it whose "
                f"quality of service can be set; {hint}"
            )
    return found


def _whole(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError
        return value

    return read


def _word(kind: type[Enum], words: tuple[str, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in words:
            raise ValueError
        return kind[value.upper()]

    return read


_RELIABILITY = ("reliable", "best_effort", "system_default")
_DURABILITY = ("volatile", "transient_local", "system_default")
_HISTORY = ("keep_last", "keep_all", "system_default")

#: Policy -> what makes its value of a parameter's.
POLICIES: Mapping[str, Callable[[Any], Any]] = {
    "reliability": _word(ReliabilityPolicy, _RELIABILITY),
    "durability": _word(DurabilityPolicy, _DURABILITY),
    "history": _word(HistoryPolicy, _HISTORY),
    "depth": _whole(1),
    "deadline": lambda value: Duration(nanoseconds=_whole(1)(value)),
}

_ALLOWED: Mapping[str, str] = {
    "reliability": " or ".join(map(repr, _RELIABILITY)),
    "durability": " or ".join(map(repr, _DURABILITY)),
    "history": " or ".join(map(repr, _HISTORY)),
    "depth": "a whole number of at least 1",
    "deadline": "a whole number of nanoseconds, at least 1",
}
