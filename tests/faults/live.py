# SPDX-License-Identifier: Apache-2.0
"""One run of the real graph under a plan of faults: player, node, recorder, and what was seen.

The processes are those of `imkd demo`, over the real DDS, with another player. What the node says
is taken in this process by the supervisor's client, each message with its time of arrival.
"""

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.live_graph import NODE
from benchmarks.process_stats import ProcessStats
from benchmarks.soak import Looks
from imkd_core.data.bags.messages import typestore
from imkd_core.data.bags.recording import open_bag
from imkd_ros.graph.bag_topics import header_stamp_ns
from imkd_ros.graph.options import GraphOptions
from imkd_ros.graph.sent_log import SentMessage, read_sent_log
from imkd_ros.supervisor import run_graph
from tests.faults.plan import Due, Plan, frames_due
from tests.faults.suite import Context

STATUS, DIAGNOSTICS = f"/{NODE}/output/status", "/diagnostics"

_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"

#: How often the node's process is looked at, seconds.
_LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Told:
    """One status of a DiagnosticArray.

    Attributes:
        stamp_ns: of the array's header.
        arrived_ns: on the steady clock.
        name: with the node's name in front.
        level: 0 well, 1 a warning, 2 an error.
        message: the sentence.
        values: by key.
    """

    stamp_ns: int
    arrived_ns: int
    name: str
    level: int
    message: str
    values: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """What became of the frame."""
        return self.values.get("outcome", "")

    @property
    def missing(self) -> frozenset[str]:
        """Names of the sensors that the frame was made without."""
        parts = self.values.get("missing", "").split(";")
        return frozenset(name for part in parts if (name := part.partition(":")[0].strip()))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen of one run.

    Attributes:
        plan: what was played.
        failure: why the run went wrong: a process that died, or a graph that did not come up.
        answers: (stamp, arrival on the steady clock) of each frame's boxes.
        boxes: stamp -> the serialised boxes; empty unless they were asked for.
        statuses: what came on ~/output/status.
        diagnostics: what the node said on /diagnostics.
        sent: each message with its log time and when it was sent.
        due: the frames that there should have been.
        looks: at the node's process, with the times of the looks.
        start_ns: log time of the begin of play.
        log: the node's.
    """

    plan: Plan
    failure: str
    answers: Sequence[tuple[int, int]]
    boxes: Mapping[int, bytes] = field(default_factory=dict)
    statuses: Sequence[Told]
    diagnostics: Sequence[Told]
    sent: Sequence[SentMessage]
    due: Sequence[Due]
    looks: Sequence[tuple[float, ProcessStats]]
    start_ns: int
    log: str = ""
    rate: float = 1.0

    def steady_ns(self, seconds: float) -> int:
        """Return the steady clock at a time of play; of the first pass, where there are several."""
        return self._begin_ns + round(seconds * 1e9 / self.rate)

    @cached_property
    def _begin_ns(self) -> int:
        """The steady clock at the begin of play: no message is early, and one is not late."""
        return min(
            one.sent_ns - round((one.stamp_ns - self.start_ns) / self.rate) for one in self.sent
        )

    def stamp_ns(self, seconds: float) -> int:
        """Return the log time at a time of play."""
        return self.start_ns + round(seconds * 1e9)

    def due_between(self, begin_s: float, end_s: float) -> list[Due]:
        """Return the frames that there should have been in a part of the play."""
        begin_ns, end_ns = self.stamp_ns(begin_s), self.stamp_ns(end_s)
        return [one for one in self.due if begin_ns <= one.middle_ns < end_ns]

    def with_one_of(self, due: Sequence[Due], stamps: Sequence[int]) -> list[Due]:
        """Return the due frames that have one of some stamps within half a period."""
        ordered, half_ns = sorted(stamps), round(self.plan.period_s * 5e8)
        return [
            one
            for one in due
            if (place := bisect.bisect_left(ordered, one.middle_ns - half_ns)) < len(ordered)
            and ordered[place] < one.middle_ns + half_ns
        ]


class Watch(Looks):
    """Takes what the supervisor hands over: boxes, statuses, the node's process."""

    topics = MappingProxyType({STATUS: _ARRAY, DIAGNOSTICS: _ARRAY})

    def __init__(self) -> None:
        super().__init__(_LOOK_S)
        self.stamps: list[tuple[int, int]] = []
        self.taken: list[tuple[str, bytes, int]] = []

    def on_answer(self, stamp_ns: int, arrived_ns: int) -> None:
        """Keep it."""
        super().on_answer(stamp_ns, arrived_ns)
        self.stamps.append((stamp_ns, arrived_ns))

    def on_message(self, topic: str, cdr: bytes, arrived_ns: int) -> None:
        """Keep it; it is read after the run."""
        self.taken.append((topic, cdr, arrived_ns))


def play(
    context: Context,
    name: str,
    plan: Plan,
    *,
    overrides: Mapping[str, Any] | None = None,
    rate: float = 1.0,
    passes: int = 1,
    drive_s: float = 8.0,
    with_boxes: bool = False,
) -> Run:
    """Play a plan through the real graph.

    Args:
        context: of the scenario.
        name: of the run, for its folder below the scenario's.
        plan: what is played.
        overrides: parameters of the node.
        rate: of the player.
        passes: how often; with each the clock goes back, as with a bag that loops.
        drive_s: length of the drive that is repeated.
        with_boxes: read the recorded boxes too.

    Raises:
        DataError: the bag or a folder is unusable; a graph that fails is told in the run.
    """
    bag, folder = context.bag(drive_s), context.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder / "plan.json")
    sent_log, recording = folder / "sent.txt", folder / "recording"
    watch = Watch()
    result = run_graph(
        GraphOptions(
            bag=bag,
            recording=recording,
            bundle=context.bundle,
            overrides=dict(overrides or {}),
            rate=rate,
            passes=passes,
            overwrite=True,
            log_folder=folder / "logs",
            sent_log=sent_log,
            player="tests.faults.player",
            player_options=("--plan", str(folder / "plan.json")),
        ),
        watch,
    )
    told = [one for topic, cdr, arrived in watch.taken for one in read_array(topic, cdr, arrived)]
    _write_said(folder / "said.jsonl", told)
    seen = list(zip(watch.times_s, watch.stats, strict=True))
    looks = [{"s": at, **asdict(stats)} for at, stats in seen]
    (folder / "looks.json").write_text(json.dumps(looks) + "\n", encoding="utf-8")
    with open_bag(bag) as opened:
        start_ns = opened.start_ns
    log = result.log_folder / "detector.log"
    return Run(
        plan=plan,
        failure=result.failure,
        answers=watch.stamps,
        boxes=_boxes(recording) if with_boxes and result.is_ok else {},
        statuses=[one for topic, one in told if topic == STATUS],
        diagnostics=[one for topic, one in told if topic == DIAGNOSTICS],
        sent=read_sent_log(sent_log) if sent_log.is_file() else [],
        due=frames_due(bag, plan),
        looks=seen,
        start_ns=start_ns,
        log=log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "",
        rate=rate,
    )


def read_array(topic: str, cdr: bytes, arrived_ns: int) -> list[tuple[str, Told]]:
    """Return what a serialised DiagnosticArray says of our node, with its topic."""
    array: Any = typestore().deserialize_cdr(cdr, _ARRAY)
    return [
        (
            topic,
            Told(
                stamp_ns=header_stamp_ns(cdr),
                arrived_ns=arrived_ns,
                name=status.name,
                level=int(status.level),
                message=status.message,
                values={pair.key: pair.value for pair in status.values},
            ),
        )
        for status in array.status
        if status.name.startswith(f"{NODE}:")
    ]


def _write_said(path: Path, told: Sequence[tuple[str, Told]]) -> None:
    """Leave what the node said, a line each, for whoever wants to know why a figure is so."""
    lines = (json.dumps({"topic": topic, **asdict(one)}) for topic, one in told)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _boxes(recording: Path) -> dict[int, bytes]:
    with open_bag(recording) as bag:
        messages = bag.messages([f"/{NODE}/output/detections"])
        return {header_stamp_ns(message.cdr): message.cdr for message in messages}
