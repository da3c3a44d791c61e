# SPDX-License-Identifier: Apache-2.0
"""Until when a publisher or a subscriber that does not fit the node's is there."""

from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible

#: How often the graph is looked at while there is something to forget, seconds.
_LOOK_S = 1.0

#: What was told of is not forgotten sooner: wrong types are told of every second. Seconds.
_HOLD_S = 3.0


class QosWatch:
    """Looks at the graph for those that were told of; it costs nothing while there are none.

    The middleware tells of one that comes and does not fit, and never that it went.

    Args:
        node: whose endpoints they have to fit.
        inputs: (name, topic, type) of what it listens to; other names are topics themselves.
    """

    def __init__(self, node: Node, inputs: Iterable[tuple[str, str, str]]) -> None:
        self._node = node
        self._topics: dict[str, list[str]] = {}
        for name, topic, _ in inputs:
            self._topics.setdefault(name, []).append(topic)
        self._told_s: dict[str, float] = {}
        self._looked_s = 0.0

    def note(self, name: str, now_s: float) -> None:
        """Somebody does not fit; of a sensor, or of a topic."""
        self._told_s[name] = now_s

    def gone(self, now_s: float) -> list[str]:
        """Return the names that all fits of again, each once; call it often.

        Args:
            now_s: time on the steady clock of `note`.
        """
        if now_s - self._looked_s < _LOOK_S or not self._told_s:
            return []
        self._looked_s = now_s
        old = [name for name, told_s in self._told_s.items() if now_s - told_s >= _HOLD_S]
        gone = [name for name in old if not self._has_misfit(name)]
        for name in gone:
            del self._told_s[name]
        return gone

    def _has_misfit(self, name: str) -> bool:
        return any(self._is_misfit(topic) for topic in self._topics.get(name, [name]))

    def _is_misfit(self, topic: str) -> bool:
        publishers = self._node.get_publishers_info_by_topic(topic)
        subscribers = self._node.get_subscriptions_info_by_topic(topic)
        return any(
            self._is_own(one) != self._is_own(other) and not _fit(one, other)
            for one in publishers
            for other in subscribers
        )

    def _is_own(self, endpoint: Any) -> bool:
        own = (self._node.get_name(), self._node.get_namespace())
        return (endpoint.node_name, endpoint.node_namespace) == own


def _fit(publisher: Any, subscriber: Any) -> bool:
    """Whether messages of one can reach the other."""
    if publisher.topic_type != subscriber.topic_type:
        return False
    found, _ = qos_check_compatible(publisher.qos_profile, subscriber.qos_profile)
    return bool(found != QoSCompatibility.ERROR)
