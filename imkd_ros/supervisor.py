# SPDX-License-Identifier: Apache-2.0
"""Starts player, detector node and recorder as processes; used where `launch` is not installed.

    python -m imkd_ros.supervisor drive --record out/run --bundle models/imkd_tiny

The same processes with the same parameters as launch/detector.launch.py: the node is configured
and activated through its services, the bag starts when everything is connected, and all end when
one dies. However this ends, no process is left behind.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from imkd_core.errors import DataError, ImkdError
from imkd_ros.graph.bag_topics import not_negative, positive, report
from imkd_ros.graph.client import ACTIVATE, CONFIGURE, DEACTIVATE, GraphClient
from imkd_ros.graph.environment import graph_environment, remove_dead_segments
from imkd_ros.graph.observer import GraphObserver
from imkd_ros.graph.options import (
    OUTPUTS,
    GraphOptions,
    GraphResult,
    detector_arguments,
    input_topics,
    player_arguments,
    recorder_arguments,
)
from imkd_ros.graph.processes import Processes, terminated_is_an_exception
from imkd_ros.graph.transitions import PatientClient

DETECTOR, PLAYER, RECORDER = "detector", "player", "recorder"


class _RunError(ImkdError):
    """The run cannot go on; the text says why."""


def run_graph(options: GraphOptions, observer: GraphObserver | None = None) -> GraphResult:
    """Play a bag through the real graph and record the answers.

    Args:
        options: what is started, and how.
        observer: is told of answers and processes while it runs.

    Raises:
        DataError: the bag or the recording's place is unusable; nothing was started.
        ConfigError: a file is missing or malformed; nothing was started.
    """
    start_s = time.monotonic()
    topics = input_topics(options)
    if options.recording.exists() and not options.overwrite:
        raise DataError(f"{options.recording} exists; name another bag, or allow to overwrite it")
    log_folder = options.log_folder or Path(tempfile.mkdtemp(prefix="imkd_graph_"))
    log_folder.mkdir(parents=True, exist_ok=True)
    failure, answers = "", 0
    with (
        terminated_is_an_exception(),
        graph_environment(log_folder, options.domain_id) as environment,
        Processes(log_folder, environment) as processes,
    ):
        try:
            watching = observer or GraphObserver()
            answers = _Run(options, processes, log_folder, watching).drive(topics)
        except _RunError as error:
            failure = str(error)
    if -signal.SIGKILL in processes.exit_codes.values():
        remove_dead_segments()
    failure = failure or _bad_exit(processes.exit_codes)
    played, recorded = processes.report(PLAYER), processes.report(RECORDER)
    tails = {name: processes.tail(name) for name in processes.names} if failure else {}
    return GraphResult(
        failure=failure,
        exit_codes=MappingProxyType(dict(processes.exit_codes)),
        played=MappingProxyType(played.get("topics", {})),
        recorded=MappingProxyType(recorded.get("topics", {})),
        lost=MappingProxyType(recorded.get("lost", {})),
        answers=answers,
        log_tails=MappingProxyType(tails),
        log_folder=log_folder,
        wall_s=time.monotonic() - start_s,
    )


class _Run:
    """One run: starts, connects, plays, waits, stops."""

    def __init__(
        self,
        options: GraphOptions,
        processes: Processes,
        log_folder: Path,
        observer: GraphObserver,
    ) -> None:
        self._options = options
        self._observer = observer
        self._processes = processes
        self._log_folder = log_folder
        self._outputs = [f"{options.node}/{name}" for name in OUTPUTS]

    def drive(self, topics: Sequence[str]) -> int:
        """Play the bag to the node; return the number of answers.

        Raises:
            _RunError: a process died, or the graph did not come up.
        """
        with PatientClient(lambda: not self._dead(), self._observer.on_answer) as client:
            self._start_node(client)
            self._connect(client)
            player = player_arguments(self._options, topics)
            self._processes.start(PLAYER, self._options.player, player)
            is_played = client.wait_until(self._is_played, float("inf"))
            self._require(is_played, "the player did not end")
            if self._processes.exit_codes[PLAYER] == 0:
                _wait_until_quiet(client, self._outputs[0], self._options.quiet_s)
            self._require(True, "")
            client.transition(self._options.node, DEACTIVATE, self._options.ready_timeout_s)
            self._processes.stop([RECORDER, DETECTOR])
            return client.counted(self._outputs[0])

    def _is_played(self) -> bool:
        self._observer.on_poll(self._processes.pids)
        return PLAYER in self._processes.exit_codes

    def _start_node(self, client: PatientClient) -> None:
        """Start node and recorder; bring the node up through its services."""
        options, timeout_s = self._options, self._options.ready_timeout_s
        detector = detector_arguments(options, self._log_folder)
        self._processes.start(DETECTOR, "imkd_ros.detector_node", detector)
        recorder = recorder_arguments(options, self._outputs)
        self._processes.start(RECORDER, "imkd_ros.recorder", recorder)
        found = client.finds_lifecycle_node(options.node, timeout_s)
        self._require(found, f"{options.node} does not answer; its log says why")
        begin_s = time.monotonic()
        for transition, name in ((CONFIGURE, "configure"), (ACTIVATE, "activate")):
            made = client.transition(options.node, transition, timeout_s)
            self._require(made, f"{options.node} did not {name}; its log says why")
        self._observer.on_active(time.monotonic() - begin_s)

    def _connect(self, client: GraphClient) -> None:
        """Wait until recorder and this process hear the node's outputs."""
        client.count(self._outputs[0], "vision_msgs/msg/Detection3DArray")
        for topic, type_name in self._observer.topics.items():
            client.listen(topic, type_name, self._observer.on_message)
        timeout_s = self._options.ready_timeout_s
        connected = client.wait_until(
            lambda: not client.missing_listeners(self._outputs, "bag_recorder"), timeout_s
        )
        missing = client.missing_listeners(self._outputs, "bag_recorder")
        what = f"the recorder does not hear {', '.join(missing)} after {timeout_s:g} s"
        self._require(connected, f"{what}; its log says why")

    def _dead(self) -> list[str]:
        """Return the processes that have ended before they were told to."""
        return [name for name in self._processes.exit_codes if name != PLAYER]

    def _require(self, condition: bool, what: str) -> None:
        dead = self._dead()
        if dead:
            raise _RunError(f"the {' and the '.join(dead)} died; its log says why")
        if not condition:
            raise _RunError(what)


def _wait_until_quiet(client: GraphClient, topic: str, quiet_s: float) -> None:
    """Wait until no message came for `quiet_s`."""
    count, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < quiet_s:
        if client.counted(topic) != count:
            count, since_s = client.counted(topic), time.monotonic()
        client.spin(0.1)


def _bad_exit(exit_codes: Mapping[str, int]) -> str:
    bad = [f"the {name} ended with {code}" for name, code in exit_codes.items() if code]
    return "; ".join(bad)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m imkd_ros.supervisor",
        description="Play a bag through the detector node and record what it answers: player, "
        "node and recorder as processes of their own, over DDS, as the launch file starts them.",
        epilog="Example: python -m imkd_ros.supervisor drive --record out/run --bundle models/mine "
        "--rate 0.5. The last line of the output is JSON with counts and exit codes; the exit code "
        "is 0, 1 when the run failed, 2 when something given cannot be used.",
    )
    add = parser.add_argument
    add("bag", type=Path, help="the bag to play")
    add("--record", dest="recording", type=Path, required=True, help="the bag to make")
    add("--bundle", type=Path, help="folder of the model (default: the package's)")
    add("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    add("--params", dest="parameters", type=Path, help="parameter file of the node")
    add("--namespace", default="", help="of the node, such as /front")
    add("--rate", type=positive, default=1.0, help="of the player; 2 is twice as fast")
    add("--loop", dest="passes", type=int, default=1, metavar="N", help="play N times")
    add("--overwrite", action="store_true", help="replace the bag of --record")
    add(
        "--ready-timeout",
        dest="ready_timeout_s",
        type=positive,
        default=60.0,
        metavar="SEC",
        help=_READY,
    )
    add("--quiet", dest="quiet_s", type=not_negative, default=2.0, metavar="SEC", help=_QUIET)
    add("--logs", dest="log_folder", type=Path, help="folder for the logs of all processes")
    add("--domain", dest="domain_id", type=int, help="ROS domain (default: a free one)")
    return parser


_READY = (
    "processes are found and connected within so long; what configure and activate take does not "
    "count (default: 60)"
)
_QUIET = "end when no answer came for so long"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the graph once; return 0, 1 when the run failed, 2 when something given is unusable."""
    options = GraphOptions(**vars(make_parser().parse_args(arguments)))
    try:
        result = run_graph(options)
    except ImkdError as error:
        sys.stderr.write(f"supervisor: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    if result.failure:
        for name, tail in result.log_tails.items():
            sys.stderr.write(f"--- {name}, exit {result.exit_codes.get(name)}\n{tail}\n")
        sys.stderr.write(f"supervisor: {result.failure}\nall logs: {result.log_folder}\n")
    report(result.as_mapping())
    return 0 if result.is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
