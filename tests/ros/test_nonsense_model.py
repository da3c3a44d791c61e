# SPDX-License-Identifier: Apache-2.0
"""A model that returns NaN, through the real node: never published, said, forgotten when over."""

import onnx
import pytest
from onnx import TensorProto, numpy_helper

pytest.importorskip("rclpy")

import numpy as np

from imkd_core.config import MemorySpec
from imkd_core.resources import bundles
from imkd_core.runtime.bundle import load_bundle, write_bundle
from imkd_core.runtime.memory import RESET_FAILED
from tests.core.rigs import spec_of
from tests.core.runtime.made_up_bundle import make_bundle
from tests.ros.node_bench import benches, drive

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

DARK, DAY = 0, 51


@pytest.fixture(scope="module")
def afraid(tmp_path_factory):
    """A model with a memory that answers NaN to black images."""
    memory = MemorySpec(kind="window", frames=2, channels=2, interval_s=0.1)
    root = tmp_path_factory.mktemp("bundle") / "afraid"
    return make_bundle(root, spec_of(memory=memory), is_afraid_of_the_dark=True).root


def student_with_a_nan_weight(folder):
    """The student that ships, with one weight of its first convolution spoilt."""
    bundle = load_bundle(next(path for path in bundles() if path.name == "imkd_tiny"))
    model = onnx.load(bundle.path("fp32"))
    weight = next(
        item
        for item in model.graph.initializer
        if len(item.dims) == 4 and item.data_type == TensorProto.FLOAT
    )
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return rewritten(bundle, folder / "spoilt", model)


def rewritten(bundle, root, model):
    """The same bundle with another graph: its hashes fit, as after a bad training or export."""
    root.mkdir()
    onnx.save(model, root / "model.onnx")
    facts = {name: getattr(bundle, name) for name in ("name", "inputs", "head")}
    return write_bundle(
        root, **facts, files={"fp32": "model.onnx"}, provenance={}, producer={}
    ).root


@pytest.fixture
def make_bench(tmp_path, ros_environment):
    with benches(tmp_path, **{"diagnostics.latency_warn_ms": 10_000.0}) as make:

        def start(bundle, **parameters):
            bench = make(bundle=bundle, **parameters)
            bench.start()
            bench.listen_to_boxes()
            bench.calibrate()
            return bench

        yield start


def test_frames_that_are_nan_are_suppressed_and_said_and_the_memory_begins_anew(make_bench, afraid):
    bench = make_bench(afraid, **{"ego_motion.odometry_topic": "/odometry"})
    detector = bench.node._session._detector
    assert drive(bench, lambda: bench.boxes and detector.memory.maps == 2, grey=DAY)
    assert drive(bench, lambda: bench.level("frames") == 2, grey=DARK)
    text = bench.status("frames").message
    assert "not finite in" in text
    assert "export the model again" in text
    assert detector.memory.resets[RESET_FAILED] >= 1
    assert detector.memory.maps == 0
    bench.boxes.clear()
    assert not drive(bench, lambda: bench.boxes, seconds=0.5, grey=DARK)
    assert bench.state() == "active"
    assert drive(bench, lambda: bench.boxes and bench.level("frames") == 0, grey=DAY)
    assert round(bench.boxes[0].detections[0].bbox.center.position.z) == 0  # of no map
    assert drive(bench, lambda: detector.memory.maps == 2, grey=DAY)


def test_a_student_with_a_spoilt_weight_publishes_nothing_and_says_so(make_bench, tmp_path):
    bench = make_bench(student_with_a_nan_weight(tmp_path))
    assert bench.feed(lambda: bench.level("frames") == 2, seconds=20.0)
    assert "not finite" in bench.status("frames").message
    state = bench.node._session._state
    assert bench.feed(lambda: state.frames_in >= 5)
    assert state.frames_out == 0
    assert not bench.boxes
    assert bench.state() == "active"
