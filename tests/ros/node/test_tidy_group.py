# SPDX-License-Identifier: Apache-2.0
"""A group of callbacks holds no memory of what was destroyed."""

import pytest

pytest.importorskip("rclpy")

from imkd_ros.node.tidy_group import TidyGroup

pytestmark = pytest.mark.ros


def test_a_group_knows_what_lives_and_forgets_what_is_gone():
    class Entity:
        pass

    group, kept = TidyGroup(), Entity()
    group.add_entity(kept)
    for _ in range(100):
        group.add_entity(Entity())
    assert group.has_entity(kept)
    assert len(group.entities) == 1
