# SPDX-License-Identifier: Apache-2.0
"""The values of a frame's status on `~/output/status`, written and read. No ROS in here.

The node's module `status` puts them into messages; those are read by their fields.
"""

import re
from collections.abc import Collection
from typing import Any

from imkd_core.errors import SensorError
from imkd_core.health.degradation import FrameStatus, Level

#: Name of the one status in a message, behind the node's name.
STATUS = ": status"

_LEVEL, _OUTCOME, _USED, _MISSING, _AGE = "level", "outcome", "used", "missing", "age_ms/"


def status_values(status: FrameStatus) -> dict[str, str]:
    """Return the values that tell a frame's status to a program; `read_status` reads them.

    Returns:
        Level and outcome; names of the used sensors; "NAME: reason; ..." of the missing ones; and
        `age_ms/NAME` of each used one, in milliseconds with one decimal.
    """
    return {
        _LEVEL: status.level.value,
        _OUTCOME: status.outcome,
        _USED: ", ".join(status.used),
        _MISSING: "; ".join(f"{name}: {why}" for name, why in status.missing.items()),
        **{f"{_AGE}{name}": f"{age_ms:.1f}" for name, age_ms in status.age_ms.items()},
    }


def read_status(message: Any, sensors: Collection[str]) -> FrameStatus:
    """Return the status of a frame.

    Args:
        message: a `diagnostic_msgs/DiagnosticArray` of `~/output/status`.
        sensors: names of the sensor set.

    Raises:
        SensorError: it is no such message.
    """
    found = [item for item in message.status if str(item.name).endswith(STATUS)]
    if len(found) != 1:
        raise SensorError(f"output/status: {len(found)} statuses of a frame in one message, not 1")
    stamp = message.header.stamp  # 0 while a simulated clock has not begun
    values = {str(pair.key): str(pair.value) for pair in found[0].values}
    try:
        return FrameStatus(
            stamp_ns=int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec),
            level=Level(values[_LEVEL]),
            outcome=values[_OUTCOME],
            age_ms={
                key.removeprefix(_AGE): float(value)
                for key, value in values.items()
                if key.startswith(_AGE)
            },
            missing=_missing(values[_MISSING], sensors),
        )
    except (KeyError, ValueError) as error:
        raise SensorError(
            f"output/status: {error!r} is not what this version writes; record it with the same "
            "version that reads it"
        ) from None


def _missing(text: str, sensors: Collection[str]) -> dict[str, str]:
    """Return sensor -> reason of "NAME: reason; ..."; a reason may hold either sign."""
    names = "|".join(re.escape(name) for name in sensors)
    parts = re.split(rf"(?:^|; )({names}): ", text) if names else [text]
    return dict(zip(parts[1::2], parts[2::2], strict=True))
