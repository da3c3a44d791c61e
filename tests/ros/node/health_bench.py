# SPDX-License-Identifier: Apache-2.0
"""A health monitor, and what it looks at, for its tests and those of its parts."""

from types import SimpleNamespace

from imkd_core.types import SensorRig
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.tally import Tally
from imkd_ros.node.health import HealthMonitor, InferenceState

SECOND = 1_000_000_000
SENSORS = sensor_set_from_mapping({"cameras": {"A": {}, "B": {}}, "radars": {"R": {}}})


class Bench:
    """A monitor, and the counters it looks at."""

    def __init__(self):
        self.monitor = HealthMonitor(SENSORS, timeout_ns=SECOND, latency_warn_ms=100.0)
        self.tally = Tally()
        self.state = InferenceState(is_active=True, has_subscriber=True)
        self.uncalibrated = {}
        self.rig = SensorRig(cameras={}, radars={})
        self.monitor.start(SECOND)

    def hear(self, now_ns, names=SENSORS.names, age_ns=20_000_000):
        for name in names:
            self.tally.accept(name, now_ns - age_ns, now_ns)

    def lack(self, missing, begin_s, end_s):
        """All sensors send ten times a second, and frames go out that lack some; judge at last."""
        for step in range(round(begin_s * 10), round(end_s * 10) + 1):
            now_ns = step * SECOND // 10
            self.hear(now_ns)
            self.monitor.note_frame(missing, now_ns)
            found = self.judge(now_ns)
        return found

    def judge(self, now_ns, **arguments):
        return {status.name: status for status in self.statuses(now_ns, **arguments)}

    def count_of(self, name, now_ns):
        return sum(status.name == name for status in self.statuses(now_ns))

    def statuses(self, now_ns, **arguments):
        pipeline = SimpleNamespace(
            tally=self.tally,
            uncalibrated=self.uncalibrated,
            rig=self.rig,
            counters=self.tally.drops,
        )
        return self.monitor.evaluate(pipeline, self.state, now_ns, **arguments)
