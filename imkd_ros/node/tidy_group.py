# SPDX-License-Identifier: Apache-2.0
"""A callback group that forgets what is gone."""

import weakref
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup


class TidyGroup(MutuallyExclusiveCallbackGroup):
    """One callback at a time. rclpy's groups keep a reference to all they ever had, 0.1 KB each."""

    def add_entity(self, entity: Any) -> None:
        """Remember a subscription, timer, service or event for as long as it lives."""
        self.entities.add(weakref.ref(entity, self.entities.discard))
