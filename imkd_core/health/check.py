# SPDX-License-Identifier: Apache-2.0
"""One line of a doctor's table."""

from dataclasses import dataclass

#: Levels: as it should be; worth a look; must be mended.
GREEN, AMBER, RED = "ok", "note", "FAULT"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, how it stands, what was found, and what to do.

    Attributes:
        name: of what was looked at.
        level: `GREEN`, `AMBER` or `RED`.
        found: what is there.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    level: str
    found: str
    remedy: str = ""
