# SPDX-License-Identifier: Apache-2.0
"""From what processes said of one live run to figures; pure.

All times of two processes are of the steady clock, which Linux gives all of them alike.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.goals import judged
from benchmarks.harness import Figure, Goal, Timing
from imkd_ros.graph.sent_log import SentMessage

#: Stages of the node in the order of a frame's way; "sync" and "total" are of the bag's clock.
NODE_STAGES = ("queue", "images", "preprocess", "inference", "decode", "publish")

INFERENCE = "inference"


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """What was seen of one run.

    Attributes:
        sent: each message with the time at which the player sent it.
        answers: (stamp, arrival on the steady clock) of each frame's boxes, nanoseconds.
        stages: stamp -> stage -> milliseconds, as the node published them.
        image_topics: camera -> topic.
        accepted: camera -> images that the node took, each once.
        dropped: camera -> messages that the node dropped, before or after it took them.
        frames: the node's own counts, by reason.
        activation_s: from the request to configure to being active.
        peak_rss_mb: most memory of the node.
        cores_used: process -> cores that it kept busy while the bag played.
        latest_s: how late the player was at worst.
        model: one line of the node's log.
        role: file of the bundle that the node ran.
    """

    sent: Sequence[SentMessage]
    answers: Sequence[tuple[int, int]]
    stages: Mapping[int, Mapping[str, float]]
    image_topics: Mapping[str, str]
    accepted: Mapping[str, int]
    dropped: Mapping[str, int] = field(default_factory=dict)
    frames: Mapping[str, int] = field(default_factory=dict)
    activation_s: float
    peak_rss_mb: float
    cores_used: Mapping[str, float] = field(default_factory=dict)
    latest_s: float = 0.0
    model: str = ""
    role: str = ""

    def image_sent_ns(self) -> dict[int, int]:
        """Return stamp -> steady clock at which an image of that stamp was sent."""
        cameras = set(self.image_topics.values())
        return {one.stamp_ns: one.sent_ns for one in self.sent if one.topic in cameras}

    def answer_ms(self) -> dict[int, float]:
        """Return stamp -> milliseconds from sending the newest image to having the boxes."""
        sent = self.image_sent_ns()
        return {
            stamp: (arrived - sent[stamp]) * 1e-6
            for stamp, arrived in self.answers
            if stamp in sent
        }

    def overhead_ms(self) -> list[float]:
        """Return the same without the run of the session, frame by frame."""
        return [
            spent_ms - self.stages[stamp][INFERENCE]
            for stamp, spent_ms in self.answer_ms().items()
            if stamp in self.stages
        ]

    def outside_ms(self) -> list[float]:
        """Return the part of each frame's time that is not in a stage of the node's worker."""
        return [
            spent_ms - sum(self.stages[stamp].get(name, 0.0) for name in NODE_STAGES)
            for stamp, spent_ms in self.answer_ms().items()
            if stamp in self.stages
        ]

    def stage_timings(self) -> dict[str, Timing]:
        """Return the times of each stage of the node, in the order of a frame's way."""
        found = {
            name: tuple(frame[name] for frame in self.stages.values() if name in frame)
            for name in NODE_STAGES
        }
        return {name: Timing(samples_ms=values) for name, values in found.items() if values}

    def rate_hz(self) -> float:
        """Return answers a second, between the first and the last; 0 for fewer than two."""
        times_ns = [arrived for _, arrived in self.answers]
        if len(times_ns) < 2 or max(times_ns) == min(times_ns):
            return 0.0
        return (len(times_ns) - 1) * 1e9 / (max(times_ns) - min(times_ns))

    def delivered(self) -> dict[str, float]:
        """Return camera -> part of its images that the node took, of the cameras that sent any."""
        sent = Counter(one.topic for one in self.sent)
        return {
            camera: self.accepted.get(camera, 0) / sent[topic]
            for camera, topic in self.image_topics.items()
            if sent[topic]
        }

    def least_delivered(self) -> tuple[float, str]:
        """Return the part of the camera that got the least through, and which it is."""
        shares = self.delivered()
        if not shares:
            return 0.0, "no camera sent an image"
        camera = min(shares, key=lambda name: shares[name])
        return shares[camera], f"{camera}, the least of {len(shares)} cameras"


def figures(run: LiveRun) -> tuple[Figure, ...]:
    """Return what stands in the table."""
    delivered, camera = run.least_delivered()
    rows = [
        Figure(name="detections per second", value=run.rate_hz(), unit="1/s"),
        *Timing(samples_ms=tuple(run.answer_ms().values())).figures(
            "last sensor to publish", "newest image sent to boxes in another process"
        ),
        *Timing(samples_ms=tuple(run.overhead_ms())).figures("everything but inference"),
        *Timing(samples_ms=tuple(run.outside_ms())).figures(
            "outside the node's worker", "both DDS hops, waiting for a core, synchroniser"
        ),
    ]
    for name, timing in run.stage_timings().items():
        rows += timing.figures(f"stage {name}")
    rows += [
        Figure(name="images delivered", value=100 * delivered, unit="%", note=camera),
        Figure(name="images dropped by the node", value=sum(run.dropped.values()), unit=""),
        Figure(name="node, peak memory", value=run.peak_rss_mb, unit="MB"),
        Figure(name="configure to active", value=run.activation_s, unit="s"),
        Figure(name="player at its latest", value=run.latest_s * 1e3, unit="ms"),
    ]
    rows += [
        Figure(name=f"cores used by the {name}", value=cores, unit="")
        for name, cores in run.cores_used.items()
    ]
    rows += [
        Figure(name=f"frames {reason}", value=float(count), unit="")
        for reason, count in run.frames.items()
    ]
    return tuple(rows)


def goals(run: LiveRun) -> tuple[Goal, ...]:
    """Return the rows of the issue's table that a live run answers."""
    overhead = Timing(samples_ms=tuple(run.overhead_ms()))
    latency = Timing(samples_ms=tuple(run.answer_ms().values()))
    inference_ms = run.stage_timings()[INFERENCE].p50_ms
    delivered, camera = run.least_delivered()
    divisor = f"divided by the inference stage of this run ({run.role}), p50 {inference_ms:.1f} ms"
    return (
        judged("live_rate", run.rate_hz()),
        judged("live_latency", latency.p95_ms),
        judged("live_delivery", 100 * delivered, camera),
        judged("overhead", overhead.p95_ms),
        judged("overhead_share", overhead.p95_ms / inference_ms, divisor),
        judged("memory", run.peak_rss_mb),
        judged("start", run.activation_s),
    )


def warnings(run: LiveRun) -> list[str]:
    """Return what speaks against the figures, in sentences."""
    found = []
    if run.latest_s > 0.05:
        found.append(
            f"the player was late by up to {run.latest_s * 1e3:.0f} ms: the machine could not send "
            "the sensors' data in time"
        )
    images = run.image_sent_ns()
    blind = sum(stamp not in images for stamp, _ in run.answers)
    unjoined = len(run.answers) - blind - len(run.overhead_ms())
    if blind:
        found.append(
            f"{blind} of {len(run.answers)} answers are of radars alone, as where a drive ends: "
            "they count as detections, and have no time from a newest image"
        )
    if unjoined:
        found.append(
            f"{unjoined} of {len(run.answers)} answers could not be joined with the node's stages"
        )
    return found
