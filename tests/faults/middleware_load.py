# SPDX-License-Identifier: Apache-2.0
"""Who listens, what time says, and who else wants the cores.

- Nobody waits for a listener: boxes are reliable, and a listener that is stopped (SIGSTOP) or that
  takes a message a second must not change how long a frame takes. The same node with and without
  it, in turns, so that a change of the machine's mood falls on both.
- Simulated time without a /clock: the node says so, and does nothing.
- Contention: as many busy processes as cores, and twice as many; latency, and what the node says.
"""

import contextlib
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Iterator

from diagnostic_msgs.msg import DiagnosticArray

from tests.faults.middleware_nodes import NODE, PERIOD_S, Nodes, Peer, graph
from tests.faults.suite import Context, Figure, at_least, at_most, told

#: Length of one turn with and of one without the listener, seconds; and how many of each.
TURN_S, TURNS = 5.0, 3

#: The node's processor time is taken over so many seconds.
CLOCK_S = 5.0

#: Each contention is measured for so long, after a second to settle, seconds.
CONTENTION_S = 8.0

#: Stages of a frame that are the node's own work.
_OWN = ("queue", "images", "preprocess", "inference", "decode", "publish")


class Ear:
    """Keeps what the node says of its stages: (arrival in steady seconds, stage -> ms)."""

    def __init__(self, peer: Peer) -> None:
        self.frames: list[tuple[float, dict[str, float]]] = []
        peer.listen(DiagnosticArray, f"/{NODE}/debug/latency", self._take)

    def work_ms(self, begin_s: float, end_s: float) -> list[float]:
        """Return the node's own milliseconds of each frame of a time."""
        return [sum(f.get(s, 0.0) for s in _OWN) for t, f in self.frames if begin_s <= t < end_s]

    def total_ms(self, begin_s: float, end_s: float) -> list[float]:
        """Return the milliseconds from a frame's stamp to its boxes, for each frame of a time."""
        return [f["total"] for t, f in self.frames if begin_s <= t < end_s]

    def _take(self, message: DiagnosticArray) -> None:
        values = {pair.key: float(pair.value) for pair in message.status[0].values}
        self.frames.append((time.monotonic(), values))


def run(context: Context) -> list[Figure]:
    """Measure listeners and contention on one node, and time that stands on another."""
    with graph(context) as (nodes, peer):
        nodes.start("node")
        peer.bring_up()
        peer.publish_transforms()
        ear = Ear(peer)
        peer.feed(lambda: len(ear.frames) > 20)
        figures = [_listener(nodes, peer, ear, kind) for kind in ("stopped", "slow")]
        figures += _contention(peer, ear)
        nodes.stop("node")
        figures += _standing_time(nodes, peer)
    return figures


def _listener(nodes: Nodes, peer: Peer, ear: Ear, kind: str) -> Figure:
    """Return how much longer frames take with a listener that does not take its messages."""
    without: list[float] = []
    beside: list[float] = []
    for turn in range(TURNS):
        without += _turn(peer, ear)
        with _listening(nodes, peer, f"{kind}{turn}", 1.0) as process_id:
            if kind == "stopped":
                os.kill(process_id, signal.SIGSTOP)
            beside += _turn(peer, ear)
    before_ms, after_ms = statistics.median(without), statistics.median(beside)
    change = round(100 * (after_ms / before_ms - 1), 2)
    note = f"{before_ms:.1f} to {after_ms:.1f} ms, {len(beside)} frames"
    return at_most(f"a listener that is {kind}: cycle time more", change, 5.0, "%", note)


def _turn(peer: Peer, ear: Ear) -> list[float]:
    """Feed for a turn; return the node's own milliseconds of each frame."""
    begin_s = time.monotonic()
    peer.feed(lambda: False, TURN_S)
    return ear.work_ms(begin_s + 0.5, time.monotonic())


@contextlib.contextmanager
def _listening(nodes: Nodes, peer: Peer, name: str, delay_s: float) -> Iterator[int]:
    """Run a listener to the boxes as a process; yield its id once the node knows of it."""
    topic, listeners = f"/{NODE}/output/detections", peer.node.count_subscribers
    count = listeners(topic)
    process_id = nodes.start_module(name, "tests.faults.middleware_listener", topic, str(delay_s))
    peer.need(lambda: listeners(topic) > count, "the listener listens")
    try:
        yield process_id
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)
        nodes.stop(name)
        peer.need(lambda: listeners(topic) <= count, "the listener is gone")


def _contention(peer: Peer, ear: Ear) -> list[Figure]:
    """Return latency and the node's word beside busy processes."""
    cores, figures = len(os.sched_getaffinity(0)), []
    for count in (0, cores, 2 * cores):
        begin_s = time.monotonic()
        with _busy(count):
            peer.feed(lambda: False, CONTENTION_S + 1.0)
        times = sorted(ear.total_ms(begin_s + 1.0, time.monotonic()))
        wanted = round(CONTENTION_S / PERIOD_S)
        p99_ms = round(times[int(0.99 * (len(times) - 1))], 1) if times else 0.0
        level = _worst_level(peer, begin_s)
        note = f"{len(times)} of {wanted} frames; worst level on /diagnostics: {level}"
        figures.append(told(f"beside {count} busy processes: latency p99", p99_ms, "ms", note))
        share = round(100 * len(times) / wanted, 1)
        figures.append(told(f"beside {count} busy processes: frames answered", share, "%"))
    return figures


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep cores busy meanwhile."""
    made = [multiprocessing.get_context("spawn").Process(target=_spin) for _ in range(count)]
    for process in made:
        process.start()
    try:
        yield
    finally:
        for process in made:
            process.kill()
            process.join()


def _spin() -> None:
    end_s = time.monotonic() + 60.0  # ends by itself, should nobody do it
    while time.monotonic() < end_s:
        pass


def _worst_level(peer: Peer, since_s: float) -> str:
    """Return the worst that the node said of its frames and latency since a time."""
    levels = [
        status.level[0]
        for arrived_s, array in peer.diagnostics
        for status in array.status
        if arrived_s >= since_s and status.name.endswith((": frames", ": latency"))
    ]
    return ("OK", "WARN", "ERROR", "STALE")[max(levels, default=3)]


def _standing_time(nodes: Nodes, peer: Peer) -> list[Figure]:
    """Return what a node costs and says whose clock is simulated and does not run."""
    nodes.start("standing", use_sim_time=True)
    begin_s = time.monotonic()
    peer.bring_up()
    peer.wait(lambda: peer.said(begin_s, NODE, "frames", ("/clock",)), 10.0)
    when_s = peer.said(begin_s, NODE, "frames", ("/clock",))
    before_s, start_s = nodes.stats("standing").cpu_s, time.monotonic()
    peer.pause(CLOCK_S)
    used_s = nodes.stats("standing").cpu_s - before_s
    share = round(100 * used_s / (time.monotonic() - start_s), 2)
    return [
        at_most("simulated time without /clock: of a core", share, 5.0, "%"),
        at_least(
            "simulated time without /clock: named in /diagnostics", int(when_s is not None), 1
        ),
    ]
