# SPDX-License-Identifier: Apache-2.0
"""Which sensors frames go out without, why, and what to do. No ROS in here."""

from collections.abc import Mapping

from imkd_core.health.degradation import MISSING_CORRUPT
from imkd_core.runtime.slots import (
    DROP_LATE,
    DROP_OVERFLOW,
    DROP_SUPERSEDED,
    DROP_TOLERANCE,
    DROPPED,
    MISSING_LATE,
    MISSING_LOST,
    MISSING_NOT_DUE,
    MISSING_TOLERANCE,
)
from imkd_ros.bridge.tally import REFUSALS, Tally
from imkd_ros.node.lasting import Lasting
from imkd_ros.node.verdicts import Reason

#: A sensor that was in no frame for longer is told; one of a long period after two of those.
LEAST_NS = 500_000_000

#: Reasons whose remedy is where the message spends its time, or its clock. (What fits no frame
#: fills a queue.)
_UNTIMELY = frozenset(
    {
        MISSING_LATE,
        MISSING_TOLERANCE,
        MISSING_LOST,
        *(DROPPED + why for why in (DROP_LATE, DROP_TOLERANCE, DROP_OVERFLOW, DROP_SUPERSEDED)),
    }
)


class LeftOut:
    """Learns from the frames that go out which sensors they lack for long."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def note(self, missing: Mapping[str, str], now_ns: int) -> None:
        """Take note of one frame.

        Args:
            missing: sensor -> why it is not in the frame.
            now_ns: time now.
        """
        lacking = {name: why for name, why in missing.items() if why != MISSING_NOT_DUE}
        self._lasting.note(lacking, now_ns, undecided=missing)

    def found(self, tally: Tally, now_ns: int) -> dict[str, str]:
        """Return sensor -> why, of those that frames have lacked for long."""
        least_ns = {name: 2 * one.period_ns for name, one in tally.rhythms.items()}
        return self._lasting.found(now_ns, least_ns, LEAST_NS)

    def clear(self) -> None:
        """Forget all frames."""
        self._lasting.clear()


def left_out_reason(why: str, newest: tuple[int, int] | None) -> Reason:
    """Return what to tell of a sensor that frames lack.

    Args:
        why: as the frames have it.
        newest: (stamp, arrival) of its last reading, nanoseconds; None where there is none.
    """
    text = f"left out of the frames ({why}): {_remedy(why, newest)}"
    return Reason(kind="left out", text=text)


def _remedy(why: str, newest: tuple[int, int] | None) -> str:
    if why in _UNTIMELY:
        delay = "" if newest is None else _delay_text(*newest)
        return (
            f"{delay}look at its driver, the network and its clock (PTP, NTP), and raise "
            "sync.deadline_ms if this is usual of it"
        )
    if why == MISSING_CORRUPT:
        return "its images cannot be decoded; look at its driver and its link"
    refusal = REFUSALS.get(why.removeprefix(DROPPED))
    return refusal or "look at its rate, its stamps and the network"


def _delay_text(stamp_ns: int, arrival_ns: int) -> str:
    return f"its messages come {(arrival_ns - stamp_ns) * 1e-6:.0f} ms after their stamps; "
