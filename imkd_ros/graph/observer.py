# SPDX-License-Identifier: Apache-2.0
"""What somebody who measures a graph is told while it runs. No ROS in here."""

from collections.abc import Mapping
from types import MappingProxyType


class GraphObserver:
    """Is called by the supervisor in its own thread; override what is of interest.

    All times are of the steady clock (`time.monotonic`), which all processes of a machine share.

    Attributes:
        topics: full name -> type of the topics whose messages it wants, beside the boxes.
    """

    topics: Mapping[str, str] = MappingProxyType({})

    def on_active(self, seconds: float) -> None:
        """The node is active; it took so long from the request to configure it."""

    def on_poll(self, process_ids: Mapping[str, int]) -> None:
        """Some time has passed, at most a twentieth of a second; name -> process id."""

    def on_answer(self, stamp_ns: int, arrived_ns: int) -> None:
        """The boxes of a frame have arrived in this process.

        Args:
            stamp_ns: of the frame, in the time of the bag.
            arrived_ns: on the steady clock.
        """

    def on_message(self, topic: str, cdr: bytes, arrived_ns: int) -> None:
        """A message of one of `topics` has arrived in this process.

        Args:
            topic: full name.
            cdr: the serialised message, with its 4-byte CDR header.
            arrived_ns: on the steady clock.
        """
