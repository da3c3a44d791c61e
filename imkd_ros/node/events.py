# SPDX-License-Identifier: Apache-2.0
"""Callback groups: QoS events that are looked at now and then; groups that forget what is gone.

rclpy's executor puts everything that it waits for together anew for each message, and the events
of twenty subscriptions cost it more than all of their messages. They are rare and nobody is in a
hurry for them: for most of a second the executor is told that they cannot be executed; the
middleware keeps them until they can.
"""

import time
import weakref
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks

#: In every period of so long there is a time of so long in which events are looked at. The node's
#: health timer, at 10 Hz, sees to it that the executor turns within it.
PERIOD_S, OPEN_S = 1.0, 0.15


class _ForgettingGroup(CallbackGroup):
    """Forgets what was destroyed; rclpy's groups keep a reference to each for ever, 0.1 KB."""

    def add_entity(self, entity: Any) -> None:
        """Remember a subscription, timer, service or event for as long as it lives."""
        self.entities.add(weakref.ref(entity, self.entities.discard))


class TidyGroup(_ForgettingGroup, MutuallyExclusiveCallbackGroup):
    """One callback at a time; what was destroyed is forgotten."""


class OccasionalGroup(_ForgettingGroup):
    """Callbacks that are executed in a short part of every period.

    Args:
        clock: seconds on a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock

    def can_execute(self, entity: Any) -> bool:
        """Return whether it is time."""
        del entity
        return self._clock() % PERIOD_S < OPEN_S

    def beginning_execution(self, entity: Any) -> bool:
        """Let what is ready be executed."""
        del entity
        return True

    def ending_execution(self, entity: Any) -> None:
        """Nothing is held."""


class SubscriptionEvents(SubscriptionEventCallbacks):
    """Events of a subscription, in a group of their own."""

    def __init__(self, group: CallbackGroup, **callbacks: Any) -> None:
        super().__init__(**callbacks)
        self._group = group

    def create_event_handlers(self, callback_group: CallbackGroup, *arguments: Any) -> Any:
        """Return handlers that belong to our group instead of the subscription's."""
        del callback_group
        return super().create_event_handlers(self._group, *arguments)


class PublisherEvents(PublisherEventCallbacks):
    """Events of a publisher, in a group of their own."""

    def __init__(self, group: CallbackGroup, **callbacks: Any) -> None:
        super().__init__(**callbacks)
        self._group = group

    def create_event_handlers(self, callback_group: CallbackGroup, *arguments: Any) -> Any:
        """Return handlers that belong to our group instead of the publisher's."""
        del callback_group
        return super().create_event_handlers(self._group, *arguments)
