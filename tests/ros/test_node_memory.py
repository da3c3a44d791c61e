# SPDX-License-Identifier: Apache-2.0
"""The node with a model that remembers: what it reads, when it forgets, what diagnostics say."""

import pytest

pytest.importorskip("rclpy")

from std_srvs.srv import Trigger

from imkd_core.config import MemorySpec
from tests.core.rigs import spec_of
from tests.core.runtime.made_up_bundle import make_bundle
from tests.ros.node_bench import ACTIVATE, DEACTIVATE, Bench, drive

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
