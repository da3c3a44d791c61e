# SPDX-License-Identifier: Apache-2.0
"""The node with a model that remembers: what it reads, when it forgets, what diagnostics say."""

import pytest

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from std_srvs.srv import Trigger

from imkd_core.config import MemorySpec
from imkd_core.runtime.memory import RESET_GAP, RESET_POSE, RESET_TIME
from tests.core.rigs import spec_of
from tests.core.runtime.made_up_bundle import make_bundle
from tests.ros.node_bench import ACTIVATE, DEACTIVATE, Bench, drive
from tests.ros.simulated_time import BEGIN_NS, MS, SECOND, SimulatedTime

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A model whose box 0 stands as high as it was given maps."""
    memory = MemorySpec(kind="window", frames=2, channels=2, interval_s=0.1)
    return make_bundle(tmp_path_factory.mktemp("bundle") / "m", spec_of(memory=memory)).root


@pytest.fixture
def bench(tmp_path, bundle, ros_environment):
    bench = Bench(tmp_path, bundle, **{"ego_motion.odometry_topic": "/odometry"})
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    yield bench
    bench.close()


class Drive(SimulatedTime):
    """A vehicle at 2 m/s under a simulated clock; in a jump of time it stands where it is."""

    def __init__(self, bench):
        self.x_m = 0.0
        odometry = bench.publisher(Odometry, "/odometry")
        assert bench.wait(odometry.get_subscription_count)
        super().__init__(bench)

    def approach(self):
        """Tell the pose of a tenth too, ahead of its time: a busy machine has it in time."""
        super().approach()
        self.x_m += 0.2
        self.bench.publish_odometry(self.now_ns + 100 * MS, self.x_m)

    def goes_blind(self, tenths):
        """No sensor sends for a time, and the vehicle is told to move on."""
        for _ in range(tenths):
            self.approach()
            self.tick(50 * MS)


@pytest.fixture
def driving(tmp_path, bundle, ros_environment):
    """A drive whose frames are remembered already."""
    parameters = {"ego_motion.odometry_topic": "/odometry", "use_sim_time": True}
    bench = Bench(tmp_path, bundle, **parameters)
    bench.start()
    bench.listen_to_boxes()
    drive = Drive(bench)
    bench.calibrate()
    assert drive.plays(lambda: heights(bench)[-6:] == [2] * 6, frames=80)
    yield drive
    bench.close()


def heights(bench):
    return [round(message.detections[0].bbox.center.position.z) for message in bench.boxes]


def test_the_node_remembers_frames_and_forgets_them_when_it_is_deactivated_or_asked(bench):
    assert drive(bench, lambda: 2 in heights(bench))
    assert heights(bench)[0] == 0
    assert bench.wait(lambda: bench.level("memory") == 0)
    assert drive(bench, lambda: "2 of 2 maps" in bench.status("memory").message)
    values = {value.key: value.value for value in bench.status("memory").values}
    assert (values["kind"], values["maps"]) == ("window", "2/2")

    assert bench.change(DEACTIVATE)
    facts = bench.node._session._detector.memory
    assert (facts.maps, facts.last_reset) == (0, "deactivated")
    assert bench.wait(lambda: "deactivated" in bench.status("memory").message)
    bench.boxes.clear()
    assert bench.change(ACTIVATE)
    bench.open_topics()
    assert drive(bench, lambda: 2 in heights(bench))
    assert heights(bench)[0] == 0

    assert bench.call(Trigger, "reset", Trigger.Request()).success
    assert bench.node._session._detector.memory.resets["asked to"] == 1


def test_without_odometry_frames_are_answered_alone_and_diagnostics_say_what_to_start(bench):
    assert bench.feed(lambda: bench.level("memory") == 1 and len(bench.boxes) > 2)
    assert set(heights(bench)) == {0}
    assert "start the odometry" in bench.status("memory").message


def facts(drive):
    return drive.bench.node._session._detector.memory


def forgets(drive, reason):
    """Drive on until a frame was answered without the past, and a later one with it again."""
    bench = drive.bench
    bench.boxes.clear()
    begin_ns = drive.now_ns

    def begins_anew():
        found = heights_since(bench, begin_ns)
        return 0 in found and 2 in found[found.index(0) :]

    assert drive.plays(begins_anew, frames=80), (facts(drive), heights(bench))
    assert set(facts(drive).resets) == {reason}
    assert facts(drive).last_reset == reason


def heights_since(bench, begin_ns):
    """Heights of the boxes of frames of some time on."""
    stamps = [(m.header.stamp.sec * SECOND + m.header.stamp.nanosec) for m in bench.boxes]
    pairs = zip(stamps, heights(bench), strict=True)
    return [height for stamp_ns, height in pairs if stamp_ns > begin_ns]


def test_a_bag_that_loops_empties_the_memory(driving):
    driving.x_m = 0.0
    driving.tick(BEGIN_NS - driving.now_ns)
    forgets(driving, RESET_TIME)


def test_a_pose_that_jumps_empties_the_memory(driving):
    driving.x_m += 300.0
    forgets(driving, RESET_POSE)


def test_a_gap_of_more_than_two_seconds_empties_the_memory(driving):
    driving.goes_blind(25)
    forgets(driving, RESET_GAP)


def test_a_gap_of_a_second_costs_no_memory(driving):
    driving.goes_blind(10)
    driving.bench.boxes.clear()
    assert driving.plays(lambda: len(driving.bench.boxes) >= 3)
    assert facts(driving).resets == {}
    assert set(heights(driving.bench)) == {2}
