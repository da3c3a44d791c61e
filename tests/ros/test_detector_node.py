# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS: life cycle, parameters, bad input, calibration, outputs."""

import pytest

pytest.importorskip("rclpy")

from tests.ros.node_bench import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Bench
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture
def make_bench(tmp_path, bundle, ros_environment):
    benches = []

    def make(**arguments):
        benches.append(Bench(tmp_path, **{"bundle": bundle, **arguments}))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_a_frame_in_gives_its_boxes_with_the_reference_stamp(make_bench):
    bench = make_bench()
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes), bench.drops("frames")
    message = bench.boxes[0]
    first = message.detections[0].bbox.center.position
    assert (first.x, round(first.y, 4), first.z) == (2.0, 0.4688, 1.0)
