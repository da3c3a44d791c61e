# SPDX-License-Identifier: Apache-2.0
"""What statuses are made of. No ROS in here; `diagnostics` makes messages of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Levels, as diagnostic_msgs has them.
OK, WARN, ERROR = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing that is not well.

    Attributes:
        kind: short code; stays the same while only numbers of the text change.
        text: what happened and what to do.
        level: `WARN` or `ERROR`.
    """

    kind: str
    text: str
    level: int = WARN


@dataclass(frozen=True, kw_only=True)
class Status:
    """One line of the diagnostics.

    Attributes:
        name: what it is about, without the node's name.
        level: `OK`, `WARN` or `ERROR`.
        message: one sentence; where the level is not OK it says what to do.
        values: numbers and details, as text.
        kind: codes of its reasons, in no order of time; the status is news where this changes, or
            its level does.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""


def joined(
    name: str, reasons: Sequence[Reason], otherwise: str, values: Mapping[str, str]
) -> Status:
    """Return one status of all reasons: the worst level, every text once.

    Args:
        name: of the status.
        reasons: that it has not to be OK, the most telling first.
        otherwise: its message where there is none.
        values: of the status.
    """
    return Status(
        name=name,
        level=max((one.level for one in reasons), default=OK),
        message="; ".join(dict.fromkeys(one.text for one in reasons)) or otherwise,
        values=values,
        kind=", ".join(sorted({one.kind for one in reasons})),
    )
