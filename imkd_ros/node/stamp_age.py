# SPDX-License-Identifier: Apache-2.0
"""How old stamps are when they arrive: whether a sensor's clock is the node's. No ROS in here."""

from collections.abc import Collection, Mapping

from imkd_ros.node.lasting import Lasting
from imkd_ros.node.verdicts import Reason

#: Stamps older than this when they arrive are of another clock, or of a sensor that hangs.
STALE_NS = 1_000_000_000

#: So long they must be; a message that a busy machine held up is no clock.
_LEAST_NS = 500_000_000


class StampAges:
    """Knows the sensors whose stamps are old for long."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def stale(
        self, newest: Mapping[str, tuple[int, int]], lost: Collection[str], now_ns: int
    ) -> dict[str, Reason]:
        """Return sensor -> what to tell of its clock, of those that send with old stamps.

        Args:
            newest: sensor -> (stamp, arrival) of the last reading, nanoseconds.
            lost: sensors that do not send now.
            now_ns: time now.
        """
        texts = {
            name: stale_text(arrival_ns - stamp_ns)
            for name, (stamp_ns, arrival_ns) in newest.items()
            if arrival_ns - stamp_ns > STALE_NS and name not in lost
        }
        self._lasting.note(texts, now_ns)
        found = self._lasting.found(now_ns, {}, _LEAST_NS)
        return {name: Reason(kind="clock", text=text) for name, text in found.items()}


def stale_text(age_ns: int) -> str:
    """Say that stamps of this age are of another clock, and what to do."""
    return (
        f"stale clock: its stamps are {age_ns * 1e-9:.1f} s old when they arrive; synchronise the "
        "clocks (PTP, NTP; mind the leap seconds between TAI and UTC), or set use_sim_time when a "
        "bag plays"
    )
