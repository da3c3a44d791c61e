# SPDX-License-Identifier: Apache-2.0
"""Keeps a detector node alive: starts it, brings it to active, and starts it again when it dies.

    python -m imkd_ros.keeper --sensors my_sensors.yaml --params my.param.yaml --namespace /front

For vehicles; `detector.launch.py respawn:=true` starts it. The node is a process of its own. It is
started again when it ends, whatever ended it, and killed and started again when it is active and
has said nothing on /diagnostics for a while (the bond). A configure may take as long as it takes,
as one that builds an engine does. One that is refused at first ends the keeper with 1: the node's
log says why. Ctrl-C or SIGTERM end both.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from imkd_core.errors import ImkdError
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.graph.bag_topics import positive, stop_on_signals
from imkd_ros.graph.client import ACTIVATE, CONFIGURE
from imkd_ros.graph.dds_profile import choose_profile
from imkd_ros.graph.environment import remove_dead_segments
from imkd_ros.graph.options import GraphOptions, detector_arguments
from imkd_ros.graph.processes import Processes
from imkd_ros.graph.transitions import ASK_S, Outcome, PatientClient

DETECTOR = "detector"

#: What a lifecycle node is asked for, by the state that it is in.
NEXT = {"unconfigured": CONFIGURE, "inactive": ACTIVATE}

#: Between the end of a process and the start of the next: at first, and at most, seconds.
PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0

#: A node that was active for so long has recovered: the next pause is the first one again.
RECOVERED_S = 3.0


class RefusedError(ImkdError):
    """The node refused to configure or to activate."""


class Keeper:
    """Keeps one node alive.

    Args:
        options: of the node; its bag and recording are of no use here.
        bond_s: an active node that is silent for so long hangs.
        processes: where it is started.
        arguments: of the node's process.
        stop: set when all is to end.
    """

    def __init__(
        self,
        options: GraphOptions,
        bond_s: float,
        processes: Processes,
        arguments: Sequence[str],
        stop: threading.Event,
    ) -> None:
        self._options = options
        self._bond_s = bond_s
        self._processes = processes
        self._arguments = arguments
        self._stop = stop
        self._heard_s = 0.0
        self._active_for_s = 0.0
        # Of the name of a status; before it its length, whose last byte is 0: not a longer name.
        self._mark = b"\0" + f"{options.node.lstrip('/')}: ".encode()

    def run(self) -> None:
        """Keep it alive until told to stop.

        Raises:
            RefusedError: the first node refused to configure.
        """
        starts, pause_s = 0, PAUSE_S
        with PatientClient(lambda: self._is_alive, say=_say) as client:
            client.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", self._on_word)
            while not self._stop.is_set():
                reason = self._life(client, is_first=not starts)
                if self._stop.is_set():
                    return
                starts += 1
                if self._active_for_s > RECOVERED_S:
                    pause_s = PAUSE_S
                _say(
                    f"the node {reason}; it is started again in {pause_s:g} s (start {starts + 1})"
                )
                remove_dead_segments()
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @property
    def _is_alive(self) -> bool:
        return not self._stop.is_set() and DETECTOR not in self._processes.exit_codes

    def _life(self, client: PatientClient, *, is_first: bool) -> str:
        """Start the node and watch it to its end; return what that was, "" when all is to end."""
        begin_s, self._active_for_s = time.monotonic(), 0.0
        self._processes.start(DETECTOR, "imkd_ros.detector_node", self._arguments)
        try:
            reason = self._bring_up(client)
        except RefusedError as error:
            if is_first:
                raise
            reason = str(error)
        if not reason:
            _say(f"active {time.monotonic() - begin_s:.1f} s after its start")
            active_s = self._heard_s = time.monotonic()
            client.wait_until(lambda: self._silence_s > self._bond_s, float("inf"))
            self._active_for_s = time.monotonic() - active_s
            if self._is_alive:
                reason = f"has said nothing on /diagnostics for {self._silence_s:.1f} s"
        if self._stop.is_set():
            return ""  # it is ended with all processes, and has time to give everything back
        code = self._processes.exit_codes.get(DETECTOR)
        self._processes.kill(DETECTOR)
        return reason if code is None else f"ended with {code}"

    def _bring_up(self, client: PatientClient) -> str:
        """Configure and activate; return "" or what went wrong.

        The time that transitions take does not count: an engine may be built for half an hour.

        What is asked of a process that was killed goes unanswered, for the graph knows it for
        another while: so the state is asked for first, again and again.

        Raises:
            RefusedError: the node refuses.
        """
        node, timeout_s = self._options.node, self._options.ready_timeout_s
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s and self._is_alive:
            state = client.state(node, ASK_S)
            if state == "active":
                return ""
            if state in NEXT:
                asked_s = time.monotonic()
                outcome = client.carry_out(node, NEXT[state])
                if outcome is Outcome.REFUSED:
                    raise RefusedError(f"refused to leave '{state}'; its log says why")
                if outcome is Outcome.MADE:
                    end_s += time.monotonic() - asked_s
        return f"was not active after {timeout_s:g} s"

    @property
    def _silence_s(self) -> float:
        return time.monotonic() - self._heard_s

    def _on_word(self, _topic: str, cdr: bytes, _arrived_ns: int) -> None:
        if self._mark in cdr:
            self._heard_s = time.monotonic()


def _say(text: str) -> None:
    sys.stderr.write(f"keeper: {text}\n")
    sys.stderr.flush()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m imkd_ros.keeper",
        description="Start the detector node, bring it to active, and start it again when it dies "
        "or hangs. Ends with Ctrl-C or SIGTERM (0), or when configure is refused at first (1).",
        epilog="Example: python -m imkd_ros.keeper --sensors my_sensors.yaml --namespace /front",
    )
    add = parser.add_argument
    add("--bundle", type=Path, help="folder of the model (default: the parameters')")
    add("--sensors", type=Path, help="sensor file (default: the parameters')")
    add("--params", dest="parameters", type=Path, help="parameter file of the node")
    add("--namespace", default="", help="of the node, such as /front")
    add("--sim-time", action="store_true", help="take the time from /clock")
    add("--bond", dest="bond_s", type=positive, default=4.0, metavar="SEC", help=_BOND)
    add(
        "--ready-timeout",
        dest="ready_timeout_s",
        type=positive,
        default=600.0,
        metavar="SEC",
        help="a node that does not come up answers within so long or is started again; what "
        "configure and activate take does not count (default: 600)",
    )
    return parser


_BOND = (
    "an active node that says nothing on /diagnostics for so long hangs (default: 4; at least "
    "three times diagnostics.period_sec)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a node alive; return 0, 1 when it refuses, 2 when something given is unusable."""
    given = make_parser().parse_args(arguments)
    options = GraphOptions(
        bag=Path(),
        recording=Path(),
        bundle=given.bundle,
        sensors=given.sensors,
        parameters=given.parameters,
        namespace=given.namespace,
        overrides={"use_sim_time": given.sim_time},
        ready_timeout_s=given.ready_timeout_s,
    )
    try:
        period_s = read_settings(options.parameters).number("diagnostics.period_sec")
        with (
            tempfile.TemporaryDirectory(prefix="imkd_keeper_") as folder,
            stop_on_signals() as stop,
        ):
            profile = choose_profile(Path(folder))
            if profile.remark:
                _say(profile.remark)
            os.environ.update(profile.variables)
            node = detector_arguments(options, Path(folder))
            with Processes(None, dict(os.environ)) as processes:
                Keeper(options, max(given.bond_s, 3 * period_s), processes, node, stop).run()
    except RefusedError as error:
        _say(f"the node {error}")
        return 1
    except ImkdError as error:
        _say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
