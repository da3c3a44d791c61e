# SPDX-License-Identifier: Apache-2.0
"""Plays a bag as `imkd_ros.player` does, with the faults of a plan; a process of its own."""

import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rclpy.utilities import remove_ros_args

from imkd_core.data.bags.recording import Bag, BagMessage
from imkd_ros.player import BagPlayer, PlayerOptions, make_parser, play
from tests.faults.injection import Injector, is_picture
from tests.faults.plan import Plan, played_topics, timeline


class FaultyPlayer(BagPlayer):
    """A player of a plan."""

    def __init__(self, plan: Plan, bag: Bag, options: PlayerOptions, stop: threading.Event) -> None:
        super().__init__(bag, replace(options, topics=played_topics(bag)), stop)
        self._plan = plan
        self._drive = bag

    def messages(self, topics: Sequence[str]) -> Iterable[BagMessage]:
        """Return the plan's messages with its faults."""
        injector = Injector(self._plan.faults, self._drive.start_ns, self._plan.seed)
        return injector.sent(timeline(self._drive, self._plan))

    def is_logged(self, message: BagMessage) -> bool:
        """Log images alone: an hour of everything would be a million lines."""
        return is_picture(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; return 0, or 2 after an error that the user can mend."""
    raw = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    parser.add_argument("--plan", type=Path, required=True, help="JSON of tests.faults.plan")
    chosen = parser.parse_args(remove_ros_args(["", *raw])[1:])
    plan = Plan.read(chosen.plan)
    del chosen.plan
    return play(raw, chosen, partial(FaultyPlayer, plan))


if __name__ == "__main__":
    sys.exit(main())
