# SPDX-License-Identifier: Apache-2.0
"""What statuses are made of. No ROS in here; `diagnostics` makes messages of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Levels, as diagnostic_msgs has them.
OK, WARN, ERROR = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Status:
    """One line of the diagnostics.

    Attributes:
        name: what it is about, without the node's name.
        level: `OK`, `WARN` or `ERROR`.
        message: one sentence; where the level is not OK it says what to do.
        values: numbers and details, as text.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
