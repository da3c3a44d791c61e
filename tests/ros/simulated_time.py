# SPDX-License-Identifier: Apache-2.0
"""A simulated clock for a node's bench, and frames by it."""

from rosgraph_msgs.msg import Clock

from tests.ros.node_bench import to_time

SECOND, MS = 1_000_000_000, 1_000_000
BEGIN_NS = 1_000 * SECOND


class SimulatedTime:
    """Plays a clock, and one frame every tenth of a second of it."""

    def __init__(self, bench):
        self.bench, self.now_ns = bench, BEGIN_NS
        self.clock = bench.publisher(Clock, "/clock")
        assert bench.wait(self.clock.get_subscription_count)
        bench.now_ns = lambda: self.now_ns
        self.tick(0)

    def tick(self, step_ns):
        """Let time go on, or jump."""
        self.now_ns += step_ns
        self.clock.publish(Clock(clock=to_time(self.now_ns)))
        self.bench.wait(lambda: False, 0.02)

    def approach(self):
        """Let the half of the tenth go by that is before the frame."""
        self.tick(50 * MS)

    def plays(self, condition, frames=60):
        for _ in range(frames):
            self.approach()
            self.bench.publish_frame()
            self.tick(50 * MS)
            if self.bench.wait(condition, 0.05):
                return True
        return False
